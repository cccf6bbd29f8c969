"""What Salience's DAGs share: where the project is, how a job is submitted, and which failures are worth a retry.

Two variables of the Airflow workers decide it, read when a DAG is parsed:

    AIRFLOW_SALIENCE_ENV     cluster (default) or local: which conf/<env>.yaml and conf/spark/<env>.conf
    AIRFLOW_SALIENCE_HOME    folder that holds jobs/ and conf/; by default the one above this file's
"""

import os
import re
import shlex
from contextlib import chdir
from datetime import timedelta
from pathlib import Path

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Context, RetryDecision, RetryPolicy

# Not SALIENCE_ENV and SALIENCE_HOME: SALIENCE_* are settings, and a job refuses a setting that it does not know.
ENV = os.environ.get("AIRFLOW_SALIENCE_ENV", "cluster")
HOME = Path(os.environ.get("AIRFLOW_SALIENCE_HOME") or Path(__file__).resolve().parent.parent)

DAY = "{{ data_interval_start | ds }}"
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
}
"""Default arguments of every task."""


class JobOperator(SparkSubmitOperator):
    """One job, submitted from the project's folder, where the relative paths in conf/ start."""

    def __init__(self, *, job: str, arguments: tuple[str, ...], **kwargs: object) -> None:
        super().__init__(
            application=f"{HOME}/jobs/{job}.py",
            application_args=["--env", ENV, *arguments],
            conn_id="spark_default",
            properties_file=f"{HOME}/conf/spark/{ENV}.conf",
            name=f"salience {job}",
            **kwargs,
        )

    def execute(self, context: Context) -> None:
        """Submit the job and wait for it."""
        with chdir(HOME):
            super().execute(context)


def submit(job: str, *arguments: str) -> JobOperator:
    """Return the task that runs jobs/<job>.py with these arguments beside `--env`."""
    return JobOperator(task_id=job, job=job, arguments=arguments)


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
    )


RELEASE = "{{ ti.xcom_pull(task_ids='open_release') }}"
