"""Telling people: each alert is an error in Airflow's log and, where AIRFLOW_SALIENCE_ALERT_URL is set, a POST of JSON.

The address is a webhook of a chat or a pager, set for workers and for the DAG processor, which tells of workers that
died. One that does not answer spoils no run: that is logged, too.
"""

import json
import logging
import os
from typing import Any
from urllib.request import Request, urlopen

from airflow.sdk import Context

_log = logging.getLogger(__name__)
_TIMEOUT_S = 10


def failed(context: Context) -> None:
    """Tell that a task failed for good; where its worker was lost, Airflow knows no exception."""
    ti, problem = context["ti"], context.get("exception") or "its worker died or was lost"
    _tell("task failed", ti.dag_id, ti.run_id, task=ti.task_id, try_number=ti.try_number, problem=problem)


def late(context: dict[str, Any], hours: int) -> None:
    """Tell that a run of the schedule goes on some hours after its interval ended; of all other runs, nothing."""
    run = context["dag_run"]
    if run["state"] == "running" and run["run_type"] == "scheduled":
        problem = f"not done {hours} hours after its interval ended"
        _tell("run late", run["dag_id"], run["dag_run_id"], problem=problem)


def _shortened(text: str) -> str:
    """Return both ends of a long text: a job's command comes first, what it ended with last."""
    return text if len(text) <= 3000 else f"{text[:495]} ... {text[-2500:]}"


def _tell(event: str, dag_id: str, run_id: str, **more: Any) -> None:
    told = {"event": event, "dag_id": dag_id, "run_id": run_id, **more, "problem": _shortened(str(more["problem"]))}
    text = json.dumps(told)
    _log.error("alert: %s", text)
    url = os.environ.get("AIRFLOW_SALIENCE_ALERT_URL")
    if url:
        try:
            urlopen(Request(url, text.encode(), {"Content-Type": "application/json"}), timeout=_TIMEOUT_S).close()
        except (OSError, ValueError) as error:
            _log.error("alert not delivered: %s", error)
