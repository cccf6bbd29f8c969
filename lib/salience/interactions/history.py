"""Dimensions with their history: one row per version of a content or a person."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

_PLACE, _STATE = "__place", "__state"


def placed(delivered: DataFrame, key: Sequence[str], details: Sequence[str], refusals: Sequence[str] = ()) -> DataFrame:
    """Return the rows with their place among those of one key in a delivery, and whether they contradict the first.

    One that passes the row rules comes before one that does not, one that refuses before one that does not, then the
    one with the smallest row_hash, whatever their order. `is_other` marks rows with other details than the first.
    """
    state = _state(delivered, details)
    refusing_first = [F.coalesce(F.col(name), F.lit(True)) for name in refusals]
    in_order = _same_day(key).orderBy(F.size("violations") > 0, *refusing_first, "row_hash", state)
    return delivered.withColumn(_PLACE, F.row_number().over(in_order)).withColumn(
        "is_other", state != F.first(state).over(in_order)
    )


def versions(
    delivered: DataFrame, key: Sequence[str], details: Sequence[str], refusals: Sequence[str] = ()
) -> DataFrame:
    """Return the versions of each key, each with valid_from and valid_to (UTC; null for the newest).

    A delivery's row holds from the start of its delivery day until the next delivery that says something else. Of
    several rows of one key in a delivery the first counts (see `placed`), and every refusal in any of them. Of a row
    that breaks row rules nothing counts but what it refuses; the rest stays as it was, null where nothing was known.

    Args:
        delivered: rows of one platform: platform, `key`, details, delivery_date, row_hash, violations.
        key: the columns that tell one thing from another; some may be null.
        details: the columns whose change makes a new version.
        refusals: those of them that say with false that somebody refuses something.
    """
    of_key = Window.partitionBy("platform", *key).orderBy("delivery_date")
    one_a_day = placed(delivered, key, details, refusals)
    for name in refusals:
        one_a_day = one_a_day.withColumn(name, _refused(name, _same_day(key), F.col(name)))
    one_a_day = one_a_day.where(F.col(_PLACE) == 1)
    if refusals:
        one_a_day = _with_rest_as_it_was(one_a_day, key, details, refusals)
    changed = (
        one_a_day.withColumn(_STATE, _state(delivered, details))
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


def _with_rest_as_it_was(
    one_a_day: DataFrame, key: Sequence[str], details: Sequence[str], refusals: Sequence[str]
) -> DataFrame:
    """Return the days' rows; those that break row rules say what the last one before said that does not."""
    passes = F.size("violations") == 0
    trusted = one_a_day.withColumn(
        "__trusted", F.count_if(passes).over(Window.partitionBy("platform", *key).orderBy("delivery_date"))
    )
    since = Window.partitionBy("platform", *key, "__trusted").orderBy("delivery_date")
    for name in details:
        kept = F.first(F.when(passes, F.col(name))).over(since)
        trusted = trusted.withColumn(name, _refused(name, since, kept) if name in refusals else kept)
    return trusted


def _refused(name: str, among: WindowSpec, otherwise: Column) -> Column:
    return F.when(~F.bool_and(name).over(among), F.lit(False)).otherwise(otherwise)


def _same_day(key: Sequence[str]) -> WindowSpec:
    return Window.partitionBy("platform", *key, "delivery_date")


def _state(frame: DataFrame, details: Sequence[str]) -> Column:
    """Return the details as JSON, since maps cannot be compared; sorted, so that equal maps give equal text."""
    if not details:
        return F.lit("")
    return F.to_json(F.struct(*(_comparable(frame, name).alias(name) for name in details)))


def _comparable(frame: DataFrame, name: str) -> Column:
    is_map = dict(frame.dtypes)[name].startswith("map<")
    return F.array_sort(F.map_entries(name)) if is_map else F.col(name)
