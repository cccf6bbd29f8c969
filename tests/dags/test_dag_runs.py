"""The DAGs run by Airflow itself: real spark-submit, real tables."""

import json
import os
import re

import pytest

pytest.importorskip("airflow", reason="needs the Airflow environment: make setup-airflow")

from running import PROJECT, SPARK_BIN, run, run_dag, variables_of

FIRST_DAY, LAST_BEFORE = "2026-11-07", "2026-11-13"
SATURDAY, SUNDAY = "2026-11-14", "2026-11-15"
"""The logs end on a Sunday, so that a week ends with them."""
SUNDAY_AT_4, MONDAY_AT_4, SUNDAY_AT_12 = (f"2026-11-{at}:00:00+00:00" for at in ("15T04", "16T04", "15T12"))

READ_TABLES = """
import json, sys
from pathlib import Path
import pyarrow.parquet as pq

def files(table):
    kept = {}
    for commit in sorted((table / "_delta_log").glob("*.json")):
        for action in map(json.loads, commit.read_text().splitlines()):
            if "add" in action:
                kept[action["add"]["path"]] = action["add"]["partitionValues"].get("release_id")
            if "remove" in action:
                kept.pop(action["remove"]["path"], None)
    return kept

warehouse = Path(sys.argv[1])
columns = ["release_seq", "release_id", "action", "tables"]
ledger = warehouse / "ops/releases"
releases = [row for file in files(ledger) for row in pq.read_table(ledger / file, columns=columns).to_pylist()]
rows = {}
for name in dict(releases[0]["tables"]):
    table = warehouse / name.replace(".", "/")
    for file, release_id in files(table).items():
        key = f"{name} {release_id}"
        rows[key] = rows.get(key, 0) + pq.ParquetFile(table / file).metadata.num_rows
print(json.dumps({"releases": releases, "rows": rows}))
"""
"""Reads Delta tables without Spark: the files that the log names. For tables that are too young for a checkpoint."""


@pytest.fixture
def variables(tmp_path):
    return variables_of(tmp_path)


def tables_of(variables):
    python = str(SPARK_BIN / "python")
    return json.loads(run(variables, python, "-c", READ_TABLES, variables["SALIENCE_WAREHOUSE"]).splitlines()[-1])


def test_a_job_with_bad_input_is_started_once_nothing_follows_and_people_are_told(variables, tmp_path):
    fake = tmp_path / "bin" / "spark-submit"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/submitted\nexit 2\n')
    fake.chmod(0o755)
    changed = {"PATH": f"{fake.parent}{os.pathsep}{variables['PATH']}", "SALIENCE_PLATFORMS": "[feed]"}
    told = run_dag(variables | changed, "daily_interactions", SUNDAY_AT_4, code=1)
    submitted = (tmp_path / "submitted").read_text().splitlines()
    assert len(submitted) == 1
    assert submitted[0].endswith(f"jobs/clean_interactions.py --env local --date {SATURDAY} --set platforms=[feed]")
    (alert,) = re.findall(r"alert: (\{.*\})", told)
    assert {"task": "clean_interactions_feed", "event": "task failed"}.items() <= json.loads(alert).items()


@pytest.mark.slow
def test_every_dag_does_its_work_on_real_tables(variables, tmp_path):
    if not SPARK_BIN.is_dir():
        pytest.skip("needs the Spark environment: make setup")
    variables["SALIENCE_PLATFORMS"] = "[feed]"
    python = str(SPARK_BIN / "python")
    size = ["users=300", "contents=120", "days=9", "events=22000"]
    settings = [part for setting in size for part in ("--set", f"simulate.{setting}")]
    run(variables, python, f"{PROJECT}/jobs/simulate_logs.py", "--env", "local", "--date", SUNDAY, *settings)
    clean = [python, f"{PROJECT}/jobs/clean_interactions.py", "--env", "local"]
    run(variables, *clean, "--from", FIRST_DAY, "--to", LAST_BEFORE)

    run_dag(variables, "daily_interactions", SUNDAY_AT_4)
    run_dag(variables, "daily_interactions", MONDAY_AT_4)
    run_dag(variables, "weekly_training", MONDAY_AT_4)
    run_dag(variables, "daily_recommendations", MONDAY_AT_4)
    run_dag(variables, "daily_metrics", MONDAY_AT_4)

    found = tables_of(variables)
    releases = sorted(found["releases"], key=lambda row: row["release_seq"])
    published = [(row["release_seq"], row["release_id"], row["action"]) for row in releases]
    ids = [f"{SATURDAY}.1", *(f"{SUNDAY}.{generation}" for generation in (1, 2, 3))]
    assert published == [(seq, release, "publish") for seq, release in enumerate(ids, start=1)]
    in_force = dict(releases[-1]["tables"])
    assert in_force["gold.user_profiles"] == ids[1]
    assert in_force["gold.recommender_evaluation"] == in_force["gold.engagement_evaluation"] == ids[2]
    assert in_force["gold.recommendations"] == in_force["gold.engagement_scores"] == ids[3]
    for table, release in in_force.items():
        assert found["rows"].get(f"{table} {release}", 0) > 0 or table == "gold.recommendation_shortfalls", table

    run_dag(variables, "table_maintenance", SUNDAY_AT_12)
    (tmp_path / "gone.txt").write_text("u0000001\n")
    asked = {"platform": "feed", "platform_again": "feed", "list": str(tmp_path / "gone.txt"), "allow_unknown": False}
    told = run_dag(variables, "erase_users", MONDAY_AT_4, code=1, **asked, cannot_be_undone=False)
    assert "nothing was erased" in told
    run_dag(variables, "erase_users", MONDAY_AT_4, **asked, cannot_be_undone=True)
    last = max(tables_of(variables)["releases"], key=lambda row: row["release_seq"])
    assert last["release_seq"] >= 4
