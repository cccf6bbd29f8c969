"""Hides small cells in what is about to be seen, as the contracts say which figures are about how many people."""

from math import inf

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.stats.small_cells import PEOPLE, SUPPRESSED, suppressed
from salience.tables import releases
from salience.tables.audits import Audit, record
from salience.tables.contract import Table
from salience.tables.warehouse import Warehouse


def publishable(table: Table, exact: DataFrame, fewest: int) -> DataFrame:
    """Return exact rows of a table as readers may see them; rows that went through here before stay as they are.

    Args:
        table: one with `small_cells`.
        exact: its rows, and `people` where its cells name that.
        fewest: people that a figure is about at least.
    """
    assert table.small_cells is not None, f"{table} has no small cells"
    shown = suppressed(exact, table.small_cells, fewest)
    kept = next((column for column in table.columns if column.name == PEOPLE), None)
    return shown.withColumn(PEOPLE, F.lit(None).cast(kept.type)) if kept else shown


def audit_suppressed(table: Table, shown: DataFrame, place: str, fewest: int) -> Audit:
    """Return the audit that counts the cells that `publishable` hid; any number passes."""
    (cells,) = shown.agg(F.coalesce(F.sum(SUPPRESSED), F.lit(0))).head()  # type: ignore[misc]
    return Audit(str(table), f"cells suppressed for being about fewer than {fewest} people", place, cells, inf)


def hide_in_release(warehouse: Warehouse, table: Table, rows: DataFrame, release_id: str, fewest: int) -> None:
    """Put what readers may see in place of a release's exact rows, unless a run that died since has done so.

    Args:
        warehouse: the tables.
        table: any snapshot; one without `small_cells` stays as it is.
        rows: the release's rows of it.
        release_id: the release, which is not published yet.
        fewest: people that a figure is about at least.
    """
    if table.small_cells is None or rows.where(F.col(SUPPRESSED).isNull()).isEmpty():
        return
    releases.require_unpublished(warehouse, release_id)
    shown = publishable(table, rows, fewest)
    record(warehouse, [audit_suppressed(table, shown, release_id, fewest)])
    warehouse.replace(table, shown, {"release_id": [release_id]})
