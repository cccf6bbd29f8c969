"""The best k contents of each person in one pass: item factors go to every task, candidates are never shuffled."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import types as T

_SCORES_AT_ONCE = 4_000_000
"""Scores that a task holds at a time: 32 MB of doubles."""
_MASKED = np.iinfo(np.int64).min

TOP = "array<struct<content_id:string,score:double>>"

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Items:
    """Contents in order of their ids, and their factors, (items, rank)."""

    content_ids: pa.Array
    factors: Doubles


def collect_items(items: DataFrame) -> Items:
    """Bring item factors to the driver, to be broadcast; the size of the catalogue x rank must fit there.

    Args:
        items: content_id, features (array of float or double, all of one length).
    """
    table = items.select("content_id", "features").toArrow().sort_by("content_id").combine_chunks()
    ids = pa.array(table["content_id"].to_pylist(), pa.string())
    return Items(ids, as_matrix(table["features"].combine_chunks()))


def top_k(users: DataFrame, items: Items, k: int) -> DataFrame:
    """Score every item for every user and keep the best k that the user has not seen.

    score = user features x item features, computed in double precision and rounded to single, so that how rows fall
    into batches cannot show. Ties go to the smaller content_id.

    Args:
        users: features (array<double> or array<float>), seen (array<string>), and columns to pass through.
        items: from `collect_items`.
        k: length of the lists; they are shorter where the unseen items are fewer.

    Returns:
        the columns passed through, top: array of (content_id, score), best first.
    """
    kept = [field for field in users.schema if field.name not in ("features", "seen")]
    schema = T.StructType([*kept, T.StructField("top", T.DataType.fromDDL(TOP), False)])
    shared = users.sparkSession.sparkContext.broadcast((items.content_ids, items.factors))
    return users.mapInArrow(_scorer(shared, [field.name for field in kept], k), schema)


def _scorer(
    shared: Broadcast[tuple[pa.Array, Doubles]], kept: list[str], k: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        content_ids, factors = shared.value
        rows_at_once = max(1, _SCORES_AT_ONCE // max(1, len(content_ids)))
        for whole in batches:
            for start in range(0, whole.num_rows, rows_at_once):
                batch = whole.slice(start, rows_at_once)
                features = as_matrix(batch.column("features"))
                scores = features @ factors.T if len(content_ids) else np.empty((len(features), 0))
                places, picked, lengths = best(scores, *seen_places(batch.column("seen"), content_ids), k)
                top = pa.StructArray.from_arrays(
                    [content_ids.take(pa.array(places)), pa.array(picked)], ["content_id", "score"]
                )
                yield pa.RecordBatch.from_arrays(
                    [*(batch.column(name) for name in kept), lists_of(top, lengths)], [*kept, "top"]
                )

    return score


def best(scores: Doubles, seen_rows: Integers, seen_columns: Integers, k: int) -> tuple[Integers, Doubles, Integers]:
    """Pick each row's k largest unmasked scores; ties go to the smaller column.

    Args:
        scores: (rows, items), finite; -inf for what may not be picked.
        seen_rows, seen_columns: places that are masked.
        k: at most this many a row.

    Returns:
        columns and scores of the picks, row by row and best first, and the number of picks of each row.
    """
    rows, items = scores.shape
    single = scores.astype(np.float32) + np.float32(0)  # adding 0 turns -0 into 0
    bits = single.view(np.int32).astype(np.int64)
    # The bits of a float order like an integer. Score and column in one integer make every order total.
    in_order = np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))
    keys = in_order * items + np.arange(items - 1, -1, -1)
    keys[np.isneginf(single)] = _MASKED
    keys[seen_rows, seen_columns] = _MASKED
    width = min(k, items)
    if width < items:
        picked = np.argpartition(keys, items - width, axis=1)[:, items - width :]
    else:
        picked = np.broadcast_to(np.arange(items), (rows, items))
    chosen = np.take_along_axis(keys, picked, axis=1)
    order = np.argsort(chosen, axis=1)[:, ::-1]
    columns = np.take_along_axis(picked, order, axis=1)
    unmasked = np.take_along_axis(chosen, order, axis=1) != _MASKED
    values = np.take_along_axis(single, columns, axis=1).astype(np.float64)
    return columns[unmasked], values[unmasked], unmasked.sum(axis=1)


def seen_places(seen: pa.ListArray, content_ids: pa.Array) -> tuple[Integers, Integers]:
    """Return (row, place in content_ids) of each content in `seen` that is among them."""
    lengths = pc.fill_null(pc.list_value_length(seen), 0).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(seen)), lengths)
    places = pc.fill_null(pc.index_in(seen.flatten(), value_set=content_ids), -1).to_numpy(zero_copy_only=False)
    known = places >= 0
    return rows[known], places[known].astype(np.int64)


def as_matrix(features: pa.ListArray) -> Doubles:
    """Return lists of one length as a matrix of doubles, a list a row; (0, 0) for no list."""
    values = features.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return values.reshape(len(features), -1) if len(features) else np.empty((0, 0))


def lists_of(values: pa.Array, lengths: npt.NDArray[np.integer]) -> pa.ListArray:
    """Return consecutive values as lists of the given lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
