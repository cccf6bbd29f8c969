"""Dimensions with their history: one row per version of a content or a person."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

_STATE = "__state"


def versions(
    delivered: DataFrame, key: Sequence[str], details: Sequence[str], refusals: Sequence[str] = ()
) -> DataFrame:
    """Return the versions of each key, each with valid_from and valid_to (UTC; null for the newest).

    A delivery's row holds from the start of its delivery day until the next delivery that says something else. Of
    several rows of one key in a delivery one that refuses counts before one that does not, then the one with the
    smallest row_hash, whatever their order.

    Args:
        delivered: rows of one platform that pass the row rules: platform, `key`, details, delivery_date, row_hash.
        key: the columns that tell one thing from another; some may be null.
        details: the columns whose change makes a new version.
        refusals: those of them that say with false that somebody refuses something.
    """
    of_key = Window.partitionBy("platform", *key).orderBy("delivery_date")
    refusing_first = [F.coalesce(F.col(name), F.lit(True)) for name in refusals]
    same_day = Window.partitionBy("platform", *key, "delivery_date").orderBy(*refusing_first, "row_hash")
    # As JSON, since maps cannot be compared; their entries are sorted so that equal maps give equal text.
    state = F.to_json(F.struct(*(_comparable(delivered, name).alias(name) for name in details)))
    one_a_day = delivered.withColumn("__place", F.row_number().over(same_day)).where("__place = 1")
    changed = (
        one_a_day.withColumn(_STATE, state)
        .withColumn("__before", F.lag(_STATE).over(of_key))
        .where(F.col("__before").isNull() | (F.col("__before") != F.col(_STATE)))
    )
    return changed.select(
        "platform",
        *key,
        *details,
        F.col("delivery_date").cast("timestamp").alias("valid_from"),
        F.lead("delivery_date").over(of_key).cast("timestamp").alias("valid_to"),
    )


def _comparable(frame: DataFrame, name: str) -> Column:
    is_map = dict(frame.dtypes)[name].startswith("map<")
    return F.array_sort(F.map_entries(name)) if is_map else F.col(name)
