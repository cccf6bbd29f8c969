"""The k largest scores of each row, exactly: what may not be picked is masked, ties go to the smaller column.

Scores are computed in double precision and rounded to single, so that how rows fall into batches cannot show.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

Picks = tuple[Integers, Doubles, Integers]
"""Columns and scores of the picks, row by row and best first, and the number of picks of each row."""

_GROUPS, _FEW = 16, 8
"""Groups of columns, and scores that are sorted, for each place of a list."""
_AT_ONCE = 2_500_000
"""Scores of a product that are held at a time: 10 MB of singles, which stay in the cache of a core."""
_LOWEST = np.finfo(np.float32).min
_UNIT = 2.0**-24
"""Relative error of rounding to single precision."""


@dataclass(frozen=True)
class Factors:
    """A matrix whose products with queries are ranked: (items, rank), and in single precision (rank, items)."""

    exact: Doubles
    single: Singles
    largest: float
    """The largest Euclidean norm of its rows."""

    @staticmethod
    def of(factors: npt.NDArray[np.floating]) -> "Factors":
        """Return factors, (items, rank), as products need them."""
        exact = np.asarray(factors, dtype=np.float64)
        single = np.ascontiguousarray(exact.T, dtype=np.float32)
        return Factors(exact, single, float(np.linalg.norm(exact, axis=1).max(initial=0.0)))


def best_products(queries: Doubles, factors: Factors, rows: Integers, columns: Integers, k: int) -> Picks:
    """Pick each query's k largest products with the factors.

    Products in single precision are within a known distance of the exact ones; whatever lies so near the k-th largest
    that it could be among the best is computed once more in double precision.

    Args:
        queries: (rows, rank), finite.
        factors: from `Factors.of`, finite.
        rows, columns: places that may not be picked; rows in ascending order.
        k: at most this many a row.
    """
    found = [
        _screened(queries[start:end], factors, rows[low:high] - start, columns[low:high], k)
        for start, end, low, high in _slices(len(queries), len(factors.exact), rows)
    ]
    if not found:
        return np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
    places, values, lengths = (np.concatenate(part) for part in zip(*found, strict=True))
    return places, values, lengths


def _slices(rows: int, items: int, masked: Integers) -> Iterator[tuple[int, int, int, int]]:
    """Yield pieces of the rows that fit in the cache: first row, end, and where their masked places lie."""
    at_once = max(1, _AT_ONCE // max(1, items))
    for start in range(0, rows, at_once):
        end = min(start + at_once, rows)
        low, high = np.searchsorted(masked, (start, end))
        yield start, end, int(low), int(high)


def _screened(queries: Doubles, factors: Factors, rows: Integers, columns: Integers, k: int) -> Picks:
    items, rank = factors.exact.shape
    width = min(k, items)
    norms = np.linalg.norm(queries, axis=1) * factors.largest
    if not width or not norms.max(initial=0.0) < np.finfo(np.float32).max / 4:
        return best(queries @ factors.exact.T, rows, columns, k)
    single = queries.astype(np.float32) @ factors.single
    single[rows, columns] = -np.inf
    # Twice the largest error of a product of that length, its factors and itself being rounded (Higham, 2002, section
    # 3.1); the last term is what numbers lose that are too small for single precision.
    margin = 2 * (rank + 4) * _UNIT * norms + rank * 1e-36
    floors = np.maximum(_floors(single, width).astype(np.float64) - margin, _LOWEST)
    with np.errstate(over="ignore"):  # below the lowest number lies -inf
        reached = single >= np.nextafter(floors.astype(np.float32), np.float32(-np.inf))[:, None]
    reached &= single != -np.inf
    near = np.count_nonzero(reached, axis=1)
    many = np.flatnonzero(near > _FEW * width)
    reached[many] = False
    row, column = np.divmod(np.flatnonzero(reached), items)
    value = np.einsum("ij,ij->i", queries[row], factors.exact[column]).astype(np.float32) + np.float32(0)
    if len(many):
        # Many scores are equal, or nearly so: for these rows all of them are computed.
        open_ = single[many] != -np.inf
        masked_rows, masked_columns = np.nonzero(~open_)
        also, values, lengths = best(queries[many] @ factors.exact.T, masked_rows, masked_columns, k)
        row = np.concatenate([row, np.repeat(many, lengths)])
        column, value = np.concatenate([column, also]), np.concatenate([value, values.astype(np.float32)])
    return _first_of_each(row, column, value, len(queries), width)


def best(scores: Doubles, rows: Integers, columns: Integers, k: int, above: float = -np.inf) -> Picks:
    """Pick each row's k largest scores.

    Args:
        scores: (rows, items), finite; -inf for what may not be picked.
        rows, columns: places that may not be picked either.
        k: at most this many a row.
        above: what is not larger than this, in single precision, is not picked.
    """
    count, items = scores.shape
    single = scores.astype(np.float32) + np.float32(0)  # adding 0 turns -0 into 0
    single[rows, columns] = -np.inf
    width = min(k, items)
    if not width:
        return np.empty(0, np.int64), np.empty(0), np.zeros(count, np.int64)
    lowest = max(np.nextafter(np.float32(above), np.float32(np.inf)), _LOWEST)
    reached = single >= np.maximum(_floors(single, width), lowest)[:, None]
    tied = np.flatnonzero(np.count_nonzero(reached, axis=1) > _FEW * width)
    reached[tied] &= _first(single[tied], width)
    places = np.flatnonzero(reached)
    row, column = np.divmod(places, items)
    return _first_of_each(row, column, single.ravel()[places], count, width)


def _first_of_each(row: Integers, column: Integers, value: Singles, rows: int, width: int) -> Picks:
    """Return the `width` largest values of each row in order."""
    order = np.lexsort((column, -value, row))
    picked = order[within(row[order]) < width]
    return column[picked], value[picked].astype(np.float64), np.minimum(np.bincount(row, minlength=rows), width)


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


def within(groups: Integers) -> Integers:
    """Return each element's place, from 0, among the equal ones that it stands among."""
    begins = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]])) if len(groups) else groups
    return np.arange(len(groups)) - np.repeat(begins, np.diff(np.append(begins, len(groups))))
