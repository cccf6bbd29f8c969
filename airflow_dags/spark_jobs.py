"""What Salience's DAGs share: where the project is, how a job is submitted, and which failures are worth a retry.

Variables of the Airflow workers decide it, read when a DAG is parsed:

    AIRFLOW_SALIENCE_ENV         cluster (default) or local: which conf/<env>.yaml and conf/spark/<env>.conf
    AIRFLOW_SALIENCE_HOME        folder that holds jobs/ and conf/; by default the one above this file's
    AIRFLOW_SALIENCE_ALERT_URL   where alerts are posted, as `alerts` says
    AIRFLOW_SALIENCE_DEADLINES   no: nobody is told of late runs. For `airflow dags test`: Airflow 3.3 ends it with an
                                 error after a run with a deadline that went well (its issue 73428)

The pool `salience` must exist: as many jobs run at once as it has slots.
"""

import os
import re
import shlex
from collections.abc import Sequence
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import (
    Asset,
    Context,
    CronDataIntervalTimetable,
    DeadlineAlert,
    DeadlineReference,
    RetryDecision,
    RetryPolicy,
    SyncCallback,
)

import alerts
from outlets import AT_ONCE, WHEN_PUBLISHED

# Not SALIENCE_ENV and SALIENCE_HOME: SALIENCE_* are settings, and a job refuses a setting that it does not know.
ENV = os.environ.get("AIRFLOW_SALIENCE_ENV", "cluster")
HOME = Path(os.environ.get("AIRFLOW_SALIENCE_HOME") or Path(__file__).resolve().parent.parent)
POOL = "salience"

DAY = "{{ macros.ds_add(data_interval_end | ds, -1) }}"
"""The last UTC day of the run's data interval, for a schedule by days or weeks."""
RELEASE = "{{ ti.xcom_pull(task_ids='open_release') }}"
DATED, RELEASED = ("--date", DAY), ("--release", RELEASE)

DATA_ERRORS = {2: "input or settings that cannot be used", 3: "a failed audit"}
"""Exit codes that the same input meets again, however often a job is tried."""

RELEASE_ID = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\.[0-9]+$"


class RetryUnlessDataError(RetryPolicy):
    """Fail at once where a job ended with one of DATA_ERRORS; all else follows the task's `retries`."""

    # SparkSubmitOperator says "Error code is: 2." before it quotes the job's output, BashOperator "exit code 2.".
    _EXIT_CODE = re.compile(r"(?:Error code is:|exit code) (\d+)")

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Judge by the exit code in the exception's text, the only place where the operators tell it."""
        found = self._EXIT_CODE.search(str(exception))
        problem = DATA_ERRORS.get(int(found[1])) if found else None
        return RetryDecision.fail(f"no retry: {problem}") if problem else RetryDecision.default()


RETRIES = {
    "retries": 3,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 4,
    "max_retry_delay": timedelta(minutes=30),
    "retry_policy": RetryUnlessDataError(),
    "on_failure_callback": alerts.failed,
}
"""Default arguments of every task."""


def operated(schedule: str | None, doc: str, days: int = 1, late_after_h: int = 0) -> dict[str, Any]:
    """Return arguments of a DAG: one run goes on at a time, and people are told of failures and delays.

    Args:
        schedule: cron, UTC; a run takes the interval between two of its times. None for a DAG started by hand.
        doc: Markdown for those who operate it.
        days: length of that interval.
        late_after_h: hours from its end after which a run of the schedule that has not ended is late; 0 for never.
    """
    # Not from when the run was queued: Airflow 3.3 cannot clear a run with such a deadline (its issue 70368).
    deadline = DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=timedelta(days=days, hours=late_after_h),
        callback=SyncCallback(alerts.late, kwargs={"hours": late_after_h}),
    )
    return {
        "schedule": schedule and CronDataIntervalTimetable(schedule, timezone="UTC"),
        "start_date": datetime(2026, 1, 1, 4, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "default_args": RETRIES,
        "deadline": deadline if late_after_h and os.environ.get("AIRFLOW_SALIENCE_DEADLINES") != "no" else None,
        "doc_md": doc,
        "tags": ["salience"],
    }


class JobOperator(SparkSubmitOperator):
    """One job, submitted from the project's folder, where the relative paths in conf/ start."""

    def __init__(self, *, job: str, arguments: tuple[str, ...], tables: Sequence[str], **kwargs: Any) -> None:
        super().__init__(
            application=f"{HOME}/jobs/{job}.py",
            application_args=["--env", ENV, *arguments],
            conn_id="spark_default",
            properties_file=f"{HOME}/conf/spark/{ENV}.conf",
            name=f"salience {job}",
            pool=POOL,
            outlets=[*map(Asset, tables)],
            **kwargs,
        )

    def execute(self, context: Context) -> None:
        """Submit the job and wait for it."""
        with chdir(HOME):
            super().execute(context)


def submit(job: str, *arguments: str, task_id: str | None = None) -> JobOperator:
    """Return the task that runs jobs/<job>.py with these arguments beside `--env`."""
    return JobOperator(task_id=task_id or job, job=job, arguments=arguments, tables=AT_ONCE.get(job, ()))


def publish(*jobs: str, only_the_newest: bool = True) -> JobOperator:
    """Return the task that publishes the release, which makes the snapshots of these jobs visible.

    With `only_the_newest`, a release of an earlier day than the one in force is left unpublished; otherwise it is an
    error.
    """
    told = ("--unless-later",) if only_the_newest else ()
    tables = [table for job in jobs for table in WHEN_PUBLISHED[job]]
    return JobOperator(task_id="publish_release", job="publish_release", arguments=(*RELEASED, *told), tables=tables)


def open_release() -> BashOperator:
    """Return the task that reserves a release id, and gives it to the tasks after it as its XCom.

    SparkSubmitOperator keeps a job's output to itself, so Bash submits this one: its last line becomes the XCom. The
    master is the properties file's, or spark-submit's default.
    """
    command = ["spark-submit", "--properties-file", f"{HOME}/conf/spark/{ENV}.conf", f"{HOME}/jobs/open_release.py"]
    return BashOperator(
        task_id="open_release",
        bash_command=(
            f"set -eo pipefail\n"
            f"told=$({shlex.join([*command, '--env', ENV])} --date {DAY})\n"
            f"grep -E '{RELEASE_ID}' <<< \"$told\" | tail -n 1"
        ),
        cwd=str(HOME),
        # A task's stdin is a socket, and with one Bash reads ~/.bashrc, which may put another Python first on PATH; but
        # not where another shell has started it.
        env={"SHLVL": "1"},
        append_env=True,
        pool=POOL,
    )


def wait_for(dag_id: str, tasks: Sequence[str] | None = None) -> ExternalTaskSensor:
    """Return the task that waits until a daily DAG's run for the interval's last day has succeeded, half a day at most.

    With `tasks`, until these of its tasks have. It goes on waiting where they fail, so that mending the one mends both.
    The run is the one that the schedule, or a backfill, made for that day: started by hand, it would have another
    logical date.
    """
    return ExternalTaskSensor(
        task_id=f"wait_for_{dag_id}",
        external_dag_id=dag_id,
        external_task_ids=tasks,
        execution_date_fn=_last_day,
        mode="reschedule",
        poke_interval=60,
        timeout=12 * 3600,
    )


def clean_task(platform: str) -> str:
    """Return the id of the task that cleans a platform's deliveries."""
    return f"clean_interactions_{platform}"


def _last_day(_: datetime, data_interval_end: datetime) -> datetime:
    return data_interval_end - timedelta(days=1)


def platforms() -> Sequence[str]:
    """Return the platforms that the jobs' settings name: SALIENCE_PLATFORMS, else <env>.yaml, else base.yaml."""
    named = yaml.safe_load(os.environ.get("SALIENCE_PLATFORMS", "null"))
    conf = HOME / (os.environ.get("SALIENCE_CONF_DIR") or "conf")
    for file in (conf / f"{ENV}.yaml", conf / "base.yaml"):
        named = named or (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("platforms")
    return [str(name) for name in named]
