from datetime import date

import pytest
from pyspark.sql import functions as F

from salience.profiles.contents import content_profiles
from salience.settings import ProfileSettings
from salience.tables import profiles
from salience.tables.conform import conform
from tests.profiles.rows import content_versions
from tests.silver_rows import interactions

SETTINGS = ProfileSettings(window_days=10, interest_half_life_days=2, interest_tags=2, dormant_after_days=14)
AS_OF = date(2026, 11, 20)


def describe(spark, events, *contents):
    frame = content_profiles(
        interactions(spark, [{"at": "19 00:00"} | event for event in events]),
        content_versions(spark, *contents),
        AS_OF,
        SETTINGS,
        positive_actions=["like", "share"],
    )
    conform(profiles.CONTENT_PROFILES, frame.withColumn("release_id", F.lit("r")))
    return {row["content_id"]: row.asDict() for row in frame.collect()}


def test_actions_count_events_and_reach_counts_people(spark):
    events = [
        {"user": "ann"},
        {"user": "ann"},
        {"user": "ann", "action": "like"},
        {"user": "ann", "action": "share"},
        {"user": "bob"},
        # Engaged without an impression: an engager, but not of the reach.
        {"user": "eve", "action": "like"},
        {"user": "eve", "action": "comment"},
        {"user": "eve", "action": "follow", "content_id": None},
    ]
    found = describe(spark, events)
    assert set(found) == {"c1"}
    assert found["c1"]["actions"] == {"impression": 3, "like": 2, "share": 1, "comment": 1}
    counts = ("impressions", "reach", "engagers", "engaged_reach")
    assert [found["c1"][name] for name in counts] == [3, 2, 2, 1]


def test_the_engagement_rate_is_a_share_of_people_with_its_wilson_interval(spark):
    people = [f"p{n}" for n in range(10)]
    events = [{"user": name} for name in people] + [{"user": name, "action": "like"} for name in people[:2]]
    found = describe(spark, events)["c1"]
    assert found["engagement_rate_by_reach"] == 0.2
    # The Wilson score interval of 2 in 10, as statsmodels and Newcombe (1998) give it.
    assert found["engagement_rate_by_reach_ci_low"] == pytest.approx(0.05668215, abs=1e-8)
    assert found["engagement_rate_by_reach_ci_high"] == pytest.approx(0.50983752, abs=1e-8)


def test_a_content_that_reached_nobody_has_no_rate(spark):
    found = describe(spark, [{"user": "ann", "action": "like"}])["c1"]
    rates = [value for name, value in found.items() if name.startswith("engagement_rate")]
    assert rates == [None, None, None]


def test_completion_is_a_share_of_the_plays_whose_watch_time_and_length_are_known(spark):
    play = {"user": "ann", "action": "play"}
    events = [
        play | {"dwell_s": 9.5, "video_length_s": 10},
        play | {"dwell_s": 9.499, "video_length_s": 10},
        play | {"dwell_s": 30},
        play | {"video_length_s": 10},
        play | {"dwell_s": 1, "video_length_s": 0},
        {"user": "ann", "dwell_s": 0.001},
    ]
    found = describe(spark, events)["c1"]
    assert (found["completion_rate_by_plays"], found["watch_time_s"]) == (1 / 2, 50.0)
    assert describe(spark, [play])["c1"]["completion_rate_by_plays"] is None


def test_tags_and_freshness_are_those_of_the_version_at_the_end_of_the_as_of_day(spark):
    versions = [
        {"tags": ["first"], "valid_to": "20 00:00"},
        {"tags": ["second"], "valid_from": "20 00:00", "valid_to": "21 00:00", "published_at": "19 12:00"},
        {"tags": ["third"], "valid_from": "21 00:00"},
        {"content_id": "c2", "tags": ["too late"], "valid_from": "21 00:00"},
    ]
    found = describe(spark, [{"user": "ann"}, {"user": "ann", "content_id": "c2"}], *versions)
    assert (found["c1"]["tags"], found["c1"]["freshness_days"]) == (["second"], 1.5)
    assert (found["c2"]["tags"], found["c2"]["freshness_days"]) == (None, None)


def test_nothing_outside_the_window_counts(spark):
    inside = [{"user": "ann", "at": "11 00:00"}, {"user": "ann", "at": "20 23:59", "action": "like"}]
    outside = [{"user": "bob", "at": "10 23:59"}, {"user": "bob", "at": "21 00:00", "action": "like"}]
    assert describe(spark, inside + outside) == describe(spark, inside)
