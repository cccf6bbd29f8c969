"""Conditions that name partitions of a table by their values."""

from collections.abc import Mapping, Sequence
from datetime import date

from pyspark.sql import Column as SparkColumn
from pyspark.sql import functions as F

from salience.tables.stored import quoted

PartitionValue = str | date


def is_in(column: str, values: Sequence[PartitionValue]) -> SparkColumn:
    """Return the condition that `column` holds one of `values`; false for none."""
    return F.col(column).isin(list(values)) if values else F.lit(False)


def condition(where: Mapping[str, Sequence[PartitionValue]]) -> str:
    """Return the SQL condition that each column holds one of its values."""
    return " AND ".join(
        f"{column} IN ({', '.join(literal(value) for value in sorted(set(values)))})"
        for column, values in where.items()
    )


def literal(value: PartitionValue) -> str:
    """Return the value as an SQL literal."""
    if isinstance(value, date):
        return f"DATE'{value.isoformat()}'"
    return quoted(value)
