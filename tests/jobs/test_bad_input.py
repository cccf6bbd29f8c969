"""Wrong arguments, settings, inputs and machines: exit code 2 and one line that says what to do."""

import importlib
from datetime import date
from pathlib import Path

import pytest
from tests import silver_rows
from tests.logs import deliver, feed_event
from tests.processes import PROJECT, run

import build_profiles
import clean_interactions
import find_audiences
import find_candidates
import measure_audience
import recommend
import simulate_logs
import train_recommender
from salience.interactions.pseudonyms import PseudonymKey
from salience.job import run_job
from salience.tables import catalog, ops, silver

pytestmark = pytest.mark.integration

WITHOUT_INTERVAL = {
    "evaluate_recommender",
    "erase_users",
    "explain_event",
    "publish_release",
    "query_tables",
    "rollback_release",
    "upgrade_warehouse",
}
WITH_INTERVAL = sorted({file.stem for file in (PROJECT / "jobs").glob("*.py")} - WITHOUT_INTERVAL)
DAY = ("--date", "2026-11-02")


@pytest.fixture
def refused(capsys):
    """Run a job in this process, check that it ends with exit code 2 and one line, and return that line."""

    def told(*arguments, main=clean_interactions.main, **more):
        assert run_job(main, ["--env", "local", *arguments], **more) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if " WARN " not in line]
        assert len(lines) == 1, lines
        name, _, text = lines[0].partition(": ")
        assert name == Path(main.__code__.co_filename).stem
        return text

    return told


@pytest.mark.parametrize("job", WITH_INTERVAL)
def test_a_job_without_days_says_how_to_name_them(refused, job):
    module = importlib.import_module(job)
    told = refused(main=module.main, extra=getattr(module, "extra", None))
    assert told == "which days? give --date DAY, or --from DAY --to DAY (ISO days, UTC)"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--from", "2026-11-02"], "which days? give --date DAY, or --from DAY --to DAY (ISO days, UTC)"),
        (
            ["--from", "2026-11-03", "--to", "2026-11-02"],
            "the interval is empty: --from 2026-11-03 lies after --to 2026-11-02",
        ),
        ([*DAY, "--to", "2026-11-02"], "give either --date or --from and --to, not both"),
    ],
)
def test_days_that_make_no_interval_are_refused(refused, arguments, told):
    assert refused(*arguments) == told


def test_a_day_that_is_none_is_refused_in_words_for_people(capsys):
    with pytest.raises(SystemExit) as caught:
        run_job(clean_interactions.main, ["--env", "local", "--date", "2026-13-01"])
    assert caught.value.code == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "--date" in told and "2026-13-01" in told and "fromisoformat" not in told


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("clean.max_latness_days=3", ["clean.max_latness_days", "--set"]),
        ("cleaning.max_lateness_days=3", ["cleaning.max_lateness_days", "--set"]),
        ("clean.max_lateness_days=soon", ["clean.max_lateness_days", "valid integer", "'soon'"]),
        ("clean.max_lateness_days", ["write it as key=value"]),
    ],
)
def test_a_wrong_setting_is_refused_with_its_key(refused, setting, parts):
    told = refused(*DAY, "--set", setting)
    assert [part for part in parts if part not in told] == []


def test_a_folder_of_settings_that_is_not_there_is_named(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("SALIENCE_CONF_DIR", str(tmp_path))
    told = refused(*DAY)
    assert told == f"{tmp_path}/base.yaml: no such file; name the folder of the settings in SALIENCE_CONF_DIR"


def test_a_platform_without_a_mapping_names_the_missing_file(spark, refused, tmp_path):
    told = refused(*DAY, "--set", "platforms=[radio]", "--set", f"warehouse={tmp_path}")
    assert told.startswith(f"{PROJECT}/conf/sources/radio.yaml: no such file")


def test_a_folder_of_logs_that_is_not_there_is_named_with_the_setting(spark, refused, tmp_path):
    logs = tmp_path / "no logs"
    told = refused(*DAY, "--set", f"logs={logs}", "--set", f"warehouse={tmp_path}", "--set", "platforms=[feed]")
    assert told.startswith(f"{logs}/feed/interactions: no delivery from 2026-11-02") and "settings `logs`" in told


def test_a_job_that_comes_too_early_names_the_job_to_run_first(spark, refused, tmp_path):
    told = refused(*DAY, "--set", f"warehouse={tmp_path}", main=build_profiles.main)
    assert told.startswith("silver.interactions: no such table in ")
    assert told.endswith("; run jobs/clean_interactions.py first")


def test_a_platform_without_a_key_on_a_cluster_configuration_is_told_both_ways_to_give_one(
    spark, capsys, warehouse, monkeypatch
):
    # As under spark-submit, whose properties are those of this session; the other ones would start a real cluster.
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    arguments = [*DAY, "--env", "cluster", "--set", "platforms=[feed]", "--set", f"warehouse={warehouse.root}"]
    assert run_job(clean_interactions.main, arguments) == 2
    (told,) = (line for line in capsys.readouterr().err.splitlines() if " WARN " not in line)
    assert told == (
        "clean_interactions: feed has no pseudonym key: set the variable SALIENCE_PSEUDONYM_KEY_FEED, or the alias "
        "salience.pseudonym.key.feed of a Hadoop credential provider (hadoop.security.credential.provider.path), to "
        "its secret key (keep it for good)"
    )
    assert {str(table) for table in catalog.TABLES if warehouse.exists(table)} == {"ops.runs"}


@pytest.mark.slow
@pytest.mark.trial
def test_another_key_than_the_tables_is_refused_before_anything_is_written(
    spark, refused, capsys, warehouse, tmp_path, monkeypatch
):
    arguments = ["--set", "platforms=[feed]", "--set", f"logs={tmp_path}", "--set", f"warehouse={warehouse.root}"]
    typo, right, wrong = ("a typo in a first run", "the key of the tables", "yet another secret key")

    def clean(day, secret):
        monkeypatch.setenv("SALIENCE_PSEUDONYM_KEY_FEED", secret)
        return run_job(clean_interactions.main, ["--env", "local", "--date", day, *arguments])

    assert clean("2026-11-02", typo) == 2  # there are no logs
    deliver(tmp_path, "2026-11-02", [feed_event()])
    deliver(tmp_path, "2026-11-03", [feed_event(log_id="e2", ts="2026-11-03T10:00:00Z")])
    assert clean("2026-11-02", right) == 0
    there = [t for t in catalog.TABLES if t is not ops.RUNS and warehouse.exists(t)]
    before = {str(table): warehouse.version(table) for table in there}
    monkeypatch.setenv("SALIENCE_PSEUDONYM_KEY_FEED", wrong)
    capsys.readouterr()
    told = refused("--date", "2026-11-03", *arguments)
    ids = [PseudonymKey("feed", secret.encode()).key_id for secret in (right, wrong)]
    assert told.startswith(f"feed: its tables are kept under the key {ids[0]}, but the key given is {ids[1]}: give the")
    assert {str(table): warehouse.version(table) for table in there} == before
    assert clean("2026-11-03", right) == 0
    run = (
        warehouse.read(ops.RUNS)
        .where("status <> 'started'")
        .orderBy("started_at")
        .select("key_ids", "status")
        .collect()
    )
    assert [tuple(row) for row in run[2:]] == [({"feed": ids[1]}, "failed"), ({"feed": ids[0]}, "succeeded")]


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"PATH": "/nowhere"}, "there is no java on PATH"),
        ({"JAVA_HOME": "/nowhere"}, "JAVA_HOME is /nowhere, but there is no bin/java in it"),
    ],
)
def test_a_machine_without_java_is_told_what_to_install(environment, found, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert run("clean_interactions", *DAY, **environment) == (
        2,
        "",
        f"clean_interactions: Spark needs Java 17 or later and {found}: install one or set JAVA_HOME\n",
    )


def test_a_process_that_refuses_a_delivery_says_so_without_a_stack_trace(tmp_path):
    row = feed_event()
    del row["post_id"]
    deliver(tmp_path / "logs", "2026-11-02", [row])
    settings = (f"logs={tmp_path / 'logs'}", f"warehouse={tmp_path / 'warehouse'}", "platforms=[feed]")
    arguments = [part for setting in settings for part in ("--set", setting)]
    code, _, error = run("clean_interactions", *DAY, *arguments, JAVA_TOOL_OPTIONS="-XX:TieredStopAtLevel=1")
    assert code == 2
    last = error.splitlines()[-1]
    assert last.startswith("clean_interactions: refused 1 of 1 deliveries (0 taken): feed/interactions/dt=2026-11-02: ")
    assert "part-0.parquet: column post_id is not in it" in last
    for noise in ("Traceback", "Py4JJavaError", "AnalysisException", "\tat "):
        assert noise not in error, error


@pytest.fixture
def impatient(spark):
    """Let Hadoop give a server up that does not answer at once."""
    configuration = spark.sparkContext._jsc.hadoopConfiguration()
    configuration.set("ipc.client.connect.max.retries", "0")
    yield
    configuration.unset("ipc.client.connect.max.retries")


@pytest.mark.parametrize(
    ("setting", "main", "place", "why"),
    [
        ("warehouse", clean_interactions.main, "nowhere://x/y", 'No FileSystem for scheme "nowhere"'),
        ("warehouse", clean_interactions.main, "nowhere:y", "Relative path in absolute URI"),
        ("warehouse", clean_interactions.main, "hdfs://127.0.0.1:1/y", "Connection refused"),
        ("logs", clean_interactions.main, "hdfs://127.0.0.1:1/y", "Connection refused"),
        ("logs", simulate_logs.main, "nowhere:y", "Relative path in absolute URI"),
        ("simulate.truth", simulate_logs.main, "nowhere://x/y", 'No FileSystem for scheme "nowhere"'),
    ],
)
def test_a_folder_on_a_file_system_out_of_reach_is_refused(
    spark, refused, impatient, tmp_path, setting, main, place, why
):
    names = ("warehouse", "logs", "simulate.truth")
    places = {name: f"{tmp_path}/{name}" for name in names} | {setting: place}
    told = refused(
        *DAY, *(word for name, folder in places.items() for word in ("--set", f"{name}={folder}")), main=main
    )
    assert told.startswith(place) and told.endswith(f"; check the setting `{setting}`")
    assert " cannot be opened: " in told and why in told


def test_a_time_before_any_interaction_is_refused(spark, refused, warehouse):
    events = silver_rows.interactions(spark, [{"user": "ann", "at": "2 10:00"}])
    warehouse.replace(silver.INTERACTIONS, events, {"event_date": [date(2026, 11, 2)], "platform": ["feed"]})
    warehouse.ensure(silver.USERS)
    arguments = ("--date", "2026-11-01", "--set", f"warehouse={warehouse.root}")
    for job in (build_profiles, train_recommender, find_candidates, find_audiences, recommend, measure_audience):
        told = refused(*arguments, main=job.main)
        assert told == "there are no interactions up to 2026-11-01: run jobs/clean_interactions.py for that time"
