"""The daily DAG run by Airflow itself: real spark-submit, real tables."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("airflow", reason="needs the Airflow environment: make setup-airflow")

PROJECT = Path(__file__).parent.parent.parent
SPARK_BIN = PROJECT / ".venv" / "bin"
DAY_BEFORE, DAY, MORNING_AFTER = "2026-11-13", "2026-11-14", "2026-11-15T04:00:00+00:00"
FIRST_DAY = "2026-11-07"

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
    """Environment variables of an Airflow, and of the jobs that it starts, that live in tmp_path."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SALIENCE_", "AIRFLOW"))}
    inherited.pop("SPARK_HOME", None)  # spark-submit finds its own; one that is set but empty breaks it
    connection = {"conn_type": "spark", "host": "local[2]"}
    connection["extra"] = {"spark-binary": "spark-submit", "deploy-mode": "client"}
    return inherited | {
        "PATH": f"{SPARK_BIN}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "airflow_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(connection),
        "AIRFLOW_SALIENCE_ENV": "local",
        "SALIENCE_LOGS": str(tmp_path / "logs"),
        "SALIENCE_WAREHOUSE": str(tmp_path / "warehouse"),
        "SALIENCE_SIMULATE__TRUTH": str(tmp_path / "truth"),
        # Eight days have no room for longer windows.
        "SALIENCE_ENGAGEMENT__TEST_DAYS": "1",
        "SALIENCE_ENGAGEMENT__VALIDATION_DAYS": "1",
    }


def run(variables, *command, code=0):
    """Run the command outside the project's folder, check its exit code and return all that it printed."""
    done = subprocess.run(
        command,
        cwd=Path(variables["AIRFLOW_HOME"]).parent,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == code, done.stdout[-8000:]
    return done.stdout


def run_dag(variables, code=0):
    airflow = str(Path(sys.executable).parent / "airflow")
    run(variables, airflow, "db", "migrate")
    return run(variables, airflow, "dags", "test", "daily_pipeline", MORNING_AFTER, code=code)


def test_a_job_with_bad_input_is_started_once_and_nothing_follows(variables, tmp_path):
    fake = tmp_path / "bin" / "spark-submit"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/submitted\nexit 2\n')
    fake.chmod(0o755)
    run_dag(variables | {"PATH": f"{fake.parent}{os.pathsep}{variables['PATH']}"}, code=1)
    submitted = (tmp_path / "submitted").read_text().splitlines()
    assert len(submitted) == 1
    assert submitted[0].endswith(f"jobs/clean_interactions.py --env local --date {DAY}")


@pytest.mark.slow
def test_one_run_takes_the_day_and_publishes_one_release_with_its_tables(variables, tmp_path):
    if not SPARK_BIN.is_dir():
        pytest.skip("needs the Spark environment: make setup")
    python = str(SPARK_BIN / "python")
    size = ["users=300", "contents=120", "days=8", "events=20000"]
    settings = [part for setting in size for part in ("--set", f"simulate.{setting}")]
    run(variables, python, f"{PROJECT}/jobs/simulate_logs.py", "--env", "local", "--date", DAY, *settings)
    clean = [python, f"{PROJECT}/jobs/clean_interactions.py", "--env", "local"]
    run(variables, *clean, "--from", FIRST_DAY, "--to", DAY_BEFORE)

    run_dag(variables)

    found = json.loads(run(variables, python, "-c", READ_TABLES, variables["SALIENCE_WAREHOUSE"]).splitlines()[-1])
    (release,) = found["releases"]
    assert (release["release_seq"], release["release_id"], release["action"]) == (1, f"{DAY}.1", "publish")
    tables = dict(release["tables"])
    assert {"gold.recommendations", "gold.engagement_scores", "gold.user_profiles"} <= set(tables)
    assert set(tables.values()) == {f"{DAY}.1"}
    assert found["rows"][f"gold.recommendations {DAY}.1"] > 0
    assert set(found["rows"]) <= {f"{name} {DAY}.1" for name in tables}
