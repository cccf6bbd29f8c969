"""Gram matrices on the cluster: for each two columns of a sparse matrix their product, summed over its rows."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.recommend.models.interface import Doubles

_ROWS_AT_ONCE = 1_000_000
"""Sums that a task passes on at a time."""

_SUMS = "i int, j int, value double"


def gram(pairs: DataFrame, row: str, column: str, weight: Column, longest: int) -> DataFrame:
    """Return the upper triangle of X'X, X being the sparse matrix of weights.

    Each batch of rows is multiplied at once by SciPy: what reaches the shuffle is summed already.

    Args:
        pairs: `row` and `column` (int ids), each pair once.
        row, column: like user and item.
        weight: of a pair.
        longest: of a row that has more columns, the heaviest so many count (of those that weigh alike any, other ones
            for each row): the work grows with the square of a row's length, and who did everything tells little about
            any two things.

    Returns:
        i, j (int, i <= j), value (double, not 0).
    """
    # By a hash: by their ids, the last columns would count nowhere.
    tie = F.xxhash64(row, column).alias("tie")
    each = F.struct((-weight).alias("minus"), tie, F.col(column).alias("column"))
    rows = pairs.groupBy(row).agg(F.slice(F.array_sort(F.collect_list(each)), 1, longest).alias("cells"))
    return rows.select("cells").mapInArrow(_multiply, _SUMS).groupBy("i", "j").agg(F.sum("value").alias("value"))


def require_room(size: int, held: int, limit_mb: float, setting: str) -> None:
    """Check that a dense model of so many items fits into the driver's memory: at its peak, three matrices of doubles.

    Args:
        size: number of items.
        held: bytes of the other fits that are held.
        limit_mb: what all of them may take, in MB of 10^6 bytes.
        setting: the limit's name, for the error.

    Raises:
        InputError: it would take more memory.
    """
    needed = (3 * 8 * size * size + held) / 1e6
    if needed > limit_mb:
        raise InputError(
            f"ease: {size:,} items x {size:,} items take {needed:,.0f} MB of the driver's memory ({held / 1e6:,.0f} of "
            f"them for other fits) and {setting} allows {limit_mb:,.0f}: leave ease out, raise "
            f"{setting} if the driver has so much, or train on fewer items"
        )


def dense(sums: DataFrame, size: int) -> Doubles:
    """Bring a whole Gram matrix to the driver, (size, size).

    Args:
        sums: from `gram`.
        size: number of columns.
    """
    matrix = np.zeros((size, size))
    for batch in sums.toArrow().to_batches():
        i, j, value = (batch.column(name).to_numpy(zero_copy_only=False) for name in ("i", "j", "value"))
        matrix[i, j] = value
        matrix[j, i] = value
    return matrix


def _multiply(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in filter(len, batches):
        cells = batch.column("cells")
        flat, lengths = cells.flatten(), pc.list_value_length(cells).to_numpy(zero_copy_only=False)
        columns = flat.field("column").to_numpy(zero_copy_only=False).astype(np.int64)
        weights = -flat.field("minus").to_numpy(zero_copy_only=False)
        rows = np.repeat(np.arange(len(batch)), lengths)
        # Columns are renumbered within the batch, so that what it takes depends on the batch alone.
        known, places = np.unique(columns, return_inverse=True)
        matrix = sp.csr_matrix((weights, (rows, places)), shape=(len(batch), len(known)))
        yield from _told(sp.triu(matrix.T @ matrix, format="coo"), known)


def _told(product: sp.coo_matrix, known: np.ndarray) -> Iterator[pa.RecordBatch]:
    arrays = [
        pa.array(known[product.row].astype(np.int32)),
        pa.array(known[product.col].astype(np.int32)),
        pa.array(product.data.astype(np.float64)),
    ]
    whole = pa.RecordBatch.from_arrays(arrays, ["i", "j", "value"])
    for start in range(0, whole.num_rows, _ROWS_AT_ONCE):
        yield whole.slice(start, _ROWS_AT_ONCE)
