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
_GROUPS, _FEW = 16, 8
"""Groups of columns, and scores that are sorted, for each place of a list."""
_LOWEST = np.finfo(np.float32).min

TOP = "array<struct<content_id:string,score:double>>"

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
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
    single[seen_rows, seen_columns] = -np.inf
    width = min(k, items)
    if not width:
        return np.empty(0, np.int64), np.empty(0), np.zeros(rows, np.int64)
    reached = single >= np.maximum(_floors(single, width), _LOWEST)[:, None]
    tied = np.flatnonzero(np.count_nonzero(reached, axis=1) > _FEW * width)
    reached[tied] &= _first(single[tied], width)
    places = np.flatnonzero(reached)
    row, column = np.divmod(places, items)
    value = single.ravel()[places]
    order = np.lexsort((column, -value, row))
    counts = np.bincount(row, minlength=rows)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    picked = order[rank < width]
    return column[picked], value[picked].astype(np.float64), np.minimum(counts, width)


def _floors(single: Singles, width: int) -> Singles:
    """Return a value for each row that at least `width` of its scores reach, and not many more unless they are equal.

    The largest scores of groups of columns are found as fast as the scores can be read; `width` groups of a row reach
    the `width`-th of them.
    """
    rows, items = single.shape
    groups = _GROUPS * width
    tops = single
    if items > 2 * groups:
        high = items // groups
        tops = single[:, : high * groups].reshape(rows, high, groups).max(axis=1)
    if tops.shape[1] <= width:
        return np.full(rows, _LOWEST)
    return np.asarray(np.partition(tops, tops.shape[1] - width, axis=1)[:, -width])


def _first(single: Singles, width: int) -> npt.NDArray[np.bool_]:
    """Return which scores are among the `width` largest of their row; of equal ones the first."""
    edge = np.partition(single, single.shape[1] - width, axis=1)[:, -width, None]
    above, equal = single > edge, single == edge
    room = width - np.count_nonzero(above, axis=1, keepdims=True)
    return np.asarray(above | (equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= room)))


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
