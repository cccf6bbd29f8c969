"""The DAGs as Airflow sees them: what they parse to, and what each task would run."""

import importlib
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow", reason="needs the Airflow environment: make setup-airflow")

from airflow.sdk.execution_time import macros

PROJECT = Path(__file__).parent.parent.parent
DAGS = PROJECT / "airflow_dags"
CONNECTION = (
    '{"conn_type": "spark", "host": "yarn", "extra": {"spark-binary": "spark-submit", "deploy-mode": "client"}}'
)

DATED, RELEASED = "--date 2026-11-14", "--release 2026-11-14.1"
BOTH = f"{DATED} {RELEASED}"
SUBMITTED = {
    "daily_interactions": {
        "clean_interactions_feed": f"clean_interactions {DATED} --late-days 7 --set platforms=[feed]",
        "clean_interactions_video": f"clean_interactions {DATED} --late-days 7 --set platforms=[video]",
        "build_profiles": f"build_profiles {BOTH}",
        "publish_release": f"publish_release {RELEASED} --unless-later",
    },
    "daily_metrics": {
        **{job: f"{job} {DATED}" for job in ("measure_audience", "measure_outcomes")},
        "check_kpis": f"check_kpis {DATED} --gate",
    },
    "daily_recommendations": {
        **{
            job: f"{job} {BOTH}"
            for job in ("find_candidates", "find_audiences", "score_engagement", "measure_drift", "recommend")
        },
        "publish_release": f"publish_release {RELEASED} --unless-later",
    },
    "weekly_training": {
        **{job: f"{job} {BOTH}" for job in ("learn_confidence", "train_recommender", "train_engagement")},
        "publish_release": f"publish_release {RELEASED}",
    },
    "table_maintenance": {
        job: f"{job} {DATED}" for job in ("apply_retention", "delete_old_releases", "compact_tables")
    },
    "erase_users": {"erase_users": "erase_users --platform video --list /lists/gone.txt --no-allow-unknown"},
}
"""DAG -> task -> what follows spark-submit's own options, but for the folder of jobs and `--env`."""
TASKS = [(dag_id, task_id) for dag_id, tasks in SUBMITTED.items() for task_id in tasks]
OTHER_TASKS = {
    "daily_interactions": {"open_release"},
    "daily_metrics": {"wait_for_daily_interactions"},
    "daily_recommendations": {"wait_for_daily_interactions", "open_release"},
    "weekly_training": {"wait_for_daily_interactions", "open_release"},
    "table_maintenance": set(),
    "erase_users": {"confirm"},
}
INTERVALS = {
    "daily_interactions": ("2026-11-14T04:00:00+00:00", "2026-11-15T04:00:00+00:00"),
    "daily_metrics": ("2026-11-14T04:00:00+00:00", "2026-11-15T04:00:00+00:00"),
    "daily_recommendations": ("2026-11-14T04:00:00+00:00", "2026-11-15T04:00:00+00:00"),
    "weekly_training": ("2026-11-09T04:00:00+00:00", "2026-11-16T04:00:00+00:00"),
    "table_maintenance": ("2026-11-14T12:00:00+00:00", "2026-11-15T12:00:00+00:00"),
}
"""What a run that is started by hand on Sunday, 15 November, at 20:00, takes; the weekly one: a day later."""
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


def render(task, params=None):
    """Return the task with its templates filled in for the run that takes 14 November."""
    task = task.prepare_for_execution()
    start = datetime(2026, 11, 14, 4, tzinfo=UTC)
    pulled = {"open_release": "2026-11-14.1"}
    context = {
        "data_interval_start": start,
        "data_interval_end": start + timedelta(days=1),
        "macros": macros,
        "params": params or {},
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


def test_the_folder_holds_these_dags_with_these_tasks(bag):
    assert bag.import_errors == {}
    found = {dag_id: set(dag.task_ids) for dag_id, dag in bag.dags.items()}
    assert found == {dag_id: {*tasks} | OTHER_TASKS[dag_id] for dag_id, tasks in SUBMITTED.items()}


@pytest.mark.parametrize("dag_id", INTERVALS)
def test_a_run_takes_the_last_whole_interval_of_its_schedule(bag, dag_id):
    from airflow.serialization.serialized_objects import DagSerialization

    dag = bag.dags[dag_id]
    timetable = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)).timetable
    started = datetime(2026, 11, 16 if dag_id.startswith("weekly") else 15, 20, tzinfo=UTC)
    interval = timetable.infer_manual_data_interval(run_after=started)
    assert (interval.start.isoformat(), interval.end.isoformat()) == INTERVALS[dag_id]


@pytest.mark.parametrize("dag_id", SUBMITTED)
def test_every_dag_runs_once_at_a_time_tells_people_and_explains_itself(bag, dag_id):
    dag = bag.dags[dag_id]
    assert (dag.catchup, dag.max_active_runs, dag.start_date.isoformat()) == (False, 1, "2026-01-01T04:00:00+00:00")
    assert len(dag.doc_md) > 300
    assert {task.on_failure_callback[0].__name__ for task in dag.tasks} == {"failed"}


@pytest.mark.parametrize(
    ("dag_id", "days", "hours"),
    [
        ("daily_interactions", 1, 4),
        ("daily_metrics", 1, 6),
        ("daily_recommendations", 1, 6),
        ("weekly_training", 7, 12),
        ("table_maintenance", 1, 12),
    ],
)
def test_a_run_of_the_schedule_is_late_some_hours_after_its_interval_ended(bag, dag_id, days, hours):
    (deadline,) = bag.dags[dag_id].deadline
    # By the time when the run was queued, no run could be cleared.
    assert type(deadline.reference).__name__ == "DagRunLogicalDateDeadline"
    assert deadline.interval == timedelta(days=days, hours=hours)
    assert (deadline.callback.path, deadline.callback.kwargs) == ("alerts.late", {"hours": hours})


@pytest.mark.parametrize(
    ("dag_id", "first", "then"),
    [
        ("daily_interactions", "clean_interactions_feed", "open_release"),
        ("daily_interactions", "clean_interactions_video", "open_release"),
        ("daily_interactions", "open_release", "build_profiles"),
        ("daily_interactions", "build_profiles", "publish_release"),
        ("daily_metrics", "wait_for_daily_interactions", "measure_audience"),
        ("daily_metrics", "wait_for_daily_interactions", "measure_outcomes"),
        ("daily_metrics", "measure_audience", "check_kpis"),
        ("daily_metrics", "measure_outcomes", "check_kpis"),
        ("daily_recommendations", "wait_for_daily_interactions", "open_release"),
        ("daily_recommendations", "find_candidates", "score_engagement"),
        ("daily_recommendations", "score_engagement", "recommend"),
        ("daily_recommendations", "find_audiences", "publish_release"),
        ("daily_recommendations", "measure_drift", "publish_release"),
        ("weekly_training", "wait_for_daily_interactions", "open_release"),
        ("weekly_training", "train_recommender", "train_engagement"),
        ("weekly_training", "train_engagement", "publish_release"),
        ("weekly_training", "learn_confidence", "publish_release"),
        ("erase_users", "confirm", "erase_users"),
    ],
)
def test_what_needs_another_task_comes_after_it(bag, dag_id, first, then):
    assert then in bag.dags[dag_id].get_task(first).get_flat_relative_ids(upstream=False)


@pytest.mark.parametrize("dag_id", ["daily_interactions", "daily_recommendations", "weekly_training"])
def test_publishing_comes_last(bag, dag_id):
    assert [task.task_id for task in bag.dags[dag_id].leaves] == ["publish_release"]


@pytest.mark.parametrize(("dag_id", "task_id"), TASKS)
def test_each_task_submits_its_job(bag, dag_id, task_id):
    job, *arguments = SUBMITTED[dag_id][task_id].split()
    params = {"platform": "video", "list": "/lists/gone.txt", "allow_unknown": False}
    task = render(bag.dags[dag_id].get_task(task_id), params)
    command = task._get_hook()._build_spark_submit_command(task.application)
    # Parted at no space: the name holds one, and is one argument.
    assert "\n".join(command).replace(str(PROJECT), "HOME") == "\n".join(
        [
            "spark-submit",
            *("--master", "yarn"),
            *("--properties-file", "HOME/conf/spark/cluster.conf"),
            *("--name", f"salience {job}"),
            *("--deploy-mode", "client"),
            f"HOME/jobs/{job}.py",
            *("--env", "cluster"),
            *arguments,
        ]
    )
    assert (PROJECT / "jobs" / f"{job}.py").is_file()
    assert task.pool == "salience"


def test_ids_of_which_nothing_is_held_may_be_allowed(bag):
    params = {"platform": "video", "list": "gone.txt", "allow_unknown": True}
    task = render(bag.dags["erase_users"].get_task("erase_users"), params)
    assert task.application_args[-1] == "--allow-unknown"


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"cannot_be_undone": False}, "say that you know"), ({"platform_again": "feed"}, "feed is not video"), ({}, None)],
)
def test_an_erasure_is_confirmed_twice(bag, changes, told):
    params = {"platform": "video", "platform_again": "video", "cannot_be_undone": True} | changes
    confirm = bag.dags["erase_users"].get_task("confirm").python_callable
    if told is None:
        assert confirm(params) is None
    else:
        with pytest.raises(Exception, match=f"nothing was erased: {told}"):
            confirm(params)


@pytest.mark.parametrize("dag_id", ["daily_metrics", "daily_recommendations", "weekly_training"])
def test_waiting_is_for_the_run_of_the_last_day_of_the_same_interval(bag, dag_id):
    sensor = bag.dags[dag_id].get_task("wait_for_daily_interactions")
    assert (sensor.external_dag_id, sensor.mode, sensor.retries) == ("daily_interactions", "reschedule", 3)
    cleaned = ["clean_interactions_feed", "clean_interactions_video"]
    assert sensor.external_task_ids == (cleaned if dag_id == "daily_metrics" else None)
    start, end = (datetime.fromisoformat(text) for text in INTERVALS[dag_id])
    asked = sensor._get_dttm_filter({"logical_date": start, "data_interval_end": end})
    assert asked == [end - timedelta(days=1)]


def test_snapshots_change_for_readers_when_they_are_published_and_all_else_at_once(bag):
    outlets, found = importlib.import_module("outlets"), {}
    for dag in bag.dags.values():
        jobs = {Path(task.application).stem for task in dag.tasks if hasattr(task, "application")}
        for task in dag.tasks:
            changed = {asset.name for asset in task.outlets}
            if task.task_id == "publish_release":
                made = {job: {*tables} for job, tables in outlets.WHEN_PUBLISHED.items() if job in jobs}
                assert changed == set().union(*made.values())
                found |= made
            elif hasattr(task, "application"):
                assert changed == {*outlets.AT_ONCE.get(Path(task.application).stem, ())}
    assert found == {job: {*tables} for job, tables in outlets.WHEN_PUBLISHED.items()}


@pytest.mark.parametrize("dag_id", ["daily_interactions", "daily_recommendations", "weekly_training"])
def test_open_release_runs_this_script(bag, dag_id):
    task = render(bag.dags[dag_id].get_task("open_release"))
    assert task.bash_command.replace(str(PROJECT), "HOME") == OPEN_RELEASE
    assert task.cwd == str(PROJECT)


def test_open_release_gives_on_the_id_alone(bag, tmp_path, monkeypatch):
    monkeypatch.setattr("airflow.providers.standard.operators.bash.context_to_airflow_vars", lambda *_, **__: {})
    told = "open_release ...\\n  opened release 2026-11-14.12\\n2026-11-14.12\\nopen_release: 2.0 s\\n"
    task = render(bag.dags["weekly_training"].get_task("open_release"))
    assert run_in(tmp_path, task, f"printf '{told}'; echo 2026-11-14 12:00:00 WARN late >&2") == "2026-11-14.12"


def test_open_release_takes_the_worker_s_path_though_its_stdin_is_a_socket(bag, tmp_path, monkeypatch):
    """With such a stdin Bash reads ~/.bashrc unless another shell has started it."""
    monkeypatch.setattr("airflow.providers.standard.operators.bash.context_to_airflow_vars", lambda *_, **__: {})
    (tmp_path / ".bashrc").write_text("spark-submit() { echo 2026-11-14.99; }\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SHLVL", raising=False)
    task = render(bag.dags["weekly_training"].get_task("open_release"))
    mine, other = socket.socketpair()
    stdin = os.dup(0)
    try:
        os.dup2(mine.fileno(), 0)
        assert run_in(tmp_path, task, "echo 2026-11-14.1") == "2026-11-14.1"
        task.env = None
        assert run_in(tmp_path, task, "echo 2026-11-14.1") == "2026-11-14.99"
    finally:
        os.dup2(stdin, 0)
        for one in (mine, other):
            one.close()


@pytest.mark.parametrize("task_id", ["open_release", "train_recommender"])
@pytest.mark.parametrize(("code", "action"), [(1, "default"), (2, "fail"), (3, "fail"), (23, "default")])
def test_bad_input_and_failed_audits_are_not_tried_again_all_else_is(bag, tmp_path, monkeypatch, task_id, code, action):
    monkeypatch.setattr("airflow.providers.standard.operators.bash.context_to_airflow_vars", lambda *_, **__: {})
    task = render(bag.dags["weekly_training"].get_task(task_id))
    error = run_in(tmp_path, task, f"echo 'Error code is: 2. exit code 2'; exit {code}")
    assert isinstance(error, Exception)
    assert task.retry_policy.evaluate(error, try_number=1, max_tries=3).action.value == action
    assert (task.retries, task.retry_exponential_backoff) == (3, 4)


def test_a_job_runs_in_the_project_folder(bag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = render(bag.dags["daily_metrics"].get_task("measure_audience"))
    assert run_in(tmp_path, task, f"pwd > {tmp_path}/where") is None
    assert (tmp_path / "where").read_text().strip() == str(PROJECT)
    assert Path.cwd() == tmp_path
