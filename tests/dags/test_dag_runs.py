"""The DAGs run by Airflow itself: real spark-submit, real tables."""

import json
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("airflow", reason="needs the Airflow environment: make setup-airflow")

from running import SPARK_BIN, listening, run, run_dag, run_jobs, simulate, variables_of

FIRST_DAY, FRIDAY, SATURDAY, SUNDAY = (f"2026-11-{day}" for day in ("07", "13", "14", "15"))
"""The logs end on a Sunday, so that a week ends with them."""
SUNDAY_AT_4, MONDAY_AT_4, SUNDAY_AT_12 = (f"2026-11-{at}:00:00+00:00" for at in ("15T04", "16T04", "15T12"))

READ_TABLES = """
import json, os, sys
from deltalake import DeltaTable

def where(name):
    return f"{sys.argv[1]}/{name.replace('.', '/')}"

def read(name, *columns):
    return DeltaTable(where(name)).to_pandas(columns=list(columns) or None)

releases = read("ops.releases").sort_values("release_seq")
in_force = dict(releases.iloc[-1]["tables"])
rows = {table: int((read(table, "release_id")["release_id"] == of).sum()) for table, of in in_force.items()}
published = releases[["release_seq", "release_id", "action"]].values.tolist()
told = {"published": published, "in_force": in_force, "rows": rows}
people = {"silver.erasures": "user_id", "gold.user_profiles": "user_id"}
for name, column in (people | {"gold.audience_daily": "event_date", "ops.runs": "job"}).items():
    told[name] = sorted(map(str, set(read(name, column)[column]))) if os.path.isdir(where(name)) else []
print(json.dumps(told), flush=True)
os._exit(0)  # threads of its libraries now and then abort a process that ends by itself
"""


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
    assert submitted[0].endswith(
        f"jobs/clean_interactions.py --env local --date {SATURDAY} --late-days 7 --set platforms=[feed]"
    )
    (alert,) = re.findall(r"alert: (\{.*\})", told)
    assert {"task": "clean_interactions_feed", "event": "task failed"}.items() <= json.loads(alert).items()


@pytest.fixture
def one_platform(variables):
    """Settings of one platform and of models among which there is little to choose."""
    if not SPARK_BIN.is_dir():
        pytest.skip("needs the Spark environment: make setup")
    few = {
        "ENGAGEMENT": {"MLP_HIDDEN_UNITS": "0", "REGULARISATIONS": "[0.001]", "ELASTIC_NETS": "[0]"},
        "RECOMMEND__ALS": {"RANK": "8", "ITERATIONS": "5", "REGULARISATIONS": "[0.3]"},
        "RECOMMEND__CONFIDENCE": {"HALF_LIVES_DAYS": "[7]", "FACTORS": "[]", "ROUNDS": "1", "WINDOWS": "1"},
    }
    few["ENGAGEMENT"]["BOOTSTRAP_REPLICATES"] = "100"
    few["RECOMMEND"] = {"BOOTSTRAP_REPLICATES": "100"}
    found = {f"SALIENCE_{part}__{name}": value for part, of in few.items() for name, value in of.items()}
    return variables | found | {"SALIENCE_PLATFORMS": "[feed]"}


@pytest.mark.trial
def test_days_are_taken_models_trained_and_recommendations_made_and_each_is_published(one_platform):
    run_jobs(
        one_platform,
        simulate(SUNDAY, users=300, contents=120, days=9, events=22000),
        ("clean_interactions", "--from", FIRST_DAY, "--to", SATURDAY),
    )
    # Others wait for the run that the schedule would have made on Sunday.
    run_dag(one_platform, "daily_interactions", SUNDAY_AT_4, done_already=True)
    for dag_id in ("daily_interactions", "weekly_training", "daily_recommendations"):
        run_dag(one_platform, dag_id, MONDAY_AT_4)

    found = tables_of(one_platform)
    ids = [f"{SUNDAY}.{generation}" for generation in (1, 2, 3)]
    assert found["published"] == [[seq, release, "publish"] for seq, release in enumerate(ids, start=1)]
    in_force = found["in_force"]
    assert in_force["gold.user_profiles"] == ids[0]
    assert in_force["gold.recommender_evaluation"] == in_force["gold.engagement_evaluation"] == ids[1]
    assert in_force["gold.recommendations"] == in_force["gold.engagement_scores"] == ids[2]
    empty = {table for table, rows in found["rows"].items() if not rows}
    # Everyone has a whole list; and so few days leave none that the model has not seen.
    assert empty <= {"gold.recommendation_shortfalls", "gold.engagement_calibration_drift"}


@pytest.mark.slow
def test_a_failed_audit_is_not_tried_again_publishes_nothing_and_is_told(variables, tmp_path):
    if not SPARK_BIN.is_dir():
        pytest.skip("needs the Spark environment: make setup")
    run_jobs(variables, simulate(SATURDAY, users=50, contents=30, days=1, events=800, dirt_share=0.1))
    thresholds = {"MIN_ROWS": "1", "MAX_SHARES": "{default: 0}"}
    variables |= {f"SALIENCE_CLEAN__THRESHOLDS__{name}": value for name, value in thresholds.items()}
    with listening() as (url, posted):
        told = {"SALIENCE_PLATFORMS": "[feed]", "AIRFLOW_SALIENCE_ALERT_URL": url}
        run_dag(variables | told, "daily_interactions", SUNDAY_AT_4, code=1)
    (alert,) = posted
    assert (alert["event"], alert["task"], alert["try_number"]) == ("task failed", "clean_interactions_feed", 1)
    assert alert["problem"].startswith("Cannot execute: spark-submit")
    assert "clean_interactions: held 1 of 3 deliveries" in alert["problem"]
    ops = Path(variables["SALIENCE_WAREHOUSE"]) / "ops"
    assert (ops / "audits").is_dir() and not (ops / "releases").exists() and not (ops / "opened_releases").exists()


@pytest.mark.trial
def test_a_day_is_measured_people_are_erased_once_that_is_said_twice_and_tables_are_maintained(one_platform, tmp_path):
    release = ("--release", f"{SUNDAY}.1")
    run_jobs(
        one_platform,
        simulate(SUNDAY, users=150, contents=80, days=3, events=4000),
        ("clean_interactions", "--from", FRIDAY, "--to", SUNDAY),
        ("open_release", "--date", SUNDAY),
        ("build_profiles", "--date", SUNDAY, *release),
        ("publish_release", *release),
    )
    run_dag(one_platform, "daily_interactions", SUNDAY_AT_4, done_already=True)
    run_dag(one_platform, "daily_metrics", MONDAY_AT_4)
    known = tables_of(one_platform)["gold.user_profiles"]

    gone = {"platform": "feed", "platform_again": "feed", "list": str(tmp_path / "gone.txt"), "allow_unknown": False}
    (tmp_path / "gone.txt").write_text("u0000001\n")
    refused = run_dag(one_platform, "erase_users", MONDAY_AT_4, code=1, **gone, cannot_be_undone=False)
    assert "nothing was erased" in refused
    run_dag(one_platform, "erase_users", MONDAY_AT_4, **gone, cannot_be_undone=True)
    run_dag(one_platform, "table_maintenance", SUNDAY_AT_12)

    found = tables_of(one_platform)
    assert max(found["gold.audience_daily"]) == SUNDAY
    (erased,) = found["silver.erasures"]
    assert set(known) - set(found["gold.user_profiles"]) == {erased}
    assert found["in_force"]["gold.user_profiles"] == f"{SUNDAY}.1"
    assert {"apply_retention", "delete_old_releases", "compact_tables"} <= set(found["ops.runs"])
