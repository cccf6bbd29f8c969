"""Compare-and-set on ledgers: of runs that insert a row of the same key at once, one does."""

from collections.abc import Mapping, Sequence
from typing import Any

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
