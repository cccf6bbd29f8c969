import pytest

from salience.recommend.als import Point
from salience.recommend.arms import HELD_OUT, NOT_PERSONALISED, PERSONALISED
from salience.recommend.availability import people
from salience.recommend.candidates import as_rows, personal, placed, trending
from salience.recommend.foldin import model_of
from salience.recommend.topk import collect_items
from salience.tables import recommendations
from salience.tables.conform import conform
from tests.recommend.rows import CUT, contents, days_before, interactions, users


@pytest.fixture
def three(settings):
    return settings.recommend.model_copy(
        update={"candidates": 3, "action_weights": {"like": 1.0}, "trending_half_life_days": 7.0}
    )


def found(spark, settings, events, known, served, factors):
    items = spark.createDataFrame(factors, "content_id string, features array<float>")
    model = model_of(collect_items(items), Point(1.0, 0.1))
    lists = personal(served, events, known, CUT, items, model, settings)
    popular = trending(served, events, known, CUT, lists, settings)
    return placed(as_rows(lists, "feed", "als").union(as_rows(popular, "feed", "trending")))


def contents_by_source(rows):
    told = {}
    for row in rows.orderBy("source", "user_id", "score", "content_id").collect():
        told.setdefault(row["user_id"], {}).setdefault(row["source"], set()).add(row["content_id"])
    return told


def test_personal_lists_leave_out_what_may_not_be_shown_and_trending_fills_up(spark, three):
    events = interactions(
        spark,
        ("u", "a", "like", 3),
        ("u", "shown", "impression", 3),
        ("x", "hit", "like", 1),
        ("y", "hit", "like", 1),
        ("z", "late hit", "like", -1),
    )
    known = contents(
        spark,
        ("b", days_before(9), None),
        ("unpublished", days_before(-0.5), None),
        ("expired", days_before(9), days_before(1)),
        ("fresh", days_before(1), None),
        ("told later", days_before(9), None, days_before(-1)),
    )
    served = spark.createDataFrame([("u", PERSONALISED), ("new", PERSONALISED)], "user_id string, arm string")
    names = ("a", "shown", "b", "unpublished", "expired")
    rows = found(spark, three, events, known, served, [(name, [1.0]) for name in names])
    assert contents_by_source(rows) == {
        "u": {"als": {"b"}, "trending": {"hit", "fresh"}},
        "new": {"trending": {"hit", "a", "b"}},
    }
    assert conform(recommendations.CANDIDATES, rows.selectExpr("*", "'r' AS release_id")).count() == 6


def test_a_full_personal_list_leaves_no_room_and_other_arms_get_trending_only(spark, three):
    events = interactions(spark, *[(user, "a", "like", 3) for user in ("u", "v", "w")])
    arms = [("u", PERSONALISED), ("v", NOT_PERSONALISED), ("w", HELD_OUT)]
    served = spark.createDataFrame(arms, "user_id string, arm string")
    known = contents(spark, *[(name, None, None) for name in "bcde"])
    rows = found(spark, three, events, known, served, [(name, [1.0]) for name in "abcde"])
    popular = {"trending": {"b", "c", "d"}}
    assert contents_by_source(rows) == {"u": {"als": {"b", "c", "d"}}, "v": popular, "w": popular}
    assert {(row["user_id"], row["arm"]) for row in rows.collect()} == set(arms)


def test_everyone_is_served_and_only_the_newest_answer_before_the_cut_counts(spark):
    asked = users(
        spark,
        ("refused", True, days_before(9)),
        ("refused", False, days_before(2)),
        ("agreed", False, days_before(9)),
        ("agreed", None, days_before(2)),
        ("will refuse", True, days_before(9)),
        ("will refuse", False, CUT),
        ("later", True, days_before(-1)),
    )
    active = interactions(spark, ("active", "a", "impression", 1), ("active later", "a", "like", -1))
    served = {r["user_id"]: r["personalised"] for r in people(asked, active, CUT).collect()}
    assert served == {"refused": False, "agreed": True, "will refuse": True, "active": True}
