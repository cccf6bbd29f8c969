"""Deletes old days of day tables, and knows what is gone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from pyspark.sql import functions as F

from salience.errors import ConflictError
from salience.tables import activity, bronze, ops, outcomes, silver
from salience.tables.conflicts import CONFLICTS
from salience.tables.contract import Table
from salience.tables.staged import Commit
from salience.tables.warehouse import Warehouse

AGEING: Mapping[str, Sequence[tuple[Table, str]]] = {
    "bronze": ((bronze.EVENTS, "delivery_date"),),
    "silver": (
        (silver.INTERACTIONS, "event_date"),
        (silver.EXCLUDED_EVENTS, "event_date"),
        (silver.REJECTED_EVENTS, "delivery_date"),
    ),
    "gold": (
        (activity.CONTENT_DAILY, "event_date"),
        (activity.AUDIENCE_DAILY, "event_date"),
        (outcomes.OUTCOMES, "event_date"),
    ),
}
"""Layer -> its tables that age, each with the partition column that says how old a row is."""


def delete_before(warehouse: Warehouse, table: Table, column: str, day: date) -> Commit | None:
    """Delete a table's days before one; return the commit, or None where there was nothing to delete.

    The ledger says so first, so that whoever finds rows missing also finds why. A run that dies in between, and runs
    again, ends the same. The files stay until somebody vacuums the table.

    Raises:
        ConflictError: another run wrote old days at the same time.
    """
    if not warehouse.exists(table):
        return None
    old = warehouse.read(table).where(F.col(column) < F.lit(day)).groupBy("platform").count().collect()
    if not old:
        return None
    about = {"run_id": warehouse.run_id, "table": str(table), "deleted_before": day, "applied_at": datetime.now(UTC)}
    rows = [about | {"platform": platform, "rows": count} for platform, count in sorted(old)]
    warehouse.append_rows(ops.RETENTION, rows)
    try:
        # It touches no day in the sense of stale.py: what was measured of these days stays.
        return warehouse.delete_before(table, column, day, {"event_days": [], "deleted_before": day.isoformat()})
    except CONFLICTS as error:
        raise ConflictError(f"{table}: another run wrote days before {day}; apply retention again") from error


def deleted_before(warehouse: Warehouse, table: Table, platforms: Sequence[str]) -> date | None:
    """Return the day before which days of a table are deleted of any of the platforms; None where none ever were."""
    if not warehouse.exists(ops.RETENTION):
        return None
    of_table = (F.col("table") == str(table)) & F.col("platform").isin(list(platforms))
    found = warehouse.read(ops.RETENTION).where(of_table).agg(F.max("deleted_before")).head()
    return found[0] if found else None


def first_whole_day(warehouse: Warehouse, table: Table, platforms: Sequence[str], window_days: int) -> date | None:
    """Return the first day of a gold day table that may be measured: earlier ones are gone, or part of their input is.

    Args:
        warehouse: the tables.
        table: the gold table.
        platforms: that are measured together.
        window_days: days of silver.interactions that a day is measured from, the day itself included.
    """
    own, inputs = (deleted_before(warehouse, of, platforms) for of in (table, silver.INTERACTIONS))
    whole = inputs + timedelta(days=window_days - 1) if inputs else None
    return max((day for day in (own, whole) if day), default=None)
