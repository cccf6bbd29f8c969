"""Which events are looked at beside others: everything that bears on a verdict, and little else."""

from datetime import date, datetime, timedelta
from itertools import accumulate
from math import sqrt

import pytest
from pyspark.sql import functions as F
from tests.conftest import CONF

from salience.interactions import suspects as module
from salience.interactions.day_rules import judge_days
from salience.interactions.rules import MAY_BE_BOT
from salience.interactions.suspects import suspects
from salience.settings import load_settings

COLUMNS = "event_id string, raw_user_id string, user_id string, content_id string, action string"
COLUMNS += ", event_time timestamp, event_date date"
LIMITS = ["max_events_per_day=9", "max_events_per_minute=5", "regular_events=4"]
CLEAN = load_settings(CONF, "local", {}, [f"clean.bot.{limit}" for limit in LIMITS]).clean
DAY = date(2026, 11, 2)
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
    copies = [event("e1"), event("e1", 30, "bob"), event("e2", 1, "eve")]
    assert split(copies) == (["e1", "e1"], ["e2"])


def test_all_events_of_a_day_are_suspect_from_as_many_on_as_could_be_a_machines(split):
    four = [event(f"a{n}", n) for n in range(4)]
    three = [event(f"b{n}", n, "bob") for n in range(3)]
    next_day = [event("a9", 24)]
    assert split([*four, *three, *next_day]) == (["a0", "a1", "a2", "a3"], ["a9", "b0", "b1", "b2"])


def test_a_day_with_a_pause_is_a_persons_unless_it_holds_more_events_than_a_person_makes(split):
    morning = [-11.0, -10.9, -10.8, -10.7]
    ann = [event(f"a{n}", hours) for n, hours in enumerate([*morning, 8])]
    bob = [event(f"b{n}", hours, "bob") for n, hours in enumerate([*morning, 8, 8.1])]
    assert split([*ann, *bob]) == (["b0", "b1", "b2", "b3", "b4", "b5"], ["a0", "a1", "a2", "a3", "a4"])


@pytest.fixture
def verdicts(spark):
    """Return each excluded event with its reason, and the same where all events are looked at."""

    def judged(events, variation=0.05):
        settings = load_settings(CONF, "local", {}, [f"clean.bot.regular_variation={variation}"]).clean
        rows = [(*one, DAY, n, "") for n, one in enumerate(events)]
        frame = spark.createDataFrame(rows, f"{COLUMNS}, delivery_date date, row_hash long, source_file string")
        with suspects(frame, settings) as found:
            looked_at = found.split(frame)[0], frame.withColumn(MAY_BE_BOT, F.lit(True))
            excluded = [judge_days(part, None, None, [DAY], settings).where("reason IS NOT NULL") for part in looked_at]
            return [sorted((row["row_hash"], row["reason"]) for row in part.collect()) for part in excluded]

    return judged


@pytest.mark.parametrize("variation", [0.05, 0.5])
def test_a_day_as_little_regular_as_a_machines_may_be_is_suspect_wherever_its_longest_gap_lies(verdicts, variation):
    """Of all days that just pass for regular, those with one long gap among equal ones have the longest."""
    gaps, hours = 59, 23.9
    longer = 0.99 * variation * sqrt(gaps - 1)
    days = []
    for place in range(gaps):
        lengths = [hours / gaps * (1 + (longer if n == place else -longer / (gaps - 1))) for n in range(gaps)]
        times = accumulate(lengths, initial=-11.95)
        days += [event(f"{place} {n}", at, f"who-{place}") for n, at in enumerate(times)]
    assert verdicts(days, variation) == [[(n, "bot") for n in range(len(days))]] * 2


def test_a_machines_day_is_not_hidden_behind_a_pause_up_to_a_copy_of_somebody_elses_event(verdicts):
    midnight = -12
    copied = [event("x", midnight, "bob"), event("x", midnight)]
    machine = [event(f"e{n}", n / 12) for n in range(61)]
    expected = [(1, "duplicate"), *((n, "bot") for n in range(2, 63))]
    assert verdicts([*copied, *machine]) == [expected, expected]


def test_a_day_is_not_a_machines_for_being_regular_in_the_part_that_is_looked_at(verdicts):
    """Of the events after the pause each came twice, so that only they are looked at."""
    regular = [event(f"e{n}", n / 12) for n in range(61)]
    expected = [(n, "duplicate") for n in range(62, 123)]
    assert verdicts([event("first", -12), *regular, *regular]) == [expected, expected]


def test_the_same_done_twice_is_suspect_also_over_midnight_but_only_what_may_be_a_double_tap(split):
    liked = [event("e1", 11.9, content_id="p", action="like"), event("e2", 12.1, content_id="p", action="like")]
    seen = [event("e3", 1, "bob", "p"), event("e4", 2, "bob", "p")]
    follows = [(f"e{n}", "eve", "eve", None, "follow", NOON, DAY) for n in (5, 6)]
    assert split([*liked, *seen, *follows]) == (["e1", "e2"], ["e3", "e4", "e5", "e6"])


def test_events_of_people_to_be_watched_are_suspect(split):
    assert split([event("e1"), event("e2", 0, "bob")], besides=["bob"]) == (["e2"], ["e1"])


def test_where_too_much_is_shared_all_events_are_looked_at(split, monkeypatch):
    events = [event("e1"), event("e1"), event("e2", 1), event("e2", 1), event("e3", 2, "bob")]
    assert split(events) == (["e1", "e1", "e2", "e2"], ["e3"])
    monkeypatch.setattr(module, "MOST_KEYS", 1)
    assert split(events) == (["e1", "e1", "e2", "e2", "e3"], [])
