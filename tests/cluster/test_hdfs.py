"""Cleaning and profiles on a real HDFS: as on a local disk, also when it loses its DataNode or has no more room."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from tests.cluster.hdfs import Hdfs, hadoop_jar
from tests.conftest import CONF
from tests.feed import content, event, user
from tests.hashes import CLEANED, canonical_rows
from tests.logs import deliver, deliver_as_mapped
from tests.processes import SPARK_SUBMIT, run

import build_profiles
import clean_interactions
import query_tables
from salience.errors import InputError, StorageError
from salience.interactions.keys import find_key
from salience.interactions.staging import staged
from salience.job import run_job
from salience.models.store import ModelStore
from salience.settings import load_settings
from salience.sources.deliveries import find_deliveries
from salience.sources.mapping import load_mapping
from salience.tables import bronze, ops, profiles, silver
from salience.tables.outages import outages_told
from salience.tables.warehouse import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]

DAYS = ("2026-11-02", "2026-11-03", "2026-11-04")
PLATFORMS = ("feed", "video")
TABLES = (*CLEANED, profiles.USER_PROFILES, profiles.CONTENT_PROFILES)
EVENTS_A_DAY = 150
ROOM = 10 * 1024**3
_PATIENCE_S = 120
"""For a run that cannot succeed: Hadoop's client asks some more times for a block that nobody gives."""


@pytest.fixture(scope="module")
def hdfs(spark, tmp_path_factory) -> Iterator[Hdfs]:
    cluster = Hdfs(tmp_path_factory.mktemp("hdfs"), hadoop_jar())
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    """A few hundred events a platform, some of them bad; of the feed, people and contents too."""
    root, mapping = tmp_path_factory.mktemp("logs"), load_mapping(CONF, "video")
    words = ("show", "open", "like", "comment", "repost", "vote")
    for number, day in enumerate(DAYS):
        at = [f"{day[-2:]}T{n // 10:02}:{n % 10:02}:00" for n in range(EVENTS_A_DAY)]
        who = [(n * 7 + number) % 20 for n in range(EVENTS_A_DAY)]
        what = [(n * n + number) % 30 for n in range(EVENTS_A_DAY)]
        feed = [
            event(f"{day}-{n}", at[n], uid=f"u{who[n]}", post_id=f"p{what[n]}", act=words[n % len(words)])
            for n in range(EVENTS_A_DAY)
        ]
        late = event(f"{day}-late", f"{int(day[-2:]) - 1:02}T23:00:00")
        deliver(root, day, [*feed, feed[0], late, event(f"{day}-x", "never"), event(f"{day}-y", at[0], uid=None)])
        deliver(root, day, [user(f"u{n}") for n in range(20)], dataset="users")
        deliver(root, day, [content(f"p{n}", f"a,b{n % 3}") for n in range(30)], dataset="contents")
        midnight_ms = int(datetime.fromisoformat(f"{day}T00:00Z").timestamp()) * 1000
        about = {"creator_id": 7, "duration_ms": 9000, "ctx": {"device": "phone", "tz_min": 60}, "is_ad": False}
        videos = [
            {"id": number * 1000 + n, "viewer_id": who[n], "item_id": what[n], "code": n % 12 + 1, **about}
            | {"event_ms": midnight_ms + n * 60_000, "watch_ms": n * 50}
            for n in range(EVENTS_A_DAY)
        ]
        deliver_as_mapped(root, mapping, "interactions", day, [*videos, videos[0], {**videos[1], "code": 99}])
    return root


@pytest.fixture(scope="module")
def on_hdfs(spark, hdfs, logs) -> str:
    """The same logs on HDFS."""
    hdfs.put(spark, logs, "/logs")
    return f"{hdfs.url}/logs"


@pytest.fixture(scope="module")
def undisturbed(spark, logs, tmp_path_factory) -> dict[str, list[str]]:
    """Table -> rows, of the same logs on the local disk, cleaned in one run."""
    root = str(tmp_path_factory.mktemp("undisturbed"))
    assert clean(str(logs), root, DAYS) == 0
    assert profile(str(logs), root) == 0
    return canonical_rows(Warehouse(spark, root), TABLES)


def settings(logs: str, warehouse: str, platforms: tuple[str, ...]) -> list[str]:
    named = (f"platforms=[{','.join(platforms)}]", f"logs={logs}", f"warehouse={warehouse}")
    return [word for one in named for word in ("--set", one)]


def clean(logs: str, warehouse: str, days: tuple[str, ...], platforms: tuple[str, ...] = PLATFORMS) -> int:
    """Clean in this process, whose Spark is warm; return the exit code."""
    arguments = ["--env", "local", "--from", days[0], "--to", days[-1], *settings(logs, warehouse, platforms)]
    return run_job(clean_interactions.main, arguments)


def profile(logs: str, warehouse: str) -> int:
    """Build the profiles of all days in this process; return the exit code."""
    return run_job(build_profiles.main, ["--env", "local", "--date", DAYS[-1], *settings(logs, warehouse, PLATFORMS)])


def submit(hdfs: Hdfs, job: str, days: tuple[str, ...], warehouse: str, platforms: tuple[str, ...]) -> tuple[int, str]:
    """Submit a job as on a cluster whose file system HDFS is; return its exit code and what it printed."""
    arguments = ["--from", days[0], "--to", days[-1], *settings("hdfs:///logs", f"hdfs://{warehouse}", platforms)]
    code, out, err = run(job, *arguments, way=SPARK_SUBMIT, HADOOP_CONF_DIR=str(hdfs.conf))
    return code, out + err


def refused(warehouse: Warehouse) -> list[Any]:
    if not warehouse.exists(ops.DELIVERIES):
        return []
    return warehouse.read(ops.DELIVERIES).where("state != 'taken'").collect()


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param((PLATFORMS,), id="in one run"),
        pytest.param((PLATFORMS[:1], PLATFORMS[1:]), id="side by side", marks=pytest.mark.trial),
    ],
)
def test_jobs_by_spark_submit_end_on_hdfs_as_on_a_local_disk_also_over_a_restarted_data_node(
    spark, hdfs, on_hdfs, undisturbed, capsys, runs
):
    root = f"/submitted-{len(runs)}"
    code, told = submit(hdfs, "clean_interactions", DAYS[:1], root, PLATFORMS)
    assert code == 0, told[-4000:]
    hdfs.kill_data_node()
    hdfs.start_data_node()

    def clean_rest(platforms: tuple[str, ...]) -> tuple[int, str]:
        return submit(hdfs, "clean_interactions", DAYS[1:], root, platforms)

    with ThreadPoolExecutor(len(runs)) as pool:
        for code, told in pool.map(clean_rest, runs):
            assert code == 0, told[-4000:]
    warehouse = Warehouse(spark, f"{hdfs.url}{root}")
    assert profile(on_hdfs, warehouse.root) == 0
    assert canonical_rows(warehouse, TABLES) == undisturbed
    assert not refused(warehouse)
    query = "SELECT count(*) AS interactions FROM current.interactions WHERE event_date >= '2026-11-01'"
    asked = ["--env", "local", *settings(on_hdfs, warehouse.root, PLATFORMS), query]
    capsys.readouterr()
    assert run_job(query_tables.main, asked, interval=False, records=False, extra=query_tables.extra) == 0
    answer = capsys.readouterr().out
    assert f"|{len(undisturbed[str(silver.INTERACTIONS)])} " in answer
    assert len(undisturbed[str(silver.INTERACTIONS)]) > 700 and undisturbed[str(profiles.USER_PROFILES)]


def test_a_model_on_hdfs_comes_back_as_it_was_saved_and_is_refused_once_a_file_of_it_changed(spark, hdfs):
    store, people = ModelStore(spark, f"{hdfs.url}/models", "run"), spark.range(3)
    saved = store.save("2026-11-04.1", "als/feed", {"users": people}, {"alpha": 1})
    loaded = store.load(saved)
    assert loaded.manifest["alpha"] == 1 and sorted(loaded.frames["users"].collect()) == people.collect()
    people.write.mode("append").parquet(f"{saved.path}/users")
    with pytest.raises(InputError, match="its files changed since it was saved"):
        store.load(saved)


@pytest.mark.trial
def test_a_quota_that_is_used_up_is_told_in_one_line_and_once_it_is_raised_the_same_run_ends_as_if_undisturbed(
    spark, hdfs, on_hdfs, undisturbed, capsys
):
    root = f"{hdfs.url}/full"
    assert clean(on_hdfs, root, DAYS[:1]) == 0
    warehouse = Warehouse(spark, root)
    everything = (*CLEANED, ops.DELIVERIES, ops.RUNS, ops.AUDITS)
    before = canonical_rows(warehouse, everything)

    hdfs.set_space_quota(spark, "/full", hdfs.space_used(spark, "/full") + 1000)
    code, told = submit(hdfs, "clean_interactions", DAYS, "/full", PLATFORMS)
    assert code == 1, told[-4000:]
    # Hadoop's own threads may still print behind the job's last line.
    (line,) = (
        line for line in told.splitlines() if line.startswith("clean_interactions: a quota of HDFS is used up: ")
    )
    assert "The DiskSpace quota of /full is exceeded: " in line and "; raise it (hdfs dfsadmin -setSpaceQuota" in line
    assert "Traceback" not in told
    assert canonical_rows(warehouse, everything) == before

    # Other tables have room: the run gets as far as the last dataset's silver.
    hdfs.set_space_quota(spark, "/full", ROOM)
    hdfs.set_space_quota(spark, "/full/silver/interactions", 1000)
    capsys.readouterr()
    assert clean(on_hdfs, root, DAYS) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "a quota of HDFS is used up: The DiskSpace quota of /full/silver/interactions is exceeded: " in last
    accepted = str(silver.INTERACTIONS)
    assert canonical_rows(warehouse, (silver.INTERACTIONS,))[accepted] == before[accepted]
    assert not refused(warehouse)
    runs = (
        warehouse.read(ops.RUNS).where("status <> 'started'").orderBy("started_at").select("status", "error").collect()
    )
    assert [row["status"] for row in runs] == ["succeeded", "failed"]
    assert runs[-1]["error"] in last

    hdfs.set_space_quota(spark, "/full/silver/interactions", ROOM)
    assert clean(on_hdfs, root, DAYS) == 0
    assert canonical_rows(warehouse) == {str(table): undisturbed[str(table)] for table in CLEANED}


@pytest.mark.trial
def test_a_delivery_whose_data_node_is_dead_is_not_refused_and_is_taken_once_the_node_is_back(
    spark, hdfs, on_hdfs, undisturbed, tmp_path, capsys
):
    """The tables lie on the local disk, so that it is the delivery that cannot be read."""
    root, mapping = str(tmp_path / "warehouse"), load_mapping(CONF, "feed")
    days = [date.fromisoformat(day) for day in DAYS]
    found = find_deliveries(spark, on_hdfs, mapping, "interactions", days)
    assert [(delivery.state, delivery.rows) for delivery in found] == [("taken", EVENTS_A_DAY + 4)] * 3
    hdfs.kill_data_node()
    try:
        begun = monotonic()
        assert clean(on_hdfs, root, DAYS, ("feed",)) == 1
        assert monotonic() - begun < _PATIENCE_S
        told = capsys.readouterr().err
        last = told.splitlines()[-1]
        assert last.startswith("clean_interactions: HDFS has no DataNode that gives a file: Could not obtain block: ")
        assert "/logs/feed/" in last and "; bring back those that held it" in last and "Traceback" not in told
        assert not refused(Warehouse(spark, root))
        # Looked into while the node lived, read when it was dead.
        cleaning = load_settings(CONF, "local", {}, []).clean
        with (
            pytest.raises((Py4JJavaError, PySparkException), match="Could not obtain block"),
            staged(Warehouse(spark, root), mapping, "interactions", find_key("feed", "local", {}), found, cleaning),
        ):
            pass
        with pytest.raises(StorageError, match=r"no DataNode that takes a file: .* to 0 of the 1 "), outages_told():
            spark.range(1).write.parquet(f"{hdfs.url}/nowhere")
    finally:
        hdfs.start_data_node()
    assert clean(on_hdfs, root, DAYS, ("feed",)) == 0
    of_feed = {t: [row for row in rows if '"platform":"feed"' in row] for t, rows in undisturbed.items()}
    assert canonical_rows(Warehouse(spark, root)) == {str(table): of_feed[str(table)] for table in CLEANED}
    assert of_feed[str(bronze.EVENTS)]
