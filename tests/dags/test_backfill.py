"""Airflow's scheduler takes several days, and a job dies meanwhile."""

import json

import pytest

pytest.importorskip("airflow", reason="needs the Airflow environment: make setup-airflow")

import psutil
from running import PROJECT, SPARK_BIN, airflow, run, run_jobs, scheduling, set_up, simulate, until, variables_of

DAYS = ["2026-11-12", "2026-11-13", "2026-11-14"]
HASHES = """
import json, sys
from pathlib import Path
from salience.session import build_session
from salience.tables import activity, ops, profiles
from salience.tables.warehouse import Warehouse
from pyspark.sql import functions as F
from tests.hashes import CLEANED, canonical_hashes

spark = build_session("hashes", Path(sys.argv[1]), "local")
told = []
for place in sys.argv[2:]:
    warehouse = Warehouse(spark, place)
    releases = [tuple(row) for row in warehouse.read(ops.RELEASES).orderBy("release_seq")
                .select("release_seq", "release_id", "action").collect()]
    made = (profiles.USER_PROFILES, profiles.CONTENT_PROFILES, activity.CONTENT_DAILY, activity.AUDIENCE_DAILY)
    hashes = canonical_hashes(warehouse, (*CLEANED, *made))
    told.append({"releases": releases, "hashes": hashes})
print(json.dumps(told))
"""


def one_by_one(variables):
    """Run the jobs of the daily DAGs, day after day, without Airflow; the last day is measured."""
    jobs = []
    for day in DAYS:
        jobs += [
            ("clean_interactions", "--date", day, "--late-days", "7"),
            ("open_release", "--date", day),
            ("build_profiles", "--date", day, "--release", f"{day}.1"),
            ("publish_release", "--release", f"{day}.1"),
        ]
    jobs += [(job, "--date", DAYS[-1]) for job in ("measure_audience", "measure_outcomes")]
    run_jobs(variables, *jobs)


def java_of(process, job, day):
    """Return the JVM that runs a job for a day, among a process's children."""
    for child in process.children(recursive=True):
        try:
            command = child.cmdline()
        except psutil.Error:
            continue
        if command and "java" in command[0] and f"{PROJECT}/jobs/{job}.py" in command and day in command:
            return child
    return None


def backfill(variables, dag_id, first, last):
    airflow(variables, "dags", "unpause", dag_id)
    days = ("--from-date", f"{first}T04:00:00+00:00", "--to-date", f"{last}T04:00:00+00:00")
    airflow(variables, "backfill", "create", "--dag-id", dag_id, "--max-active-runs", "1", *days)


def has_succeeded(variables, dag_id, *days):
    """Return whether the runs for these days have, whatever others do."""
    told = airflow(variables, "dags", "list-runs", dag_id, "--output", "json")
    runs = {row["logical_date"][:10]: row["state"] for row in json.loads(told[told.index("[{") :])}
    states = [runs.get(day) for day in days]
    assert "failed" not in states, runs
    return states == ["success"] * len(days)


@pytest.mark.trial
def test_three_days_by_backfill_equal_three_days_one_by_one_though_a_job_was_killed(tmp_path):
    if not SPARK_BIN.is_dir():
        pytest.skip("needs the Spark environment: make setup")
    variables = variables_of(tmp_path) | {"SALIENCE_PLATFORMS": "[feed]"}
    run_jobs(variables, simulate(DAYS[-1], users=150, contents=80, days=4, events=6000))
    alone = str(tmp_path / "one-by-one")
    one_by_one(variables | {"SALIENCE_WAREHOUSE": alone})

    set_up(variables)
    # Before the scheduler starts: SQLite refuses at once what two processes have read and both then write.
    airflow(variables, "dags", "reserialize")
    # The one waits for the other, for its run of the same day.
    backfill(variables, "daily_metrics", DAYS[-1], DAYS[-1])
    backfill(variables, "daily_interactions", DAYS[0], DAYS[-1])
    with scheduling(variables) as process:
        victim = until(lambda: java_of(process, "clean_interactions", DAYS[1]), 600, every=0.5)
        victim.kill()
        until(lambda: has_succeeded(variables, "daily_interactions", *DAYS), 1500, every=10)
        until(lambda: has_succeeded(variables, "daily_metrics", DAYS[-1]), 300, every=10)

    asked = (f"{PROJECT}/conf", variables["SALIENCE_WAREHOUSE"], alone)
    told = run(variables | {"PYTHONPATH": str(PROJECT)}, str(SPARK_BIN / "python"), "-c", HASHES, *asked)
    backfilled, expected = json.loads(told.splitlines()[-1])
    assert expected["releases"] == [[number, f"{day}.1", "publish"] for number, day in enumerate(DAYS, start=1)]
    assert backfilled == expected
