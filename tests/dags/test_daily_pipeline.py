"""The daily DAG as Airflow sees it: what it parses to, and what each task would run."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow", reason="needs the Airflow environment: make setup-airflow")

PROJECT = Path(__file__).parent.parent.parent
DAGS = PROJECT / "airflow_dags"
CHAIN = [
    "clean_interactions",
    "open_release",
    "build_profiles",
    "train_recommender",
    "find_candidates",
    "find_audiences",
    "train_engagement",
    "score_engagement",
    "measure_drift",
    "recommend",
    "publish_release",
]
CONNECTION = (
    '{"conn_type": "spark", "host": "yarn", "extra": {"spark-binary": "spark-submit", "deploy-mode": "client"}}'
)

DATED = "--date 2026-11-14"
RELEASED = "--release 2026-11-14.1"
ARGUMENTS = {
    "clean_interactions": DATED,
    "measure_audience": DATED,
    "measure_outcomes": DATED,
    "build_profiles": f"{DATED} {RELEASED}",
    "train_recommender": f"{DATED} {RELEASED}",
    "find_candidates": f"{DATED} {RELEASED}",
    "find_audiences": f"{DATED} {RELEASED}",
    "train_engagement": f"{DATED} {RELEASED}",
    "score_engagement": f"{DATED} {RELEASED}",
    "measure_drift": f"{DATED} {RELEASED}",
    "recommend": f"{DATED} {RELEASED}",
    "publish_release": RELEASED,
}
OPEN_RELEASE = r"""set -eo pipefail
told=$(SUBMIT HOME/jobs/open_release.py --env cluster --date 2026-11-14)
grep -E '^[0-9]{4}-[0-9]{2}-[0-9]{2}\.[0-9]+$' <<< "$told" | tail -n 1""".replace(
    "SUBMIT", "spark-submit --properties-file HOME/conf/spark/cluster.conf"
)


@pytest.fixture(scope="module", autouse=True)
def airflow_home(tmp_path_factory):
    """Settings of Airflow that must be there before its first import of consequence."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("airflow")
        patch.setenv("AIRFLOW_HOME", str(home))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{home}/airflow.db")
        patch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", CONNECTION)
        patch.delenv("AIRFLOW_SALIENCE_ENV", raising=False)
        patch.delenv("AIRFLOW_SALIENCE_HOME", raising=False)
        yield home


@pytest.fixture(scope="module")
def bag(airflow_home):
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(DAGS)


@pytest.fixture
def dag(bag):
    return bag.dags["daily_pipeline"]


def render(task):
    """Fill in the task's templates for the run that takes 14 November."""
    start = datetime(2026, 11, 14, 4, tzinfo=UTC)
    pulled = {"open_release": "2026-11-14.1"}
    context = {
        "data_interval_start": start,
        "data_interval_end": start + timedelta(days=1),
        "ti": SimpleNamespace(xcom_pull=lambda task_ids: pulled[task_ids]),
    }
    task.render_template_fields(context)
    return task


def run_in(folder, task, script):
    """Execute the task with a spark-submit that is this script, and return the exception it ends with."""
    fake = folder / "spark-submit"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=os.pathsep)
        context = {"ti": SimpleNamespace(), "dag_run": None, "task": task}
        try:
            return task.execute(context)
        except Exception as error:
            return error


def test_the_folder_holds_this_dag_alone_and_parses(bag):
    assert bag.import_errors == {}
    assert set(bag.dags) == {"daily_pipeline"}


def test_a_day_is_taken_once_at_four_the_next_morning_and_never_caught_up(dag):
    from airflow.serialization.serialized_objects import DagSerialization

    timetable = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)).timetable
    interval = timetable.infer_manual_data_interval(run_after=datetime(2026, 11, 15, 4, tzinfo=UTC))
    assert (interval.start.isoformat(), interval.end.isoformat()) == (
        "2026-11-14T04:00:00+00:00",
        "2026-11-15T04:00:00+00:00",
    )
    assert (dag.catchup, dag.max_active_runs, dag.start_date.isoformat()) == (False, 1, "2026-01-01T04:00:00+00:00")
    assert dag.doc_md


def test_the_tasks_follow_one_another(dag):
    downstream = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    expected = {first: {second} for first, second in pairwise(CHAIN)}
    measuring = {"measure_audience", "measure_outcomes"}
    expected["clean_interactions"] |= measuring
    assert downstream == expected | {task: set() for task in (*measuring, "publish_release")}


@pytest.mark.parametrize("task_id", ARGUMENTS)
def test_each_task_submits_its_job(dag, task_id):
    task = render(dag.get_task(task_id))
    command = task._get_hook()._build_spark_submit_command(task.application)
    # Parted at no space: the name holds one, and is one argument.
    assert "\n".join(command).replace(str(PROJECT), "HOME") == "\n".join(
        [
            "spark-submit",
            *("--master", "yarn"),
            *("--properties-file", "HOME/conf/spark/cluster.conf"),
            *("--name", f"salience {task_id}"),
            *("--deploy-mode", "client"),
            f"HOME/jobs/{task_id}.py",
            *("--env", "cluster"),
            *ARGUMENTS[task_id].split(),
        ]
    )
    assert (PROJECT / "jobs" / f"{task_id}.py").is_file()


def test_open_release_runs_this_script(dag):
    task = render(dag.get_task("open_release"))
    assert task.bash_command.replace(str(PROJECT), "HOME") == OPEN_RELEASE
    assert task.cwd == str(PROJECT)


def test_open_release_gives_on_the_id_alone(dag, tmp_path, monkeypatch):
    monkeypatch.setattr("airflow.providers.standard.operators.bash.context_to_airflow_vars", lambda *_, **__: {})
    told = "open_release ...\\n  opened release 2026-11-14.12\\n2026-11-14.12\\nopen_release: 2.0 s\\n"
    task = render(dag.get_task("open_release"))
    assert run_in(tmp_path, task, f"printf '{told}'; echo 2026-11-14 12:00:00 WARN late >&2") == "2026-11-14.12"


@pytest.mark.parametrize("task_id", ["open_release", "train_recommender"])
@pytest.mark.parametrize(("code", "action"), [(1, "default"), (2, "fail"), (3, "fail"), (23, "default")])
def test_bad_input_and_failed_audits_are_not_tried_again_all_else_is(dag, tmp_path, monkeypatch, task_id, code, action):
    monkeypatch.setattr("airflow.providers.standard.operators.bash.context_to_airflow_vars", lambda *_, **__: {})
    task = render(dag.get_task(task_id))
    error = run_in(tmp_path, task, f"echo 'Error code is: 2. exit code 2'; exit {code}")
    assert isinstance(error, Exception)
    assert task.retry_policy.evaluate(error, try_number=1, max_tries=3).action.value == action
    assert (task.retries, task.retry_exponential_backoff) == (3, 4)


def test_a_job_runs_in_the_project_folder(dag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = render(dag.get_task("clean_interactions"))
    assert run_in(tmp_path, task, f"pwd > {tmp_path}/where") is None
    assert (tmp_path / "where").read_text().strip() == str(PROJECT)
    assert Path.cwd() == tmp_path


def test_the_environment_and_the_project_folder_may_be_named(airflow_home):
    script = (
        "import daily_pipeline; task = daily_pipeline.dag.get_task('recommend');"
        "print(task.application, task.properties_file, *task.application_args[:2])"
    )
    variables = {"AIRFLOW_SALIENCE_ENV": "local", "AIRFLOW_SALIENCE_HOME": "/opt/salience"}
    told = in_fresh_python(script, **variables)
    assert told == "/opt/salience/jobs/recommend.py /opt/salience/conf/spark/local.conf --env local"


def test_parsing_imports_no_spark(airflow_home):
    told = in_fresh_python(
        "import daily_pipeline, sys; print({name.split('.')[0] for name in sys.modules} & {'pyspark', 'salience'})"
    )
    assert told == "set()"


def in_fresh_python(script, **variables):
    """Run the script in a Python of its own, in the folder of the DAGs, and return its last line."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=DAGS,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]
