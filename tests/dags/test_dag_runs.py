"""The DAGs run by Airflow itself: real spark-submit, real tables."""

import json
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("airflow", reason="needs the Airflow environment: make setup-airflow")

from running import PROJECT, SPARK_BIN, listening, run, run_dag, variables_of

FIRST_DAY, LAST_BEFORE = "2026-11-07", "2026-11-13"
SATURDAY, SUNDAY = "2026-11-14", "2026-11-15"
"""The logs end on a Sunday, so that a week ends with them."""
SUNDAY_AT_4, MONDAY_AT_4, SUNDAY_AT_12 = (f"2026-11-{at}:00:00+00:00" for at in ("15T04", "16T04", "15T12"))

READ_TABLES = """
import json, os, sys
from deltalake import DeltaTable

def read(name, *columns):
    return DeltaTable(f"{sys.argv[1]}/{name.replace('.', '/')}").to_pandas(columns=list(columns) or None)

releases = read("ops.releases").sort_values("release_seq")
in_force = dict(releases.iloc[-1]["tables"])
rows = {table: int((read(table, "release_id")["release_id"] == of).sum()) for table, of in in_force.items()}
published = releases[["release_seq", "release_id", "action"]].values.tolist()
told = {"published": published, "in_force": in_force, "rows": rows}
columns = {"silver.erasures": "user_id", "gold.user_profiles": "user_id", "gold.audience_daily": "event_date"}
for name, column in columns.items():
    told[name] = sorted(map(str, set(read(name, column)[column])))
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


@pytest.mark.slow
def test_a_failed_audit_is_not_tried_again_publishes_nothing_and_is_told(variables, tmp_path):
    if not SPARK_BIN.is_dir():
        pytest.skip("needs the Spark environment: make setup")
    python, jobs = str(SPARK_BIN / "python"), f"{PROJECT}/jobs"
    size = ["users=50", "contents=30", "days=1", "events=800", "dirt_share=0.1"]
    settings = [part for setting in size for part in ("--set", f"simulate.{setting}")]
    run(variables, python, f"{jobs}/simulate_logs.py", "--env", "local", "--date", SATURDAY, *settings)
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


@pytest.mark.slow
def test_every_dag_does_its_work_on_real_tables(variables, tmp_path):
    if not SPARK_BIN.is_dir():
        pytest.skip("needs the Spark environment: make setup")
    fast = {"PLATFORMS": "[feed]", "ENGAGEMENT__MLP_HIDDEN_UNITS": "0"}
    # One of each, so that there is little to choose from.
    fast |= {f"ENGAGEMENT__{name}": value for name, value in (("REGULARISATIONS", "[0.001]"), ("ELASTIC_NETS", "[0]"))}
    confidence = {"HALF_LIVES_DAYS": "[7]", "FACTORS": "[2]", "ROUNDS": "1", "WINDOWS": "1"}
    fast |= {f"RECOMMEND__CONFIDENCE__{name}": value for name, value in confidence.items()}
    fast |= {f"{stage}__BOOTSTRAP_REPLICATES": "100" for stage in ("ENGAGEMENT", "RECOMMEND")}
    variables |= {f"SALIENCE_{name}": value for name, value in fast.items()}
    python = str(SPARK_BIN / "python")
    size = ["users=300", "contents=120", "days=9", "events=22000"]
    settings = [part for setting in size for part in ("--set", f"simulate.{setting}")]
    run(variables, python, f"{PROJECT}/jobs/simulate_logs.py", "--env", "local", "--date", SUNDAY, *settings)
    clean = [python, f"{PROJECT}/jobs/clean_interactions.py", "--env", "local"]
    run(variables, *clean, "--from", FIRST_DAY, "--to", LAST_BEFORE)

    for dag_id, logical_date in (
        ("daily_interactions", SUNDAY_AT_4),
        ("daily_interactions", MONDAY_AT_4),
        ("weekly_training", MONDAY_AT_4),
        ("daily_recommendations", MONDAY_AT_4),
        ("daily_metrics", MONDAY_AT_4),
    ):
        run_dag(variables, dag_id, logical_date)

    gone = {"platform": "feed", "platform_again": "feed", "list": str(tmp_path / "gone.txt"), "allow_unknown": False}
    (tmp_path / "gone.txt").write_text("u0000001\n")
    refused = run_dag(variables, "erase_users", MONDAY_AT_4, code=1, **gone, cannot_be_undone=False)
    assert "nothing was erased" in refused
    run_dag(variables, "erase_users", MONDAY_AT_4, **gone, cannot_be_undone=True)
    run_dag(variables, "table_maintenance", SUNDAY_AT_12)

    found = json.loads(run(variables, python, "-c", READ_TABLES, variables["SALIENCE_WAREHOUSE"]).splitlines()[-1])
    ids = [f"{SATURDAY}.1", *(f"{SUNDAY}.{generation}" for generation in (1, 2, 3))]
    assert found["published"][:4] == [[seq, release, "publish"] for seq, release in enumerate(ids, start=1)]
    in_force = found["in_force"]
    assert in_force["gold.user_profiles"] == ids[1]
    assert in_force["gold.recommender_evaluation"] == in_force["gold.engagement_evaluation"] == ids[2]
    assert in_force["gold.recommendations"] == in_force["gold.engagement_scores"] == ids[3]
    empty = {table for table, rows in found["rows"].items() if not rows}
    # Everyone has a whole list; and so few days leave none that the model has not seen.
    assert empty <= {"gold.recommendation_shortfalls", "gold.engagement_calibration_drift"}
    assert max(found["gold.audience_daily"]) == SUNDAY
    (erased,) = found["silver.erasures"]
    assert len(found["gold.user_profiles"]) > 100
    assert erased not in found["gold.user_profiles"]
