"""A warehouse of the first schema, before deliveries had manifests and day rules a list: refused, upgraded, used."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pyspark.sql import functions as F
from tests.logs import deliver, feed_event

import clean_interactions
import upgrade_warehouse
from salience.job import run_job
from salience.tables import bronze, ops, silver
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

EXCLUDED = {"reasons", "event_time", "user_id"}
LEDGER = {"manifest", "rows"}
SINCE_THEN = (
    (bronze.USERS, {"consent_analysis"}),
    (silver.USERS, {"consent_analysis"}),
    (silver.EXCLUDED_EVENTS, EXCLUDED),
    (ops.DELIVERIES, LEDGER),
)
"""Table -> columns that it did not have."""


def as_it_was(table, columns):
    return replace(table, columns=tuple(column for column in table.columns if column.name not in columns))


def test_a_warehouse_of_the_first_schema_is_refused_then_upgraded_then_cleaned(spark, settings, warehouse, capsys):
    deliver(Path(settings.logs), "2026-11-02", [feed_event(), feed_event(), feed_event(log_id="e2")])
    old = Warehouse(spark, settings.warehouse, "old")
    for table, columns in SINCE_THEN:
        old.ensure(as_it_was(table, columns))
    excluded = as_it_was(silver.EXCLUDED_EVENTS, EXCLUDED)
    day = date(2026, 11, 2)
    row = {"event_date": day, "platform": "feed", "reason": "duplicate", "event_id": "e1", "delivery_date": day}
    old.replace(excluded, old.frame(excluded, [row | {"row_hash": 1}]), {"event_date": [day], "platform": ["feed"]})
    before = as_it_was(ops.DELIVERIES, LEDGER)
    taken = {"run_id": "old", "platform": "feed", "dataset": "interactions", "delivery_date": date(2026, 10, 26)}
    taken |= {
        "state": "taken",
        "files": 1,
        "bytes": 1,
        "manifest_hash": "x",
        "emitted": 3,
        "seen_at": datetime.now(UTC),
    }
    old.append_rows(before, [taken])
    argv = ["--env", "local", "--set", f"logs={settings.logs}", "--set", f"warehouse={settings.warehouse}"]
    cleaning = [*argv, "--date", "2026-11-02", "--set", "platforms=[feed]"]

    assert run_job(clean_interactions.main, cleaning) == 2
    assert "differs from the contract (run jobs/upgrade_warehouse.py)" in capsys.readouterr().err
    assert not warehouse.exists(bronze.EVENTS)

    assert run_job(upgrade_warehouse.main, argv, interval=False) == 0
    assert run_job(clean_interactions.main, cleaning) == 0
    found = warehouse.read(silver.EXCLUDED_EVENTS).select("event_id", "reasons", F.col("user_id").isNotNull())
    assert sorted(tuple(row) for row in found.collect()) == [("e1", ["duplicate"], True), ("e2", ["double_tap"], True)]
    ledger = warehouse.read(ops.DELIVERIES).orderBy("delivery_date").select("emitted", "rows", F.size("manifest"))
    assert [tuple(row) for row in ledger.collect()] == [(3, None, None), (3, 3, 1)]
