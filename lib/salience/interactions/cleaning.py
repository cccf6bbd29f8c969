"""Settles in silver what new deliveries in bronze changed: whole event days, and whole histories of dimensions."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.interactions.day_rules import count_verdicts, events_of_days, is_accepted, judge_days
from salience.interactions.history import versions
from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms
from salience.settings import CleanSettings
from salience.tables import bronze, silver
from salience.tables.audits import Audit, enforce
from salience.tables.contract import Table
from salience.tables.warehouse import Commit, PartitionValue, Warehouse, is_in

Counts = Mapping[date, Mapping[str, int]]
"""Delivery day -> emitted, rejected, excluded, accepted."""
Note = Callable[[Table, Commit], None]
Where = Mapping[str, Sequence[PartitionValue]]

_IDS = {"raw_user_id": "user_id", "raw_creator_id": "creator_id"}
_DIMENSIONS: Mapping[str, tuple[Table, Table, str, tuple[str, ...]]] = {
    "contents": (
        bronze.CONTENTS,
        silver.CONTENTS,
        "content_id",
        ("raw_creator_id", *(column.name for column in bronze.CONTENT_DETAILS)),
    ),
    "users": (bronze.USERS, silver.USERS, "raw_user_id", tuple(column.name for column in bronze.USER_DETAILS)),
}


def settle(
    warehouse: Warehouse, dataset: str, key: PseudonymKey, days: Sequence[date], settings: CleanSettings, note: Note
) -> Counts:
    """Bring silver up to date with the deliveries of one dataset of one platform, and return what became of their rows.

    Args:
        warehouse: the tables.
        dataset: interactions, or a dimension.
        key: the platform's pseudonym key.
        days: days of the deliveries that were just taken into bronze.
        settings: rules' thresholds.
        note: told of every commit.

    Raises:
        AuditError: emitted = rejected + excluded + accepted does not hold for a delivery; silver stays as it was.
    """
    if not days:
        return {}
    if dataset in _DIMENSIONS:
        return _settle_dimension(warehouse, dataset, key, days, note)
    return _settle_events(warehouse, key, days, settings, note)


def dirty_days(warehouse: Warehouse, delivered: DataFrame, platform: str, days: Sequence[date]) -> list[date]:
    """Return the event days that deliveries touch: those of their rows, and those that silver holds rows of theirs on.

    The second kind repairs days that a corrected delivery no longer has rows for.
    """
    clean = delivered.where((F.size("violations") == 0) & F.col("event_date").isNotNull())
    frames = [clean.select("event_date")]
    for table in (silver.INTERACTIONS, silver.EXCLUDED_EVENTS):
        if warehouse.exists(table):
            of_deliveries = (F.col("platform") == platform) & is_in("delivery_date", days)
            frames.append(warehouse.read(table).where(of_deliveries).select("event_date"))
    return sorted(row["event_date"] for row in reduce(DataFrame.union, frames).distinct().collect())


def _settle_events(
    warehouse: Warehouse, key: PseudonymKey, days: Sequence[date], settings: CleanSettings, note: Note
) -> Counts:
    platform = key.platform
    bronze_version = warehouse.version(bronze.EVENTS)
    events = warehouse.read(bronze.EVENTS).where(F.col("platform") == platform)
    delivered = events.where(is_in("delivery_date", days))
    touched = dirty_days(warehouse, delivered, platform, days)
    # Without a touched day there is no event to judge, but the rejected rows still want their reasons written.
    read = events_of_days(events, platform, touched, settings) if touched else events.limit(0)
    judged = judge_days(read).persist()
    try:
        counts = _account(warehouse, delivered, judged.where(is_in("delivery_date", days)), platform)
        of_deliveries: Where = {"platform": [platform], "delivery_date": days}
        of_days: Where = {"platform": [platform], "event_date": touched}
        about = {"platform": platform, "event_days": [day.isoformat() for day in touched], "bronze": bronze_version}
        rejected = delivered.where(F.size("violations") > 0).withColumnRenamed("violations", "reasons")
        rejected = rejected.select([column.name for column in silver.REJECTED_EVENTS.columns])
        note(silver.REJECTED_EVENTS, warehouse.replace(silver.REJECTED_EVENTS, rejected, of_deliveries, about))
        if touched:
            excluded = judged.where(~is_accepted())
            excluded = excluded.select([column.name for column in silver.EXCLUDED_EVENTS.columns])
            note(silver.EXCLUDED_EVENTS, warehouse.replace(silver.EXCLUDED_EVENTS, excluded, of_days, about))
            accepted = with_pseudonyms(warehouse.spark, judged.where(is_accepted()), key, _IDS)
            accepted = accepted.select([column.name for column in silver.INTERACTIONS.columns])
            note(silver.INTERACTIONS, warehouse.replace(silver.INTERACTIONS, accepted, of_days, about))
    finally:
        judged.unpersist()
    return counts


def _account(warehouse: Warehouse, delivered: DataFrame, judged: DataFrame, platform: str) -> Counts:
    """Count what is about to be written, and check that it is everything that was delivered."""
    names = ("emitted", "rejected", "excluded", "accepted")
    rows = count_verdicts(delivered, judged).collect()
    counts = {row["delivery_date"]: {name: row[name] for name in names} for row in rows}
    audits = [
        Audit(
            str(silver.INTERACTIONS),
            "rows lost or made: |emitted - rejected - excluded - accepted|",
            f"{platform}/interactions/{day.isoformat()}",
            abs(c["emitted"] - c["rejected"] - c["excluded"] - c["accepted"]),
        )
        for day, c in sorted(counts.items())
    ]
    enforce(warehouse, audits)
    return counts


def _settle_dimension(
    warehouse: Warehouse, dataset: str, key: PseudonymKey, days: Sequence[date], note: Note
) -> Counts:
    source, target, id_column, details = _DIMENSIONS[dataset]
    of_platform = warehouse.read(source).where(F.col("platform") == key.platform)
    delivered = of_platform.where(is_in("delivery_date", days))
    passing = of_platform.where(F.size("violations") == 0)
    history = versions(passing, id_column, details)
    raw_ids = {raw: name for raw, name in _IDS.items() if raw in history.columns}
    pseudonymous = with_pseudonyms(warehouse.spark, history, key, raw_ids)
    note(target, warehouse.replace(target, pseudonymous, {"platform": [key.platform]}))
    rejected = F.count_if(F.size("violations") > 0)
    rows = delivered.groupBy("delivery_date").agg(F.count("*").alias("emitted"), rejected.alias("rejected")).collect()
    return {
        row["delivery_date"]: {
            "emitted": row["emitted"],
            "rejected": row["rejected"],
            "excluded": 0,
            "accepted": row["emitted"] - row["rejected"],
        }
        for row in rows
    }
