"""What a run leaves for who watches it: logs, metrics, an event log, lineage, and rows in ops.runs if it is killed."""

import json
import os
import signal
import subprocess
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from types import SimpleNamespace
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from tests.conftest import CONF
from tests.feed import EVENTS_OF_PEOPLE, Platform, user
from tests.logs import deliver, feed_event
from tests.processes import BIN, PYTHON, SPARK_SUBMIT, ended, free_port, started

from salience.session import read_properties
from salience.tables import ops

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

DAY = "2026-11-02"
CLUSTER = read_properties(CONF / "spark" / "cluster.conf")
LINEAGE = "io.openlineage:openlineage-spark_2.13:1.53.0"
OF_OURS = "metrics_salience_driver_AccumulatorSource_"


def places(feed: Platform) -> list[str]:
    settings = ("platforms=[feed]", f"logs={feed.logs}", f"warehouse={feed.root}")
    return [word for one in settings for word in ("--set", one)]


def fetched(url: str) -> str:
    """Return what a server on this machine answers; nothing where it does not."""
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except (URLError, OSError):
        return ""


def waited_for(there, process: subprocess.Popen, seconds: float = 300):
    """Return what a function finds, asked again and again while a process goes on; nothing where it never does."""
    until = monotonic() + seconds
    while monotonic() < until:
        if found := there():
            return found
        if process.poll() is not None:
            return None
        sleep(0.1)
    return None


@pytest.fixture(scope="module")
def observed(spark, tmp_path_factory):
    """A run on Spark as the cluster's configuration has it watched, with lineage by configuration."""
    folder = tmp_path_factory.mktemp("observed")
    feed, events, lineage, port = Platform(spark, folder), folder / "events", folder / "lineage.jsonl", free_port()
    events.mkdir()
    deliver(feed.logs, DAY, [feed_event(), feed_event(log_id="e2", act="show"), feed_event(log_id="e3", uid="u-bob")])
    feed.deliver(DAY, user("u-bob"), dataset="users")
    feed.clean(DAY, datasets=EVENTS_OF_PEOPLE)
    # As ours, but with all that Spark, too, has to say.
    chatty = folder / "log4j2.properties"
    text = (CONF / "log4j2.properties").read_text(encoding="utf-8")
    chatty.write_text(text.replace("rootLogger.level = warn", "rootLogger.level = info"), encoding="utf-8")
    java_options = CLUSTER["spark.driver.extraJavaOptions"].replace("conf/log4j2.properties", str(chatty))
    properties = {
        **{key: value for key, value in CLUSTER.items() if key.startswith(("spark.metrics.", "spark.eventLog."))},
        "spark.eventLog.dir": f"file://{events}",
        "spark.ui.enabled": "true",
        "spark.ui.port": str(port),
        "spark.driver.extraJavaOptions": java_options,
        "spark.jars.packages": f"{CLUSTER['spark.jars.packages']},{LINEAGE}",
        "spark.extraListeners": "io.openlineage.spark.agent.OpenLineageSparkListener",
        "spark.openlineage.transport.type": "file",
        "spark.openlineage.transport.location": str(lineage),
    }
    way = (*SPARK_SUBMIT, *(word for pair in properties.items() for word in ("--conf", "=".join(pair))))
    process = started("measure_audience", "--date", DAY, *places(feed), way=way, SPARK_LOCAL_IP="127.0.0.1")
    scraped: list[str] = []

    def scrape() -> None:
        while process.poll() is None:
            if OF_OURS in (page := fetched(f"http://127.0.0.1:{port}/metrics/prometheus")):
                scraped.append(page)
            sleep(0.2)

    scraping = Thread(target=scrape)
    scraping.start()
    code, out, err = ended(process)
    scraping.join()
    assert code == 0, out[-4000:]
    runs = feed.warehouse.read(ops.RUNS).orderBy("ended_at").collect()
    return SimpleNamespace(runs=runs, out=out, err=err, scraped=scraped, events=events, lineage=lineage, feed=feed)


def test_a_run_has_a_row_that_says_it_started_and_one_that_says_how_it_ended(observed):
    begun, done = observed.runs
    assert (begun["status"], done["status"], begun["run_id"]) == ("started", "succeeded", done["run_id"])
    assert begun["started_at"] == done["started_at"] and begun["ended_at"] is None
    assert begun["rows_out"] == {} and min(done["rows_out"].values()) > 0


def test_from_its_beginning_every_line_is_json_with_the_runs_id_whoever_logs_it(observed):
    # spark-submit prints what Python writes to stderr on its own stdout.
    begun = observed.out.index('{"ts"')
    told = [json.loads(line) for line in observed.out[begun:].splitlines() if "UserWarning" not in line]
    assert {line["context"]["run_id"] for line in told} == {observed.runs[0]["run_id"]}
    assert {line["logger"] for line in told} == {"salience.measure_audience"}
    assert (told[0]["msg"], told[-1]["msg"]) == ("begun", "succeeded")
    theirs = [json.loads(line) for line in observed.err.splitlines() if line.startswith('{"ts"')]
    of_tasks = {
        line["context"]["run_id"] for line in theirs if line["logger"] == "Executor" and "Finished" in line["msg"]
    }
    assert of_tasks == {observed.runs[0]["run_id"]}
    assert {line["context"]["run_id"] for line in theirs if line["ts"] > told[0]["ts"]} == of_tasks
    # Of each query, OpenLineage would tell as errors what it cannot follow.
    assert {line["logger"] for line in theirs if line["level"] not in ("INFO", "WARN")} == set()


def test_prometheus_is_told_of_the_run_while_it_goes_on(observed):
    first, last = (
        {name: float(value) for name, value in (line.rsplit(" ", 1) for line in page.splitlines())}
        for page in (observed.scraped[0], observed.scraped[-1])
    )
    started = f'{OF_OURS}runs_started_Value{{type="gauges"}}'
    assert first[started] == last[started] == 1
    assert last[f'{OF_OURS}runs_failed_Value{{type="gauges"}}'] == 0
    assert last[f'{OF_OURS}audits_passed_Value{{type="gauges"}}'] > 0
    assert any(name.startswith("metrics_salience_driver_BlockManager") for name in last)


def test_the_history_server_shows_the_application_that_the_row_names(observed):
    port = free_port()
    told = {"spark.history.fs.logDirectory": f"file://{observed.events}", "spark.history.ui.port": str(port)}
    options = " ".join(f"-D{key}={value}" for key, value in told.items())
    server = subprocess.Popen(
        [BIN / "spark-class", "org.apache.spark.deploy.history.HistoryServer"],
        env=os.environ
        | {"PATH": f"{BIN}:{os.environ['PATH']}", "SPARK_HISTORY_OPTS": options, "SPARK_LOCAL_IP": "127.0.0.1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        found = waited_for(lambda: json.loads(fetched(f"http://127.0.0.1:{port}/api/v1/applications") or "[]"), server)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    (application,) = found
    assert application["id"] == observed.runs[0]["application_id"]
    assert application["name"] == "salience measure_audience"
    assert application["attempts"][0]["completed"]


def test_openlineage_is_told_which_tables_came_of_which_by_configuration_alone(observed):
    told = [json.loads(line) for line in observed.lineage.read_text().splitlines()]
    done = [event for event in told if event["eventType"] == "COMPLETE"]
    made = {
        Path(output["name"]).name: {Path(source["name"]).name for source in event["inputs"]}
        for event in done
        for output in event["outputs"]
        if event["inputs"]
    }
    assert {"content_daily", "audience_daily"} <= made.keys()
    assert "interactions" in made["content_daily"] & made["audience_daily"]
    assert not any("logicalPlan" in str(event) for event in told), "plans hold values"


def killed(feed: Platform, number: signal.Signals, way: tuple[str, ...] = PYTHON) -> tuple[int, list[str]]:
    """Start a run, send a signal once its first row is there, and return its exit code and its own lines on stderr.

    Java, whose tasks are cut short, may have a word to say after them.
    """
    deliver(feed.logs, DAY, [feed_event(), feed_event(log_id="e2", act="show")])
    process = started("clean_interactions", "--date", DAY, *places(feed), way=way)
    # The table is created by one commit, the row is the next.
    begun = feed.root / "ops" / "runs" / "_delta_log" / f"{1:020}.json"
    assert waited_for(begun.exists, process), ended(process)
    sleep(1)
    process.send_signal(number)
    code, _, err = ended(process)
    return code, [line for line in err.splitlines() if line.startswith("clean_interactions:")]


def statuses(feed: Platform) -> list[tuple[str, str | None]]:
    rows = feed.warehouse.read(ops.RUNS).orderBy("started_at", "ended_at").collect()
    return [(row["status"], row["error"]) for row in rows]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_told_to_end_says_so_in_ops_runs_and_ends_at_once(feed, number, code):
    assert killed(feed, number) == (code, [f"clean_interactions: ended by {number.name}"])
    assert statuses(feed) == [("started", None), ("killed", f"InterruptedError: {number.name}")]


def test_under_spark_submit_java_hears_the_signal_so_that_the_row_of_the_start_stays_alone(feed):
    code, _ = killed(feed, signal.SIGTERM, SPARK_SUBMIT)
    assert code == 143
    assert statuses(feed) == [("started", None)]


def test_a_run_that_is_killed_for_good_leaves_the_row_of_its_start_and_the_next_run_mends_it(feed):
    code, _ = killed(feed, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert statuses(feed) == [("started", None)]
    code, _, err = ended(started("clean_interactions", "--date", DAY, *places(feed)))
    assert code == 0, err[-4000:]
    assert statuses(feed) == [("started", None), ("started", None), ("succeeded", None)]


def test_an_event_log_that_cannot_be_written_ends_with_exit_code_2_and_one_line(feed):
    way = (*SPARK_SUBMIT, "--conf", "spark.eventLog.enabled=true", "--conf", "spark.eventLog.dir=file:/no/such/folder")
    code, out, _ = ended(started("clean_interactions", "--date", DAY, *places(feed), way=way))
    assert code == 2
    (line,) = (line for line in out.splitlines() if line.startswith("clean_interactions:"))
    assert "cannot write its event log" in line and "/no/such/folder" in line and "spark.eventLog.dir" in line
