"""Says what became of an event id: where it was delivered, which rules it broke, what stands in silver."""

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.interactions.rules import MEANINGS
from salience.tables import bronze, ops, silver
from salience.tables.contract import Table
from salience.tables.warehouse import Warehouse


def explain_event(warehouse: Warehouse, platform: str, event_id: str) -> list[str]:
    """Return what became of every delivered row of an event id, line by line, without raw ids or payload.

    Args:
        warehouse: the tables.
        platform: whose id it is.
        event_id: the source's id; it stands for all events of its rows, where a row stands for several.

    Raises:
        InputError: no delivery that was taken holds it; the message names those that were not taken.
    """
    order = ("event_id", "event_time", "delivery_date", "row_hash", "source_file")
    columns = (*order, "action", "violations")
    delivered = _rows(warehouse, bronze.EVENTS, platform, event_id, columns)
    if not delivered:
        raise InputError(_unknown(warehouse, platform, event_id))
    accepted = _rows(warehouse, silver.INTERACTIONS, platform, event_id, order[:3])
    excluded = _rows(
        warehouse, silver.EXCLUDED_EVENTS, platform, event_id, (*order[:3], "reasons", "reason", "winner_event_id")
    )
    # A copy is never the first of its kind, which may be excluded for another reason.
    excluded.sort(key=lambda row: row["reason"] == "duplicate")
    lines = []
    for row in sorted(delivered, key=_order):
        when = f"{row['event_time'].split('.')[0]} UTC" if row["event_time"] else "no readable time"
        lines.append(f"{row['event_id']}: {row['action'] or 'unknown action'}, {when}, from {row['source_file']}")
        lines.append(f"  {_verdict(row, accepted, excluded)}")
    return lines


def _rows(warehouse: Warehouse, table: Table, platform: str, event_id: str, columns: Sequence[str]) -> list[Row]:
    if not warehouse.exists(table):
        return []
    is_it = (F.col("event_id") == event_id) | F.col("event_id").startswith(f"{event_id}#")
    rows = warehouse.read(table).where((F.col("platform") == platform) & is_it)
    # As text: Python's times end at the year 9999, and are shown in the machine's zone.
    return rows.withColumn("event_time", F.col("event_time").cast("string")).select(*columns).collect()


def _verdict(row: Row, accepted: list[Row], excluded: list[Row]) -> str:
    """Return what became of one delivered row; of copies in one delivery the first by row_hash is the accepted one."""
    if row["violations"]:
        return f"rejected: {_reasons(row['violations'])}"
    stands, out = (
        [other for other in found if _same(row, other, "event_id", "event_time", "delivery_date")]
        for found in (accepted, excluded)
    )
    if stands:
        accepted.remove(stands[0])
        return "accepted: it stands in silver.interactions"
    if not out:
        return "not settled: a run ended before it; clean the day of its delivery again"
    excluded.remove(out[0])
    winner = f"; {out[0]['winner_event_id']} stands for it" if out[0]["winner_event_id"] else ""
    return f"excluded: {_reasons(out[0]['reasons'] or [out[0]['reason']])}{winner}"


def _same(one: Row, other: Row, *names: str) -> bool:
    return all(one[name] == other[name] for name in names)


def _reasons(names: Sequence[str]) -> str:
    return "; ".join(f"{name} ({MEANINGS[name]})" for name in names)


def _unknown(warehouse: Warehouse, platform: str, event_id: str) -> str:
    told = f"{platform}: no delivery that was taken holds the event {event_id}"
    if not warehouse.exists(ops.DELIVERIES):
        return f"{told}; none was ever cleaned"
    looked_at = warehouse.read(ops.DELIVERIES).where(
        (F.col("platform") == platform) & (F.col("dataset") == "interactions")
    )
    if looked_at.isEmpty():
        return f"{told}; none of its deliveries was ever looked at, so check --platform"
    newest: dict[Any, Row] = {}
    for row in sorted(looked_at.select("delivery_date", "state", "problem", "seen_at").collect(), key=_seen):
        newest[row["delivery_date"]] = row
    left = [f"{day} {row['state']}{_why(row)}" for day, row in sorted(newest.items()) if row["state"] != "taken"]
    return f"{told}; not taken: {'; '.join(left)}" if left else f"{told}; all that were looked at were taken"


def _order(row: Row) -> tuple[Any, ...]:
    times = str(row["event_time"]), str(row["delivery_date"])
    return (row["event_id"], *times, row["row_hash"], row["source_file"])


def _seen(row: Row) -> Any:
    return row["seen_at"]


def _why(row: Row) -> str:
    return f" ({row['problem']})" if row["problem"] else ""
