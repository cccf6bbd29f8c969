"""What people are told, and how."""

import importlib
import json
import logging
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow", reason="needs the Airflow environment: make setup-airflow")

from running import listening

FAILED = {
    "ti": SimpleNamespace(dag_id="daily_metrics", run_id="r1", task_id="measure_audience", try_number=2),
    "exception": RuntimeError("no such warehouse"),
}
TOLD = {
    "event": "task failed",
    "dag_id": "daily_metrics",
    "run_id": "r1",
    "task": "measure_audience",
    "try_number": 2,
    "problem": "no such warehouse",
}


@pytest.fixture(scope="module")
def alerts():
    return importlib.import_module("alerts")


def test_a_task_that_failed_is_posted(alerts, monkeypatch):
    with listening() as (url, posted):
        monkeypatch.setenv("AIRFLOW_SALIENCE_ALERT_URL", url)
        alerts.failed(FAILED)
    assert posted == [TOLD]


def test_a_task_whose_worker_died_is_posted_though_no_exception_is_known(alerts, monkeypatch):
    with listening() as (url, posted):
        monkeypatch.setenv("AIRFLOW_SALIENCE_ALERT_URL", url)
        alerts.failed({"ti": FAILED["ti"]})
    assert posted == [TOLD | {"problem": "its worker died or was lost"}]


def test_of_a_long_problem_both_ends_are_posted_for_a_job_tells_last_what_it_ended_with(alerts, monkeypatch):
    with listening() as (url, posted):
        monkeypatch.setenv("AIRFLOW_SALIENCE_ALERT_URL", url)
        alerts.failed(FAILED | {"exception": RuntimeError(f"spark-submit {'x' * 4000} held 1 of 3 deliveries")})
    (problem,) = (told["problem"] for told in posted)
    assert len(problem) == 3000
    assert problem.startswith("spark-submit x") and problem.endswith("x held 1 of 3 deliveries")


LATE = {"dag_id": "weekly_training", "dag_run_id": "r2", "state": "running", "run_type": "scheduled"}


def test_a_run_that_is_late_is_posted(alerts, monkeypatch):
    with listening() as (url, posted):
        monkeypatch.setenv("AIRFLOW_SALIENCE_ALERT_URL", url)
        alerts.late({"dag_run": LATE, "deadline": {}}, hours=12)
    problem = "not done 12 hours after its interval ended"
    assert posted == [{"event": "run late", "dag_id": "weekly_training", "run_id": "r2", "problem": problem}]


@pytest.mark.parametrize(
    "change", [{"state": "failed"}, {"state": "queued"}, {"run_type": "backfill"}, {"run_type": "manual"}]
)
def test_a_run_that_failed_or_waits_for_its_turn_is_not_told_as_late(alerts, monkeypatch, change):
    with listening() as (url, posted):
        monkeypatch.setenv("AIRFLOW_SALIENCE_ALERT_URL", url)
        alerts.late({"dag_run": LATE | change, "deadline": {}}, hours=12)
    assert posted == []


def test_without_an_address_the_log_alone_tells(alerts, monkeypatch, caplog):
    monkeypatch.delenv("AIRFLOW_SALIENCE_ALERT_URL", raising=False)
    with caplog.at_level(logging.ERROR):
        alerts.failed(FAILED)
    assert [record.getMessage() for record in caplog.records] == [f"alert: {json.dumps(TOLD)}"]


def test_a_webhook_that_refuses_spoils_nothing_and_is_logged(alerts, monkeypatch, caplog):
    with listening(code=500) as (url, _), caplog.at_level(logging.ERROR):
        monkeypatch.setenv("AIRFLOW_SALIENCE_ALERT_URL", url)
        alerts.failed(FAILED)
    assert "alert not delivered" in caplog.records[-1].getMessage()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hook", "not an address"])
def test_an_address_that_leads_nowhere_spoils_nothing(alerts, monkeypatch, caplog, url):
    monkeypatch.setenv("AIRFLOW_SALIENCE_ALERT_URL", url)
    with caplog.at_level(logging.ERROR):
        alerts.failed(FAILED)
    assert "alert not delivered" in caplog.records[-1].getMessage()
