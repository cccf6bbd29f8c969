"""The version of a dimension that holds as of a day."""

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def valid_at_end_of(dimension: DataFrame, as_of: date) -> DataFrame:
    """Return the rows of a dimension that hold at the end of the UTC day `as_of`, without their validity.

    A version that a delivery of `as_of` brought counts; one of the day after does not.
    """
    end = F.lit(as_of + timedelta(days=1)).cast("timestamp")
    holds = (F.col("valid_from") < end) & (F.col("valid_to").isNull() | (F.col("valid_to") >= end))
    return dimension.where(holds).drop("valid_from", "valid_to")
