"""Compare-and-set on ledgers: of runs that insert a row of the same key at once, one does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyspark.sql import functions as F

from salience.errors import ConflictError
from salience.tables.conflicts import CONFLICTS
from salience.tables.contract import Table
from salience.tables.warehouse import Warehouse


def insert_new(warehouse: Warehouse, ledger: Table, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Insert those of a few rows whose key no row of the ledger has; return False if another commit came between.

    Nothing is inserted then. Otherwise the caller reads which rows are there now: its own, or those of another run.
    """
    target = warehouse.ensure(ledger).alias("ledger")
    same_key = " AND ".join(f"ledger.{name} = new.{name}" for name in ledger.key)
    try:
        target.merge(warehouse.frame(ledger, rows).alias("new"), same_key).whenNotMatchedInsertAll().execute()
    except CONFLICTS:
        return False
    return True


def compare_and_set(
    warehouse: Warehouse, ledger: Table, next_row: Callable[[], dict[str, Any]], attempts: int
) -> dict[str, Any]:
    """Insert `next_row()` unless its key is taken; when it is, or another commit came between, read and try again.

    Raises:
        ConflictError: other runs kept inserting at the same time.
    """
    warehouse.ensure(ledger)
    (key,) = ledger.key
    for _ in range(attempts):
        row = next_row()
        if not insert_new(warehouse, ledger, [row]):
            continue
        winner = warehouse.read(ledger).where(F.col(key) == row[key]).head()
        if winner is not None and winner["run_id"] == row["run_id"]:
            return row
    raise ConflictError(f"{ledger}: {attempts} attempts met other runs each time; run it again")
