from datetime import UTC, date, datetime

import pytest

from salience.recommend.confidence import preferences
from salience.recommend.split import cuts, judged_people
from tests.recommend.rows import CUT, days_before, interactions


@pytest.fixture
def judged(settings):
    chosen = settings.recommend.model_copy(update={"relevant_actions": ["like", "rate"], "relevant_rating": 7.0})

    def judge(events):
        cut = days_before(5)
        people = judged_people(events, preferences(events, cut, chosen), cut, days_before(2), chosen)
        return {r["user_id"]: (sorted(r["seen"]), r["relevant"]) for r in people.collect()}

    return judge


def test_two_windows_of_a_fractional_length_end_with_the_as_of_day():
    found = cuts(date(2026, 11, 10), 1.5)
    assert found.report_end == CUT
    assert found.choose_end == datetime(2026, 11, 9, 12, tzinfo=UTC)
    assert found.train_end == datetime(2026, 11, 8, tzinfo=UTC)
    assert "[2026-11-09T12:00:00Z, 2026-11-11T00:00:00Z)" in found.describe()


def test_people_are_judged_on_relevant_contents_that_are_new_to_them(spark, judged):
    events = interactions(
        spark,
        ("known", "a", "like", 9),
        ("known", "b", "impression", 9),
        ("known", "a", "like", 4),  # seen: liked before
        ("known", "b", "like", 4),  # seen: shown before
        ("known", "c", "like", 4),
        ("known", "d", "impression", 4),  # not relevant
        ("known", "e", "like", 1),  # after the window
        ("known", "f", "like", 5),  # at the cut: in the window
        ("known", "g", "rate", 4, 7.0),
        ("known", "h", "rate", 4, 6.5),
        ("known", "i", "rate", 4),
    )
    assert judged(events) == {"known": (["a", "b"], ["c", "f", "g"])}


def test_people_without_a_preference_before_or_anything_new_after_are_not_judged(spark, judged):
    events = interactions(
        spark,
        ("newcomer", "c", "like", 4),
        ("onlooker", "a", "impression", 9),
        ("onlooker", "c", "like", 4),
        ("faithful", "a", "like", 9),
        ("faithful", "a", "like", 4),
        ("gone", "a", "like", 9),
    )
    assert judged(events) == {}
