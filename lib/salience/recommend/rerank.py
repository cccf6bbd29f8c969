"""Picks everyone's list out of their candidates, a batch of people at a time."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from salience.recommend.best import Doubles
from salience.recommend.diversify import NONE, Booleans, Candidates, pick, tags_of, with_room
from salience.recommend.explore import explore
from salience.recommend.topk import lists_of
from salience.settings.recommend import RankSettings

_CANDIDATES_AT_ONCE = 500_000
"""Candidates that a task works on at a time."""

Number = TypeVar("Number", np.float64, np.int64)

KEPT = ("arm", "content_id", "score", "p_engage_24h", "source", "because")
"""What lists tell of a candidate."""
JUDGED = ("expected", "boost", "creator_id", "tags", "lot")
"""What candidates are judged by."""


def rerank(candidates: DataFrame, k: int, settings: RankSettings) -> DataFrame:
    """Pick each person's list, by `pick` and `explore`.

    A candidate's relevance is `expected` x `boost` over the largest of the person's. Without `expected` it comes after
    all candidates that have it, and 1 - (place - 1) / (number of the person's candidates) stands for it.

    Args:
        candidates: platform, user_id, place, KEPT, and JUDGED: expected (double, not negative; null where unknown),
            boost (double, > 0), creator_id (null where unknown), tags (array of distinct strings), lot (0 to 1; null
            where nothing is drawn for the person).
        k: length of the lists.
        settings: mmr_lambda, creator_cap, exploration_slots.

    Returns:
        platform, user_id, rank (int, from 1), KEPT, propensity, is_drawn.
    """
    gathered = F.array_sort(F.collect_list(F.struct("place", *KEPT, *JUDGED)))
    people = candidates.groupBy("platform", "user_id").agg(gathered.alias("found"))
    entry = T.StructType(
        [
            *(candidates.schema[name] for name in KEPT),
            T.StructField("propensity", T.DoubleType()),
            T.StructField("is_drawn", T.BooleanType()),
        ]
    )
    whose = [people.schema[name] for name in ("platform", "user_id")]
    schema = T.StructType([*whose, T.StructField("list", T.ArrayType(entry))])
    lists = people.mapInArrow(_picker(k, settings), schema)
    return lists.select("platform", "user_id", F.posexplode("list").alias("place", "entry")).select(
        "platform", "user_id", (F.col("place") + 1).alias("rank"), "entry.*"
    )


def _picker(k: int, settings: RankSettings) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def pick_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for whole in filter(len, batches):
            longest = pc.max(pc.list_value_length(whole.column("found"))).as_py()
            rows_at_once = max(1, _CANDIDATES_AT_ONCE // longest)
            for start in range(0, whole.num_rows, rows_at_once):
                batch = whole.slice(start, rows_at_once)
                lists = picked_lists(batch.column("found"), k, settings)
                arrays = [batch.column("platform"), batch.column("user_id"), lists]
                yield pa.RecordBatch.from_arrays(arrays, ["platform", "user_id", "list"])

    return pick_batches


def picked_lists(found: pa.ListArray, k: int, settings: RankSettings) -> pa.ListArray:
    """Pick each person's list: structs of KEPT, propensity and is_drawn."""
    lengths = pc.list_value_length(found).to_numpy(zero_copy_only=False)
    flat = found.flatten()
    is_there = np.arange(lengths.max()) < lengths[:, None]
    candidates = _candidates(flat, is_there)
    columns = pick(candidates, k, settings.mmr_lambda, settings.creator_cap)
    lots = _spread(_numbers(flat.field("lot")), is_there, np.nan)
    ranked = columns[:, : k - settings.exploration_slots]
    pools = with_room(candidates, ranked, settings.creator_cap) & ~np.isnan(lots)
    columns, propensity = explore(columns, pools, lots, settings.exploration_slots)
    is_picked = columns != NONE
    begins = np.cumsum(lengths) - lengths
    entries = flat.take(pa.array((begins[:, None] + columns)[is_picked]))
    told = [*(entries.field(name) for name in KEPT), *map(pa.array, (propensity[is_picked], propensity[is_picked] < 1))]
    return lists_of(pa.StructArray.from_arrays(told, [*KEPT, "propensity", "is_drawn"]), is_picked.sum(axis=1))


def _candidates(flat: pa.StructArray, is_there: Booleans) -> Candidates:
    expected = _spread(_numbers(flat.field("expected")), is_there, np.nan)
    boost = _spread(_numbers(flat.field("boost")), is_there, 1.0)
    creators = pc.fill_null(flat.field("creator_id").dictionary_encode().indices, NONE).to_numpy(zero_copy_only=False)
    tags = flat.field("tags")
    sizes = pc.list_value_length(tags).to_numpy(zero_copy_only=False)
    codes = tags.flatten().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    places = np.repeat(np.flatnonzero(is_there), sizes)
    return Candidates(
        is_there,
        relevance(expected, boost, is_there),
        np.isnan(expected),
        _spread(creators.astype(np.int64), is_there, NONE),
        tags_of(places, codes.astype(np.int64), is_there.shape),
    )


def relevance(expected: Doubles, boost: Doubles, is_there: Booleans) -> Doubles:
    """Return the relevance of candidates, see `rerank`: (people, width), 0 to 1.

    Args:
        expected: NaN where unknown.
        boost: > 0.
        is_there: whether there is a candidate.
    """
    length = np.count_nonzero(is_there, axis=1, keepdims=True)
    by_place = 1 - np.arange(expected.shape[1]) / length
    is_known = ~np.isnan(expected)
    value = np.where(is_there, np.where(is_known, expected, by_place) * boost, 0.0)
    # What is known and what is not are never compared with each other.
    known, unknown = (np.where(of, value, 0.0).max(axis=1, keepdims=True) for of in (is_known, ~is_known))
    largest = np.where(is_known, known, unknown)
    return np.asarray(value / np.where(largest > 0, largest, 1.0))


def _numbers(values: pa.Array) -> Doubles:
    """Return doubles, NaN for null."""
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def _spread(values: npt.NDArray[Number], is_there: Booleans, missing: float) -> npt.NDArray[Number]:
    """Spread values over the places where there is something."""
    whole = np.full(is_there.shape, missing, values.dtype)
    whole[is_there] = values
    return whole
