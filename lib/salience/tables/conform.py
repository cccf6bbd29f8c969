"""Holds frames against the contracts of tables."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from salience.errors import ContractError
from salience.tables.contract import Table


def conform(table: Table, frame: DataFrame) -> DataFrame:
    """Return the frame with the contract's columns in the contract's order.

    Raises:
        ContractError: a column is missing, unexpected or of another type; every difference is listed.
    """
    _require_same(table, frame.schema)
    return frame.select([F.col(column.name) for column in table.columns])


def _require_same(table: Table, found: T.StructType) -> None:
    expected = {field.name: _plain(field.dataType) for field in table.schema}
    actual = {field.name: _plain(field.dataType) for field in found}
    wrong = [f"{name} is missing" for name in expected if name not in actual]
    wrong += [f"{name} is not in the contract" for name in actual if name not in expected]
    wrong += [
        f"{name} is {actual[name]} instead of {expected[name]}"
        for name in expected
        if name in actual and actual[name] != expected[name]
    ]
    if wrong:
        what = "the frame to write differs from the contract (change the contract or the frame)"
        raise ContractError(f"{table}: {what}: {'; '.join(wrong)}")


def _plain(data_type: T.DataType) -> str:
    """Return the type without nullability, which Delta enforces by itself."""
    return data_type.simpleString()
