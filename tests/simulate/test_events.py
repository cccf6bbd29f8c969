from datetime import date, timedelta

import pandas as pd
import pytest
from pyspark.sql import functions as F

from salience.settings import load_settings
from salience.simulate import contents, dirt, events, exposures, people, raw
from salience.simulate.world import DAY_MS, World
from salience.simulate.writer import MARKER, write_simulation
from tests.conftest import CONF
from tests.simulate.conftest import AS_OF, small_settings

POSITIVE = ("like", "comment", "share", "favourite")
CLEAN = load_settings(CONF, "local", {}, ["clean.max_lateness_days=3", "clean.future_tolerance_minutes=10"]).clean


def world(tmp_path, platform, **changes):
    settings = small_settings(tmp_path, **({"users": 60, "events": 6000} | changes)).simulate
    return World.ending_on(platform, AS_OF, settings)


def happened(spark, where):
    return events.events(exposures.exposures(people.people(spark, where), where), where)


def canonical(frame):
    hashed = frame.select(F.xxhash64(*frame.columns).alias("hash"), F.col(frame.columns[0]).isNull().alias("b"))
    return sorted((row["hash"], row["b"]) for row in hashed.collect())


def logs(spark, where):
    delivered = dirt.deliver(happened(spark, where), where, CLEAN)
    return {
        "interactions": canonical(raw.interactions(delivered, where)),
        "contents": canonical(raw.contents(contents.contents(spark, where), where)),
        "users": canonical(raw.users(people.people(spark, where), where)),
    }


@pytest.mark.integration
def test_rows_depend_on_the_seed_and_not_on_the_partitions(spark, tmp_path):
    few = logs(spark, world(tmp_path, "video", partitions=2))
    assert len(few["interactions"]) > 2500
    assert logs(spark, world(tmp_path, "video", partitions=7)) == few
    other = logs(spark, world(tmp_path, "video", partitions=2, seed=43))
    assert all(other[name] != few[name] for name in few)


@pytest.mark.parametrize("platform", ["feed", "video"])
def test_exactly_the_engaged_exposures_are_followed_by_a_positive_action_within_a_day(spark, tmp_path, platform):
    where = world(tmp_path, platform)
    log = happened(spark, where).toPandas()
    # The number of an event without its last digit is its exposure's.
    log["exposure"] = log["event"] // 10
    shown = log[log["action"] == "impression"].set_index("exposure")
    assert shown.index.is_unique and log["event"].is_unique
    acted = log[log["action"].isin(POSITIVE)].join(shown["event_ms"].rename("shown_ms"), on="exposure")
    delay = acted["event_ms"] - acted["shown_ms"]
    assert delay.between(20_000, DAY_MS - 1).all()
    # The log ends with the last day, and later actions with it.
    certain = shown[shown["event_ms"] < where.end_ms - DAY_MS]
    assert set(certain.index[certain["engaged"].astype(bool)]) == set(acted["exposure"]) & set(certain.index)
    assert set(acted["exposure"]) <= set(shown.index[shown["engaged"].astype(bool)])
    assert log["event_ms"].between(where.start_ms, where.end_ms - 1).all()


def test_follows_name_a_content_or_none_and_undo_follows_a_like(spark, tmp_path):
    log = happened(spark, world(tmp_path, "feed", users=300, events=40_000)).toPandas()
    follows = log[log["action"] == "follow"]
    assert 0.3 < follows["content"].isna().mean() < 0.7
    assert log[log["action"] != "follow"]["content"].notna().all()
    pair = ["user", "content"]
    liked = log[log["action"] == "like"].groupby(pair)["event_ms"].min().rename("liked_ms").reset_index()
    undone = log[log["action"] == "unlike"].merge(liked, on=pair, how="left")
    assert len(undone) > 0 and (undone["event_ms"] > undone["liked_ms"]).all()
    assert (log["action"] == "hide").sum() > 0


def test_without_dirt_every_row_is_accepted_on_its_own_day(spark, tmp_path):
    where = world(tmp_path, "feed", dirt_share=0)
    delivered = dirt.deliver(happened(spark, where), where, CLEAN)
    wrong = (F.col("verdict") != "accepted") | F.col("is_late") | (F.col("delivery_date") != _utc_day("event_ms"))
    assert delivered.where(wrong).isEmpty()


def test_where_no_lateness_is_accepted_nothing_is_late_and_no_copy_comes_a_day_later(spark, tmp_path):
    where = world(tmp_path, "feed", dirt_share=0.45)
    strict = CLEAN.model_copy(update={"max_lateness_days": 0, "future_tolerance_minutes": 2000})
    delivered = dirt.deliver(happened(spark, where), where, strict).toPandas()
    assert not delivered["is_late"].any()
    day = pd.to_datetime(delivered["delivery_date"])
    time = pd.to_datetime(delivered["event_ms"], unit="ms")
    too_late = delivered["verdict"] == "too_late"
    assert too_late.any() and (time[too_late].dt.floor("D") < day[too_late]).all()
    future = delivered["verdict"] == "future_event"
    assert future.any() and (time[future] >= day[future] + timedelta(days=1, minutes=2000)).all()


def test_a_follow_is_not_spoilt_by_taking_its_content_which_cleaning_would_not_miss(spark, tmp_path):
    where = world(tmp_path, "feed", dirt_share=0.45)
    follows = happened(spark, where).withColumn("action", F.lit("follow"))
    verdicts = dirt.deliver(follows, where, CLEAN).groupBy("verdict").count().toPandas().set_index("verdict")["count"]
    assert verdicts["missing_user_id"] > 50
    assert "missing_content_id" not in verdicts


def test_iso_times_are_local_and_carry_their_offset(spark):
    # 2026-11-01 00:00:00.007 UTC.
    at = 1_793_491_200_007
    rows = spark.createDataFrame([(at, 480), (at, -210), (at, 0), (None, 60)], "ms bigint, offset int")
    found = [row[0] for row in rows.select(raw.iso_time(F.col("ms"), F.col("offset"))).collect()]
    assert found == [
        "2026-11-01T08:00:00.007+08:00",
        "2026-10-31T20:30:00.007-03:30",
        "2026-11-01T00:00:00.007+00:00",
        None,
    ]


@pytest.mark.integration
def test_a_second_simulation_replaces_the_first_one(spark, tmp_path):
    for days in (3, 2):
        settings = small_settings(tmp_path, users=30, events=1500, days=days)
        write_simulation(spark, settings, date(2026, 11, 6), lambda text: None)
    for platform in ("feed", "video"):
        found = sorted(folder.name for folder in (tmp_path / "logs" / platform / "interactions").iterdir())
        assert found == ["dt=2026-11-05", "dt=2026-11-06"]
    truth = {entry.name for entry in (tmp_path / "truth").iterdir() if not entry.name.startswith(".")}
    assert truth == {MARKER, "contents", "dirt", "exposures", "users"}


def _utc_day(name):
    return F.to_date(F.timestamp_millis(name))
