import pytest

from salience.recommend.worth import facts
from tests.recommend.rows import CUT, contents, days_before, interactions

CHANGED = {
    "action_values": {"share": 4.0, "rate": 0.0},
    "value_prior_engagements": 2.0,
    "freshness_boost": 0.5,
    "freshness_half_life_days": 2.0,
}


def told(spark, settings, events, known, **changed):
    rank = settings.recommend.rank.model_copy(update={**CHANGED, **changed})
    frame = facts(interactions(spark, *events), known, CUT, settings.recommend.model_copy(update={"rank": rank}))
    return {row["content_id"]: row for row in frame.collect()}


def test_values_and_freshness_by_hand(spark, settings):
    events = [
        ("u", "a", "share", 3),
        ("v", "a", "share", 3),
        ("u", "b", "like", 3),
        ("v", "b", "like", 3),
        ("v", "b", "unlike", 2),
        ("w", "b", "rate", 3, 9.0),
        ("w", "a", "rate", 3, 1.0),
        ("u", "c", "impression", 3),
        ("u", "c", "share", -1),
        ("u", None, "follow", 3),
    ]
    rows = [
        ("a", days_before(2), None),
        ("b", days_before(4), None),
        ("new", days_before(-1), None),
        ("old", None, None),
    ]
    known = contents(spark, *rows)
    found = told(spark, settings, events, known)
    # Two shares by 4, a like by 1 and a good rating by 0; a like was taken back, a bad rating is no engagement.
    usual = (4 + 4 + 1 + 0) / 4
    values = {"a": (8 + 2 * usual) / 4, "b": (1 + 2 * usual) / 4} | dict.fromkeys(("c", "new", "old"), usual)
    assert {content: row["engagement_value"] for content, row in found.items()} == pytest.approx(values)
    boosts = {"a": 1.25, "b": 1.125, "c": 1.0, "new": 1.5, "old": 1.0}
    assert {content: row["boost"] for content, row in found.items()} == pytest.approx(boosts)
    assert found["c"]["creator_id"] is None and found["c"]["tags"] == []
    unsmoothed = told(spark, settings, events, known, value_prior_engagements=0.0)
    assert [unsmoothed[content]["engagement_value"] for content in "abc"] == [4.0, 0.5, usual]


def test_where_nobody_engaged_an_engagement_is_worth_1(spark, settings):
    found = told(spark, settings, [("u", "a", "impression", 3)], contents(spark, ("b", None, None)))
    assert {content: row["engagement_value"] for content, row in found.items()} == {"a": 1.0, "b": 1.0}
