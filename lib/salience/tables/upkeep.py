"""The files of tables: small ones are put together, and those that no table uses any more are deleted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import functions as F

from salience.tables.conflicts import CONFLICTS
from salience.tables.contract import Table
from salience.tables.warehouse import METADATA, Warehouse


@dataclass(frozen=True)
class Kept:
    """Files that a table uses no more and that are kept all the same."""

    table: Table
    files: int
    until: datetime
    """UTC; vacuuming deletes the last of them from then on."""


@dataclass(frozen=True)
class Compacted:
    """What putting a table's small files together did."""

    version: int
    removed: int
    added: int
    """Files."""


def compact(warehouse: Warehouse, table: Table) -> Compacted | None:
    """Put the small files of each of an existing table's partitions together, in one commit that changes no row.

    Returns:
        None where another run wrote the same rows meanwhile: its commit stands.
    """
    session = warehouse.spark.newSession()
    # It touches no day, so nothing that was measured from the table gets stale by it.
    session.conf.set(METADATA, json.dumps({"run_id": warehouse.run_id, "event_days": []}))
    try:
        done = DeltaTable.forPath(session, warehouse.path(table)).optimize().executeCompaction()
    except CONFLICTS:
        return None
    (found,) = done.select("metrics.numFilesRemoved", "metrics.numFilesAdded").collect()
    return Compacted(warehouse.version(table), found["numFilesRemoved"], found["numFilesAdded"])


def vacuum(warehouse: Warehouse, tables: Sequence[Table], hours: int) -> list[Kept]:
    """Delete the files that existing tables have not used for some hours, and return what is kept for now.

    Versions of tables that need the deleted files cannot be read any more.
    """
    session = warehouse.spark.newSession()
    session.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    # Unless told, Delta takes a week for any number of hours but 0.
    session.conf.set("spark.databricks.delta.vacuum.retentionWindowIgnore.enabled", "false")
    # Whoever measures again what changed would take its commits for changes; and thousands of tasks would list files.
    session.conf.set("spark.databricks.delta.vacuum.logging.enabled", "false")
    few = session.conf.get("spark.sql.shuffle.partitions")
    session.conf.set("spark.sql.sources.parallelPartitionDiscovery.parallelism", str(few))
    kept = []
    for table in tables:
        statement = f"VACUUM delta.`{warehouse.path(table)}` RETAIN"
        session.sql(f"{statement} {hours} HOURS")
        files = session.sql(f"{statement} 0 HOURS DRY RUN").count() if hours else 0
        if files:
            newest: Any = DeltaTable.forPath(session, warehouse.path(table)).history(1)
            (changed,) = newest.select(F.unix_timestamp("timestamp")).collect()
            kept.append(Kept(table, files, datetime.fromtimestamp(changed[0], UTC) + timedelta(hours=hours)))
    return kept
