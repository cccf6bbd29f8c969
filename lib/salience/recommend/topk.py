"""The best k contents of each person in one pass: item factors go to every task, candidates are never shuffled.

Factors that would take too much of a task's memory at once are sent in blocks, which each task walks one after another.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from salience.errors import InputError
from salience.recommend.best import Doubles, Factors, Integers, best_products, within
from salience.recommend.caching import kept

TOP = "array<struct<content_id:string,score:double>>"

_BYTES = 12
"""What a task holds of each number of a factor: a double and a single."""


@dataclass(frozen=True)
class Items:
    """Contents in order of their ids, and their factors, (items, rank)."""

    content_ids: pa.Array
    factors: Doubles


@dataclass(frozen=True)
class Catalogue:
    """Items sent to the tasks: those of all blocks together, in no particular order.

    gram: the sum of the outer products of their factors, (rank, rank).
    """

    blocks: tuple[Broadcast[tuple[pa.Array, Factors]], ...]
    gram: Doubles

    def factors_of(self, content_ids: pa.Array) -> tuple[npt.NDArray[np.bool_], Doubles]:
        """Return, in a task, which of these contents are among the items, and their factors; 0 for those that are not.

        Args:
            content_ids: string.

        Returns:
            (ids,), (ids, rank).
        """
        are_here, found = np.zeros(len(content_ids), np.bool_), np.zeros((len(content_ids), len(self.gram)))
        for ids, factors in _walk(self):
            if not len(ids):
                continue
            places = places_of(content_ids, ids)
            here = places >= 0
            found[here] = factors.exact[places[here]]
            are_here |= here
        return are_here, found


def collect_items(items: DataFrame) -> Items:
    """Bring item factors to the driver; the size of the catalogue x rank must fit there.

    Args:
        items: content_id, features (array of float or double, all of one length).

    Raises:
        InputError: a factor is no finite number.
    """
    table = items.select("content_id", "features").toArrow().sort_by("content_id").combine_chunks()
    ids = pa.array(table["content_id"].to_pylist(), pa.string())
    factors = as_matrix(table["features"].combine_chunks())
    broken: Integers = np.flatnonzero(~np.isfinite(factors).all(axis=1))
    if len(broken):
        raise InputError(
            f"{len(broken)} of {len(ids)} factors hold NaN or infinite numbers, the first those of {ids[broken[0]]}: "
            "the model that they are of is damaged; train it again (jobs/train_recommender.py)"
        )
    return Items(ids, factors)


def in_blocks(items: DataFrame, block_mb: float) -> Catalogue:
    """Send factors to the tasks, in blocks that each take at most about `block_mb` there.

    The driver holds one block at a time.

    Args:
        items: content_id, features (array of float or double, all of one length); each content once.
        block_mb: in 10^6 bytes.

    Raises:
        InputError: a factor is no finite number.
    """
    spark = items.sparkSession
    with kept(items.select("content_id", "features")) as held:
        size = held.agg(F.sum(F.size("features"))).head()
        numbers = (size[0] if size else None) or 0
        blocks = max(1, ceil(numbers * _BYTES / (block_mb * 1e6)))
        # By a hash, so that blocks are of about one size whatever the ids look like.
        block = F.pmod(F.xxhash64("content_id"), F.lit(blocks))
        pieces = [held.where(block == n) for n in range(blocks)] if blocks > 1 else [held]
        sent, grams = [], []
        for piece in map(collect_items, pieces):
            sent.append(spark.sparkContext.broadcast((piece.content_ids, Factors.of(piece.factors))))
            grams += [piece.factors.T @ piece.factors] if len(piece.factors) else []
        return Catalogue(tuple(sent), np.sum(grams, axis=0) if grams else np.empty((0, 0)))


def top_k(users: DataFrame, ranked: Catalogue, k: int, keep: Sequence[str] = ()) -> DataFrame:
    """Score every item for every user and keep the best k that may be shown.

    score = user features x item features, computed in double precision and rounded to single, so that how rows fall
    into batches and items into blocks cannot show. Ties go to the smaller content_id.

    Args:
        users: features (array<double> or array<float>, finite; null for an empty list), seen (array<string>: what the
            user may not be shown), and columns to pass through.
        ranked: from `in_blocks`.
        k: length of the lists; they are shorter where there are fewer items.
        keep: of `features` and `seen`, those that are passed through, too.

    Returns:
        the columns passed through, top: array of (content_id, score), best first.
    """
    kept = [field for field in users.schema if field.name not in {"features", "seen"} - set(keep)]
    schema = T.StructType([*kept, T.StructField("top", T.DataType.fromDDL(TOP), False)])
    return users.mapInArrow(_scorer(ranked, [field.name for field in kept], k), schema)


def _scorer(
    ranked: Catalogue, kept: list[str], k: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in filter(len, batches):
            lists = (_lists(batch, *block, k) for block in _walk(ranked))
            top = reduce(lambda one, other: _merged(one, other, k), lists)
            yield pa.RecordBatch.from_arrays([*(batch.column(name) for name in kept), top], [*kept, "top"])

    return score


def _walk(ranked: Catalogue) -> Iterator[tuple[pa.Array, Factors]]:
    """Yield the blocks; of several, one at a time is in memory."""
    for shared in ranked.blocks:
        yield shared.value
        if len(ranked.blocks) > 1 and shared._path is not None:  # it can be read again
            del shared._value  # else Spark keeps it for as long as the worker lives


def _lists(batch: pa.RecordBatch, content_ids: pa.Array, factors: Factors, k: int) -> pa.ListArray:
    """Return each user's best of one block."""
    lengths = np.zeros(len(batch), np.int64)
    known = np.flatnonzero(batch.column("features").is_valid())
    if not len(content_ids) or not len(known):
        return lists_of(pa.array([], T_TOP), lengths)
    asking = batch.select(["features", "seen"]).take(pa.array(known)) if len(known) < len(batch) else batch
    queries = as_matrix(asking.column("features"))
    if not np.isfinite(queries).all():
        raise ValueError("the factors of some users hold NaN or infinite numbers: train the model again")
    masked = seen_places(asking.column("seen"), content_ids)
    places, scores, lengths[known] = best_products(queries, factors, *masked, k)
    top = pa.StructArray.from_arrays([content_ids.take(pa.array(places)), pa.array(scores)], fields=list(T_TOP))
    return lists_of(top, lengths)


def _merged(one: pa.ListArray, other: pa.ListArray, k: int) -> pa.ListArray:
    """Return the best k of two lists of each user."""
    rows = [np.repeat(np.arange(len(lists)), pc.list_value_length(lists)) for lists in (one, other)]
    both = [lists.flatten() for lists in (one, other)]
    columns = {name: pa.concat_arrays([part.field(name) for part in both]) for name in ("content_id", "score")}
    table = pa.table({"row": np.concatenate(rows), **columns})
    ordered = table.sort_by([("row", "ascending"), ("score", "descending"), ("content_id", "ascending")])
    row = ordered["row"].to_numpy()
    best = ordered.filter(pa.array(within(row) < k)).combine_chunks()
    arrays = [_one_chunk(best[name]) for name in ("content_id", "score")]
    lengths = np.minimum(np.bincount(row, minlength=len(one)), k)
    return lists_of(pa.StructArray.from_arrays(arrays, fields=list(T_TOP)), lengths)


T_TOP = pa.struct([("content_id", pa.string()), ("score", pa.float64())])
"""An element of TOP."""


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def seen_places(seen: pa.ListArray, content_ids: pa.Array) -> tuple[Integers, Integers]:
    """Return (row, place in content_ids) of each content in `seen` that is among them, row by row."""
    lengths = pc.fill_null(pc.list_value_length(seen), 0).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(seen)), lengths)
    places = places_of(seen.flatten(), content_ids)
    known = places >= 0
    return rows[known], places[known]


def places_of(ids: pa.Array, content_ids: pa.Array) -> Integers:
    """Return each id's place in `content_ids`; -1 where it is not there."""
    places = pc.fill_null(pc.index_in(ids, value_set=content_ids), -1)
    return np.asarray(places.to_numpy(zero_copy_only=False), dtype=np.int64)


def as_matrix(features: pa.ListArray) -> Doubles:
    """Return lists of one length as a matrix of doubles, a list a row; (0, 0) for no list."""
    values = features.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return values.reshape(len(features), -1) if len(features) else np.empty((0, 0))


def lists_of(values: pa.Array, lengths: npt.NDArray[np.integer]) -> pa.ListArray:
    """Return consecutive values as lists of the given lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
