"""Which events are looked at beside others: everything that bears on a verdict, and little else."""

from datetime import date, datetime, timedelta

import pytest
from tests.conftest import CONF

from salience.interactions import suspects as module
from salience.interactions.suspects import suspects
from salience.settings import load_settings

COLUMNS = "event_id string, raw_user_id string, user_id string, content_id string, action string"
COLUMNS += ", event_time timestamp, event_date date"
LIMITS = ["max_events_per_day=9", "max_events_per_minute=5", "regular_events=4"]
CLEAN = load_settings(CONF, "local", {}, [f"clean.bot.{limit}" for limit in LIMITS]).clean
NOON = datetime(2026, 11, 2, 12)


def event(event_id, hours=0.0, who="ann", content_id=None, action="impression"):
    at = NOON + timedelta(hours=hours)
    return event_id, who, who, content_id or event_id, action, at, at.date()


@pytest.fixture
def split(spark):
    def ids(events, besides=()):
        frame = spark.createDataFrame(events, COLUMNS)
        people = spark.createDataFrame([(who,) for who in besides], "user_id string") if besides else None
        with suspects(frame, CLEAN) as found:
            parts = found.split(frame, people)
            return tuple(sorted(row["event_id"] for row in part.collect()) for part in parts)

    return ids


def test_an_event_that_shares_nothing_is_not_suspect(split):
    assert split([event("e1"), event("e2", 1), event("e3", 2, "bob")]) == ([], ["e1", "e2", "e3"])


def test_all_copies_of_an_id_are_suspect_whoever_they_are_of_and_whenever(split):
    copies = [event("e1"), event("e1", 30, "bob"), event("e2", 1)]
    assert split(copies) == (["e1", "e1"], ["e2"])


def test_all_events_of_a_day_are_suspect_from_as_many_on_as_could_be_a_machines(split):
    four = [event(f"a{n}", n) for n in range(4)]
    three = [event(f"b{n}", n, "bob") for n in range(3)]
    next_day = [event("a9", 24)]
    assert split([*four, *three, *next_day]) == (["a0", "a1", "a2", "a3"], ["a9", "b0", "b1", "b2"])


def test_the_same_done_twice_is_suspect_also_over_midnight_but_only_what_may_be_a_double_tap(split):
    liked = [event("e1", 11.9, content_id="p", action="like"), event("e2", 12.1, content_id="p", action="like")]
    seen = [event("e3", 1, "bob", "p"), event("e4", 2, "bob", "p")]
    follows = [(f"e{n}", "eve", "eve", None, "follow", NOON, date(2026, 11, 2)) for n in (5, 6)]
    assert split([*liked, *seen, *follows]) == (["e1", "e2"], ["e3", "e4", "e5", "e6"])


def test_events_of_people_to_be_watched_are_suspect(split):
    assert split([event("e1"), event("e2", 0, "bob")], besides=["bob"]) == (["e2"], ["e1"])


def test_where_too_much_is_shared_all_events_are_looked_at(split, monkeypatch):
    events = [event("e1"), event("e1"), event("e2", 1), event("e2", 1), event("e3", 2, "bob")]
    assert split(events) == (["e1", "e1", "e2", "e2"], ["e3"])
    monkeypatch.setattr(module, "MOST_KEYS", 1)
    assert split(events) == (["e1", "e1", "e2", "e2", "e3"], [])
