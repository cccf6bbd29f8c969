"""Rows that the driver holds, as frames."""

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from salience.tables.contract import Table


def as_frame(spark: SparkSession, table: Table, rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Return rows of a snapshot as a frame without the release; a column that a row does not name is null."""
    fields = [field for field in table.schema if field.name != "release_id"]
    values = [tuple(row.get(field.name) for field in fields) for row in rows]
    return spark.createDataFrame(values, T.StructType(fields))
