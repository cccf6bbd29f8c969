"""Small releases for tests: snapshots and runs as jobs leave them."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from salience.tables import ops, recommendations
from salience.tables.contract import Table
from salience.tables.releases import SavedModel
from salience.tables.warehouse import Warehouse
from tests.silver_rows import user

AS_OF = date(2026, 11, 2)
FIRST, SECOND, THIRD = (f"{AS_OF}.{generation}" for generation in (1, 2, 3))
LISTS, SHORTFALLS, CANDIDATES = recommendations.RECOMMENDATIONS, recommendations.SHORTFALLS, recommendations.CANDIDATES
_ROW = {
    "platform": "feed",
    "user_id": user("ann"),
    "place": 1,
    "rank": 1,
    "content_id": "c1",
    "score": 1.0,
    "source": "als",
    "reason": "catalogue_exhausted",
    "missing": 1,
}


def as_frame(spark: SparkSession, table: Table, *rows: Mapping[str, Any], release: str = FIRST) -> DataFrame:
    """Return rows of a snapshot; each names what differs from one recommendation of one content to Ann."""
    full = [_ROW | row | {"release_id": release} for row in rows]
    return spark.createDataFrame([tuple(row.get(c.name) for c in table.columns) for row in full], table.schema)


def write(warehouse: Warehouse, release: str, table: Table, *rows: Mapping[str, Any]) -> None:
    """Write rows of a snapshot (see `as_frame`) under a release."""
    frame = as_frame(warehouse.spark, table, *rows, release=release)
    warehouse.replace(table, frame, {"release_id": [release]})


def run(release: str, *tables: Table, status: str = "succeeded", **models: SavedModel) -> dict[str, Any]:
    """Return the row of ops.runs of a run that made these tables and models for a release."""
    now = datetime.now(UTC)
    return {
        "run_id": "a run",
        "job": "test",
        "release_id": release,
        "code_version": "0",
        "settings_hash": "0",
        "key_ids": {},
        "inputs": {"silver.interactions": 3},
        "outputs": {str(table): 1 for table in tables},
        "models": {name: {"path": model.path, "hash": model.hash} for name, model in models.items()},
        "rows_out": {},
        "status": status,
        "started_at": now,
        "ended_at": now,
    }


def record(warehouse: Warehouse, *runs: Mapping[str, Any]) -> None:
    """Append the rows of these runs to ops.runs."""
    warehouse.append_rows(ops.RUNS, runs)


def fragment(warehouse: Warehouse, table: Table, column: str) -> None:
    """Write an existing table's rows anew in many small files: up to eight a partition, by a column's values."""
    rows = warehouse.read(table).repartition(8, column)
    note = json.dumps({"run_id": warehouse.run_id, "event_days": []})
    writer = rows.write.format("delta").mode("overwrite").option("optimizeWrite", "false")
    writer.option("userMetadata", note).save(warehouse.path(table))
