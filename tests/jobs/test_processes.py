"""Cleaning in processes of its own: two at once, what one prints, and the README's recipe as a newcomer follows it."""

import os
import re
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

import pytest
import yaml
from tests.conftest import CONF
from tests.feed import DAYS, EVENTS_ONLY, Platform, content, event, user
from tests.logs import deliver, deliver_as_mapped
from tests.processes import PROJECT, ended, run, started

from salience.sources.mapping import load_mapping
from salience.tables import bronze, ops, silver
from salience.tables.warehouse import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]


def places(feed: Platform) -> list[str]:
    """Return the arguments that name a feed's logs and tables."""
    settings = ("platforms=[feed]", f"logs={feed.logs}", f"warehouse={feed.root}")
    return [word for one in settings for word in ("--set", one)]


def changed_conf(tmp_path: Path, platform: str, mapping: str) -> Path:
    """Return a folder of settings in which a platform has another mapping."""
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    (conf / "sources" / f"{platform}.yaml").write_text(mapping, encoding="utf-8")
    return conf


@pytest.mark.trial
def test_two_processes_that_clean_days_that_bear_on_one_another_end_as_one_run(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"), event("t1", "02T23:59:59.700", post_id="p9"))
    feed.deliver(DAYS[1], event("e1", "02T10:00:00"), event("t2", "03T00:00:00.200", post_id="p9"))

    def clean(day: str) -> tuple[int, str, str]:
        return run("clean_interactions", "--date", day, *places(feed))

    with ThreadPoolExecutor(2) as pool:
        for code, _, told in pool.map(clean, DAYS[:2]):
            assert code == 0, told[-4000:]
    assert feed.accepted() == {("e1", DAYS[0]), ("t1", DAYS[0])}
    assert feed.rows() == feed.rebuilt(*DAYS[:2], datasets=EVENTS_ONLY)


@pytest.mark.trial
def test_of_two_processes_that_clean_one_day_at_once_one_wins_and_the_other_retries_or_fails_in_one_line(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"), event("e1", "02T10:00:00"), event("x", "never"))
    feed.deliver(DAYS[0], user("u-ann"), dataset="users")
    both = [started("clean_interactions", "--date", DAYS[0], *places(feed)) for _ in range(2)]
    ends = [ended(process) for process in both]
    assert 0 in [code for code, *_ in ends], ends
    for code, _, told in ends:
        last = told.splitlines()[-1]
        assert code == 0 or (code == 1 and last.startswith("clean_interactions: feed")), told[-4000:]
        assert "Traceback" not in told
    assert feed.rows() == feed.rebuilt(DAYS[0])


@pytest.mark.trial
def test_a_process_that_is_killed_between_bronze_and_silver_is_healed_by_the_same_day_and_by_any_other(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"), event("e2", "02T11:00:00"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)
    was = feed.warehouse.version(silver.INTERACTIONS)
    feed.deliver(DAYS[0], event("e2", "02T11:00:00", post_id="p2"))
    feed.deliver(DAYS[1], event("late", "02T12:00:00"), event("e3", "03T10:00:00"), event("x", "never"))
    commit = feed.root / "bronze" / "events" / "_delta_log" / f"{feed.warehouse.version(bronze.EVENTS) + 1:020}.json"
    process = started("clean_interactions", "--from", DAYS[0], "--to", DAYS[1], *places(feed))
    until = monotonic() + 300
    while not commit.exists() and process.poll() is None and monotonic() < until:
        sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert commit.exists() and process.returncode == -signal.SIGKILL, told[-4000:]
    assert feed.warehouse.version(silver.INTERACTIONS) == was and ("late", DAYS[1]) not in feed.accepted()
    other = feed.copy("other")
    other.clean("2026-12-01", datasets=EVENTS_ONLY)
    feed.clean(*DAYS[:2], datasets=EVENTS_ONLY)
    assert feed.accepted() == {("e2", DAYS[0]), ("late", DAYS[1]), ("e3", DAYS[1])}
    assert feed.rows() == other.rows() == feed.rebuilt(*DAYS[:2], datasets=EVENTS_ONLY)


@pytest.mark.trial
def test_a_machine_in_another_time_zone_ends_in_the_same_tables_and_tells_the_same_times(feed):
    rows = [
        event("e1", "02T10:00:00"),
        event("e2", "02T23:59:59"),
        event("e3", "03T00:00:01"),
        event("old", "01T03:00:00"),
    ]
    feed.deliver(DAYS[0], *rows, rows[0], event("timeless", "99T10:00:00"))
    feed.deliver(DAYS[0], content("p1"), dataset="contents")
    feed.deliver(DAYS[0], user("u-ann"), user("bob", analysed=False), dataset="users")
    shanghai = {"TZ": "Asia/Shanghai"}
    code, _, told = run("clean_interactions", "--date", DAYS[0], *places(feed), **shanghai)
    assert code == 0, told[-4000:]
    assert feed.rows() == feed.rebuilt(DAYS[0])
    code, out, told = run("explain_event", *places(feed), "--platform", "feed", "--event-id", "e2", **shanghai)
    assert code == 0 and "e2: like, 2026-11-02 23:59:59 UTC, from feed/" in out, told[-4000:]


@pytest.mark.trial
def test_a_value_that_an_expression_fails_on_is_printed_nowhere_whatever_it_holds(spark, tmp_path):
    mapping = yaml.safe_load((CONF / "sources" / "feed.yaml").read_text(encoding="utf-8"))
    mapping["interactions"]["columns"]["position"] = "cast(device as int)"
    conf = changed_conf(tmp_path, "feed", yaml.safe_dump(mapping))
    logs, warehouse = tmp_path / "logs", Warehouse(spark, str(tmp_path / "warehouse"), "test")
    for day, device in zip(DAYS, ("1", "x\nsecret@example.com", "[FAILED_READ_FILE] secret@example.com"), strict=False):
        deliver(logs, day, [event(f"e{day}", f"{day[-2:]}T10:00:00", device=device)])
    settings = ("platforms=[feed]", f"logs={logs}", f"warehouse={warehouse.root}")
    arguments = ("--from", DAYS[0], "--to", DAYS[2], *(word for one in settings for word in ("--set", one)))
    code, out, err = run("clean_interactions", *arguments, SALIENCE_CONF_DIR=str(conf))
    assert code == 2
    assert err.count("an expression of the mapping fails on a value (cast(device as int))") == 2
    assert "secret" not in out + err
    for table in (ops.DELIVERIES, ops.RUNS, ops.AUDITS):
        assert "secret" not in str(warehouse.read(table).collect())


@pytest.mark.trial
def test_the_readmes_recipe_for_a_new_source_works_up_to_letting_a_held_delivery_pass(spark, tmp_path):
    (text,) = re.findall(r"```yaml\n(platform: .*?)```", (PROJECT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    conf = changed_conf(tmp_path, "podcasts", text)
    mapping = load_mapping(conf, "podcasts")
    logs, warehouse = tmp_path / "logs", Warehouse(spark, str(tmp_path / "warehouse"), "test")

    def heard(n: int, day: str, **more: object) -> dict[str, object]:
        about = {"id": f"{day}-{n}", "listener": n, "episode": "e1", "event": "listen", "secs": 9.5}
        return {**about, "at": f"{day} 09:{n // 60:02}:{n % 60:02}", "app": {"os": "IOS"}, **more}

    deliver_as_mapped(logs, mapping, "contents", DAYS[0], [{"episode": "e1", "show": "s1", "topics": ["news"]}])
    good = [heard(n, DAYS[0]) for n in range(8)]
    odd = [heard(8, DAYS[0], event="skip"), heard(9, DAYS[0], episode=None), heard(10, DAYS[0], app=None)]
    deliver_as_mapped(logs, mapping, "interactions", DAYS[0], [*good, good[0], *odd])
    held = [heard(n, DAYS[1], event="listen" if n % 10 < 7 else "skip") for n in range(1200)]
    deliver_as_mapped(logs, mapping, "interactions", DAYS[1], held)
    settings = ["--set", "platforms=[podcasts]", "--set", f"logs={logs}", "--set", f"warehouse={warehouse.root}"]

    code, _, err = run("clean_interactions", "--from", DAYS[0], "--to", DAYS[1], *settings, SALIENCE_CONF_DIR=str(conf))
    assert code == 3 and "(clean.thresholds.max_shares.unknown_action): 0.3 (at most 0.2)" in err
    assert states(warehouse) == {DAYS[0]: ("taken", 12, 2, 1, 9), DAYS[1]: ("held", None, None, None, None)}
    devices = warehouse.read(silver.INTERACTIONS).select("event_id", "device", "utc_offset_min").collect()
    assert {tuple(row) for row in devices} == {
        *((f"{DAYS[0]}-{n}", "ios", 60) for n in range(8)),
        (f"{DAYS[0]}-10", "unknown", 60),
    }
    let_pass = ("--set", "clean.thresholds.max_shares.unknown_action=0.5")
    code, _, err = run("clean_interactions", "--date", DAYS[1], *settings, *let_pass, SALIENCE_CONF_DIR=str(conf))
    assert code == 0, err[-4000:]
    assert states(warehouse)[DAYS[1]] == ("taken", 1200, 360, 0, 840)
    query = "SELECT reasons, count(*) FROM silver.rejected_events GROUP BY reasons"
    code, out, _ = run("query_tables", *settings[2:], query, SALIENCE_CONF_DIR=str(conf))
    assert code == 0 and out.startswith("+") and "[unknown_action]" in out and "|361 " in out


def states(warehouse: Warehouse) -> dict[str, tuple[object, ...]]:
    """Return day -> state and counts of the newest look at its interactions."""
    rows = warehouse.read(ops.DELIVERIES).where("dataset = 'interactions'").orderBy("seen_at").collect()
    counts = ("state", "emitted", "rejected", "excluded", "accepted")
    return {str(row["delivery_date"]): tuple(row[name] for name in counts) for row in rows}
