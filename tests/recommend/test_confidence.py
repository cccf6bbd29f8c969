from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from salience.recommend.confidence import aged, preferences, seen_contents
from salience.recommend.models.interface import histories
from salience.recommend.popularity import popularity
from tests.recommend.rows import CUT, interactions


@pytest.fixture
def weights(settings):
    return settings.recommend.model_copy(
        update={
            "action_weights": {"like": 2.0, "share": 4.0, "rate": 3.0},
            "half_life_days": 10.0,
            "window_days": 40,
        }
    )


def pairs(frame):
    return {(r["user_id"], r["content_id"]): r["weight"] for r in frame.collect()}


def test_each_event_fades_by_its_own_age_and_a_pair_adds_up(spark, weights):
    events = interactions(spark, ("u", "a", "like", 10), ("u", "a", "share", 20), ("u", "b", "like", 30))
    assert pairs(preferences(events, CUT, weights)) == {("u", "a"): 2 / 2 + 4 / 4, ("u", "b"): 2 / 8}


def test_a_rating_weighs_its_share_of_the_scale_and_none_weighs_nothing(spark, weights):
    events = interactions(spark, ("u", "a", "rate", 10, 8.0), ("u", "b", "rate", 10), ("u", "c", "rate", 10, 0.0))
    assert pairs(preferences(events, CUT, weights)) == {("u", "a"): pytest.approx(3 * 0.8 / 2, abs=1e-15)}


def test_what_has_no_weight_never_enters(spark, weights):
    events = interactions(spark, ("u", "b", "impression", 1), ("u", None, "follow", 1))
    assert pairs(preferences(events, CUT, weights)) == {}


def test_what_was_undone_weighs_nothing_whatever_its_age_and_all_else_stands(spark, weights):
    events = interactions(
        spark,
        ("u", "at once", "like", 1),
        ("u", "at once", "unlike", 1),
        ("u", "later", "like", 30),
        ("u", "later", "share", 20),
        ("u", "later", "unlike", 1),
        ("u", "again", "like", 30),
        ("u", "again", "unlike", 20),
        ("u", "again", "like", 10),
        ("u", "twice", "like", 30),
        ("u", "twice", "like", 20),
        ("u", "twice", "unlike", 10),
        ("u", "never liked", "unlike", 1),
        ("u", "never liked", "share", 10),
        ("u", "not yet", "like", 10),
        ("u", "not yet", "unlike", 0),
        ("v", "later", "like", 10),
    )
    expected = {("u", "later"): 1.0, ("u", "again"): 1.0, ("u", "never liked"): 2.0, ("u", "not yet"): 1.0}
    assert pairs(preferences(events, CUT, weights)) == {**expected, ("v", "later"): 1.0}
    popular = popularity(events, CUT, [None], weights).collect()
    assert {row["content_id"]: row["features"] for row in popular if row["features"] != [0.0]} == {
        "later": [6.0],
        "again": [2.0],
        "never liked": [4.0],
        "not yet": [2.0],
    }


def test_watching_adds_its_share_of_the_video_where_that_is_known(spark, weights):
    watching = weights.model_copy(update={"watch_time_weight": 0.5})
    events = interactions(
        spark,
        ("u", "half", "view", 10, None, 30.0, 60.0),
        ("u", "twice", "like", 10, None, 120.0, 60.0),
        ("u", "of nothing", "view", 10, None, 30.0, 0.0),
        ("u", "unknown", "like", 10, None, 30.0, None),
        ("u", "backwards", "view", 10, None, -30.0, 60.0),
    )
    expected = {("u", "half"): 0.125, ("u", "twice"): 1.25, ("u", "unknown"): 1.0}
    assert pairs(preferences(events, CUT, watching)) == expected
    assert pairs(preferences(events, CUT, weights)) == {("u", "twice"): 1.0, ("u", "unknown"): 1.0}


def test_who_hid_or_reported_a_content_has_no_preference_for_it(spark, weights):
    events = interactions(
        spark,
        ("u", "a", "share", 1),
        ("u", "a", "hide", 2),
        ("u", "b", "report", 1),
        ("u", "c", "like", 10),
        ("u", "c", "hide", 41),
        ("u", "d", "like", 10),
        ("u", "d", "hide", -1),
        ("v", "a", "like", 10),
    )
    assert pairs(preferences(events, CUT, weights)) == {("u", "c"): 1.0, ("u", "d"): 1.0, ("v", "a"): 1.0}


def test_events_at_the_cut_or_before_the_window_do_not_count(spark, weights):
    events = interactions(spark, ("u", "a", "like", 0), ("u", "b", "like", 40), ("u", "c", "like", 40.001))
    assert pairs(preferences(events, CUT, weights)) == {("u", "b"): 2 / 16}


def test_weights_are_equal_to_the_last_bit_whatever_the_partitioning(spark, weights):
    rows = [("u", "a", "like", 0.1 + n / 7) for n in range(60)]
    one = preferences(interactions(spark, *rows).coalesce(1), CUT, weights)
    many = preferences(interactions(spark, *reversed(rows)).repartition(7), CUT, weights)
    assert pairs(one) == pairs(many)


def test_the_last_event_of_a_pair_is_told(spark, weights):
    events = interactions(spark, ("u", "a", "like", 3), ("u", "a", "like", 2))
    told = preferences(events, CUT, weights).select(F.unix_seconds("last_event_time")).head()[0]
    assert told == datetime(2026, 11, 9, tzinfo=UTC).timestamp()


def test_histories_are_sorted_and_seen_contents_include_impressions_before_the_cut(spark, weights):
    events = interactions(
        spark, ("u", "b", "like", 10), ("u", "a", "like", 10), ("u", "c", "impression", 90), ("u", "d", "like", -1)
    )
    own = histories(aged(preferences(events, CUT, weights), CUT)).head()["own"]
    assert [tuple(one) for one in own] == [("a", 1.0, 10.0), ("b", 1.0, 10.0)]
    assert sorted(seen_contents(events, CUT).head()["seen"]) == ["a", "b", "c"]
