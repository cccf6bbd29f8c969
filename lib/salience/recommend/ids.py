"""Dense integer ids of one model, which MLlib asks for."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.recommend.caching import kept

_ROW_BITS = 33
"""monotonically_increasing_id holds the partition above this many bits and the row in the partition below."""


@contextmanager
def dense_ids(frame: DataFrame, column: str) -> Iterator[DataFrame]:
    """Give each distinct value of a string column its rank among all, from 0, for as long as the block lasts.

    The ids depend on the set of values alone: not on their order, their partitions, or other models. The work is spread
    over a range partition; only one count for each partition reaches the driver.

    Yields:
        `column`, id (int).

    Raises:
        ArithmeticException (Spark): there are more values than an int can number.
    """
    ordered = frame.select(column).distinct().repartitionByRange(F.col(column)).sortWithinPartitions(column)
    placed = ordered.select(column, F.monotonically_increasing_id().alias("place"))
    # Sampled range boundaries may differ between two evaluations: counts and rows must come from the same one.
    with kept(placed) as held:
        partition, row = F.shiftright("place", _ROW_BITS), F.col("place").bitwiseAND((1 << _ROW_BITS) - 1)
        counted = held.groupBy(partition.alias("partition")).agg(F.count("*").alias("rows")).collect()
        rows = {r["partition"]: r["rows"] for r in counted}
        sizes = [rows.get(number, 0) for number in range(max(rows, default=0) + 1)]
        first = F.element_at(F.lit(list(accumulate(sizes, initial=0))), (partition + 1).cast("int"))
        yield held.select(column, (first + row).cast("int").alias("id"))
