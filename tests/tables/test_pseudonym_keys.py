from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier

import pytest
from tests import silver_rows, snapshots

from salience.errors import SettingsError
from salience.tables import bronze, ops, silver
from salience.tables.pseudonym_keys import require_same_keys
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

ONE, OTHER = "1" * 16, "2" * 16


@pytest.fixture
def require(spark, warehouse):
    """Have a run of the name require keys of the test's warehouse."""

    def of_run(run_id, **key_ids):
        require_same_keys(Warehouse(spark, warehouse.root, run_id), key_ids, 5)

    return of_run


def ledger(warehouse):
    rows = warehouse.read(ops.PSEUDONYM_KEYS).orderBy("platform", "generation").collect()
    return [(row["platform"], row["generation"], row["key_id"], row["run_id"]) for row in rows]


def write_silver(warehouse, platform="feed"):
    events = silver_rows.interactions(warehouse.spark, [{"user": "ann", "at": "2 10:00", "platform": platform}])
    warehouse.replace(silver.INTERACTIONS, events, {"event_date": [date(2026, 11, 2)], "platform": [platform]})


def end(warehouse, run_id, **more):
    row = snapshots.run("2026-11-02.1") | {"run_id": run_id, "job": "clean_interactions", **more}
    warehouse.append_rows(ops.RUNS, [row])


def test_the_first_run_claims_the_keys_in_one_commit_and_runs_with_the_same_write_nothing(warehouse, require):
    require("first", feed=ONE, video=OTHER)
    version = warehouse.version(ops.PSEUDONYM_KEYS)
    require("second", feed=ONE, video=OTHER)
    require("third", video=OTHER)
    assert warehouse.version(ops.PSEUDONYM_KEYS) == version == 1
    assert ledger(warehouse) == [("feed", 1, ONE, "first"), ("video", 1, OTHER, "first")]
    require("fourth", shop=ONE)
    assert ledger(warehouse)[1] == ("shop", 1, ONE, "fourth")


def test_another_key_than_the_tables_is_refused_with_both_ids_and_what_to_do_and_nothing_is_claimed(warehouse, require):
    require("first", feed=ONE, video=ONE)
    end(warehouse, "first")
    write_silver(warehouse)
    before = ledger(warehouse)
    with pytest.raises(SettingsError) as caught:
        require("second", feed=OTHER, video=ONE, shop=ONE)
    told = str(caught.value)
    assert told == (
        f"feed: its tables are kept under the key {ONE}, but the key given is {OTHER}: give the key that they were "
        "made with, or start a new warehouse (setting `warehouse`)"
    )
    assert ledger(warehouse) == before


def test_a_wrong_key_of_a_run_that_failed_before_it_wrote_anything_locks_nobody_out(warehouse, require):
    require("typo", feed=OTHER)
    write_silver(warehouse, "video")
    with pytest.raises(SettingsError, match=f"^feed: run typo is at work under the key {OTHER}, but the key given is"):
        require("right", feed=ONE)
    end(warehouse, "typo", status="failed")
    require("right", feed=ONE)
    require("right again", feed=ONE)
    assert ledger(warehouse) == [("feed", 1, OTHER, "typo"), ("feed", 2, ONE, "right")]


def test_a_run_that_was_killed_before_it_wrote_anything_locks_nobody_out_for_longer_than_a_day(warehouse, require):
    now = datetime.now(UTC)
    killed = {"platform": "feed", "generation": 1, "key_id": OTHER, "run_id": "killed"}
    claims = [killed | {"first_used_at": now - timedelta(hours=25)}]
    claims += [killed | {"platform": "video", "first_used_at": now - timedelta(hours=23)}]
    warehouse.append_rows(ops.PSEUDONYM_KEYS, claims)
    require("right", feed=ONE)
    with pytest.raises(SettingsError, match=r"^video: run killed is at work"):
        require("right", video=ONE)


def test_rows_in_bronze_alone_keep_the_key_too(warehouse, require):
    require("first", feed=ONE)
    end(warehouse, "first", status="failed")
    row = {"delivery_date": date(2026, 11, 2), "platform": "feed", "row_hash": 1, "violations": []}
    where = {"delivery_date": [date(2026, 11, 2)], "platform": ["feed"]}
    warehouse.replace(bronze.EVENTS, warehouse.frame(bronze.EVENTS, [row]), where)
    with pytest.raises(SettingsError, match=r"^feed: its tables are kept under the key"):
        require("second", feed=OTHER)


def test_tables_from_before_there_were_claims_are_kept_under_the_key_of_the_newest_run_that_wrote_silver(
    warehouse, require
):
    now = datetime.now(UTC)
    wrote = {"outputs": {"silver.interactions": 1}}
    runs = [
        {"key_ids": {"feed": "0" * 16}, **wrote, "ended_at": now - timedelta(hours=3)},
        {"key_ids": {"feed": ONE, "video": ONE}, **wrote, "ended_at": now - timedelta(hours=2)},
        {"key_ids": {"feed": OTHER}, "outputs": {}, "status": "failed", "ended_at": now - timedelta(hours=1)},
        {"key_ids": {"feed": OTHER}, **wrote, "job": "measure_audience", "ended_at": now},
    ]
    for n, run in enumerate(runs):
        end(warehouse, f"run {n}", **run)
    write_silver(warehouse)
    with pytest.raises(SettingsError, match=f"^feed: its tables are kept under the key {ONE}, but"):
        require("wrong", feed=OTHER, video=ONE)
    # That run wrote silver, but nothing of video.
    require("right", feed=ONE, video=OTHER)
    assert [row[:3] for row in ledger(warehouse)] == [("feed", 1, ONE), ("video", 1, OTHER)]


def test_of_first_runs_with_different_keys_at_once_one_goes_on_and_the_others_are_refused(warehouse, require):
    barrier = Barrier(3)

    def start(n):
        barrier.wait()
        try:
            require(f"run {n}", feed=str(n) * 16, video=ONE)
        except SettingsError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(start, range(3)))
    (winner,) = (n for n, problem in enumerate(told) if problem is None)
    feed = [row for row in ledger(warehouse) if row[0] == "feed"]
    assert feed == [("feed", 1, str(winner) * 16, f"run {winner}")]
    assert [row[2] for row in ledger(warehouse) if row[0] == "video"] == [ONE]
    assert all(f"feed: run run {winner} is at work" in problem for problem in told if problem)
