"""The version of a dimension that holds as of a day."""

from datetime import UTC, date, datetime, time, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def valid_at_end_of(dimension: DataFrame, as_of: date) -> DataFrame:
    """Return the rows of a dimension that hold at the end of the UTC day `as_of`, without their validity.

    A version that a delivery of `as_of` brought counts; one of the day after does not.
    """
    return valid_before(dimension, datetime.combine(as_of + timedelta(days=1), time(), UTC))


def valid_before(dimension: DataFrame, cut: datetime) -> DataFrame:
    """Return the rows of a dimension that hold just before `cut` (UTC), without their validity."""
    end = F.lit(cut)
    holds = (F.col("valid_from") < end) & (F.col("valid_to").isNull() | (F.col("valid_to") >= end))
    return dimension.where(holds).drop("valid_from", "valid_to")
