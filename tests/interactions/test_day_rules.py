"""Day rules on events of a few people, each verdict worked out by hand."""

from datetime import date, datetime, timedelta

import pytest
from pyspark.sql import functions as F
from tests.conftest import CONF

from salience.interactions.day_rules import judge_days
from salience.interactions.rules import DAY_RULES, MAY_BE_BOT
from salience.settings import load_settings
from salience.tables import silver

DAY = date(2026, 11, 2)
COLUMNS = "platform string, event_id string, user_id string, content_id string, action string, event_time timestamp"
COLUMNS += ", event_date date, delivery_date date, row_hash bigint, source_file string"
SETTINGS = load_settings(
    CONF,
    "local",
    {},
    [
        "clean.bot.max_events_per_day=20",
        "clean.bot.max_events_per_minute=10",
        "clean.bot.regular_events=8",
        "clean.bot.regular_variation=0.05",
        "clean.double_tap.seconds=1",
    ],
).clean


def event(event_id, seconds=0.0, **changes):
    """Return an event `seconds` after 10 o'clock of the day."""
    at = datetime(2026, 11, 2, 10) + timedelta(seconds=seconds)
    row = {
        "platform": "feed",
        "event_id": event_id,
        "user_id": "ann",
        "content_id": "p1",
        "action": "like",
        "event_time": at,
        "event_date": at.date(),
        "delivery_date": DAY,
        "row_hash": 1,
        "source_file": "a",
    }
    return tuple((row | changes).values())


@pytest.fixture
def judge(spark):
    def verdicts(events, withdrawn=None, erased=None, days=(DAY,)):
        spans = "user_id string, valid_from timestamp, valid_to timestamp"
        judged = judge_days(
            spark.createDataFrame(events, COLUMNS).withColumn(MAY_BE_BOT, F.lit(True)),
            spark.createDataFrame(withdrawn, spans) if withdrawn else None,
            spark.createDataFrame(erased, "user_id string") if erased else None,
            list(days),
            SETTINGS,
        )
        return {
            (row["event_id"], row["delivery_date"].day, row["row_hash"]): (row["reasons"], row["winner_event_id"])
            for row in judged.collect()
        }

    return verdicts


def reasons(verdicts):
    return {event_id: found for (event_id, _, _), (found, _) in verdicts.items()}


def test_of_copies_the_smallest_delivery_and_hash_stays(judge):
    later = DAY + timedelta(days=1)
    found = judge([event("e1", delivery_date=later), event("e1", row_hash=5), event("e1", row_hash=3), event("e2", 60)])
    assert found == {
        ("e1", 2, 3): ([], None),
        ("e1", 2, 5): (["duplicate"], "e1"),
        ("e1", 3, 1): (["duplicate"], "e1"),
        ("e2", 2, 1): ([], None),
    }


def test_the_same_id_at_another_time_is_another_event(spark):
    events = spark.createDataFrame([event("e1"), event("e1", 600), event("e2", 900)], COLUMNS)
    events = events.withColumn(MAY_BE_BOT, F.lit(True))
    rows = judge_days(events, None, None, [DAY], SETTINGS).orderBy("event_time").collect()
    assert [(row["event_id"], row["is_reused"], row["reasons"]) for row in rows] == [
        ("e1", False, []),
        ("e1", True, []),
        ("e2", False, []),
    ]


def test_the_same_to_the_same_content_within_a_second_is_a_double_tap(judge):
    found = judge(
        [
            event("first"),
            event("tap", 0.9),
            event("later", 2.0),
            event("other content", 2.5, content_id="p2"),
            event("other action", 0.5, action="share"),
            event("other person", 0.5, user_id="bob"),
            event("shown", 2.0, action="impression", content_id="p3"),
            event("shown again", 2.1, action="impression", content_id="p3"),
            event("follow", 3.0, action="follow", content_id=None),
            event("another follow", 3.1, action="follow", content_id=None),
        ]
    )
    taps = {key[0]: winner for key, (found, winner) in found.items() if found}
    assert taps == {"tap": "first"}


def test_a_double_tap_looks_back_over_midnight_and_a_copy_is_none(judge):
    before = event("before", event_time=datetime(2026, 11, 1, 23, 59, 59, 600_000), event_date=date(2026, 11, 1))
    after = {"event_time": datetime(2026, 11, 2, 0, 0, 0, 200_000)}
    found = judge([before, event("after", **after), event("after", **after, row_hash=2)])
    assert found == {("after", 2, 1): (["double_tap"], "before"), ("after", 2, 2): (["duplicate"], "after")}


@pytest.mark.parametrize(
    ("seconds", "is_bot"),
    [
        ([97 * n + (n * n * 7) % 41 for n in range(21)], True),  # one more than a day may have
        ([97 * n + (n * n * 7) % 41 for n in range(20)], False),
        ([5 * n + n % 3 for n in range(11)], True),  # eleven within a minute
        ([5 * n + n % 3 for n in range(10)], False),
        ([60 * n for n in range(8)], True),  # every minute on the second
        ([60 * n for n in range(7)], False),  # too few to tell
        ([60 * n + 8 * (n % 2) for n in range(8)], False),  # gaps of 68 and 52 s: variation .13
    ],
)
def test_too_many_too_fast_or_too_regular_events_are_a_bots(judge, seconds, is_bot):
    mine = [event(f"e{n}", at, content_id=f"p{n}") for n, at in enumerate(seconds)]
    copies = [event(f"e{n}", at, content_id=f"p{n}", row_hash=2) for n, at in enumerate(seconds)]
    found = judge([*mine, *copies, event("bob", user_id="bob")])
    assert found.pop(("bob", 2, 1)) == ([], None)
    first = {tuple(found[f"e{n}", 2, 1][0]) for n in range(len(seconds))}
    assert first == {("bot",) if is_bot else ()}
    assert {tuple(found[f"e{n}", 2, 2][0]) for n in range(len(seconds))} == {("duplicate",)}


def test_consent_counts_from_its_withdrawal_to_its_return(judge):
    day = datetime(2026, 11, 2)
    spans = [("ann", day + timedelta(hours=10, seconds=10), day + timedelta(hours=10, seconds=20))]
    spans.append(("bob", day, None))
    events = [event(f"at {at}", at, content_id=f"p{at}") for at in (9, 10, 19, 20)]
    found = judge([*events, event("bobs", 500, user_id="bob"), event("cats", user_id="cat")], spans)
    assert reasons(found) == {
        "at 9": [],
        "at 10": ["consent"],
        "at 19": ["consent"],
        "at 20": [],
        "bobs": ["consent"],
        "cats": [],
    }


def test_every_rule_that_an_event_breaks_is_kept_in_order_of_precedence(judge):
    spans = [("ann", datetime(2026, 11, 1), None)]
    found = judge([event("e1"), event("e2", 0.5), event("e2", 0.5, row_hash=2)], spans, [("ann",), ("ann",)])
    assert found == {
        ("e1", 2, 1): (["erased", "consent"], None),
        ("e2", 2, 1): (["erased", "consent", "double_tap"], None),
        ("e2", 2, 2): (["erased", "consent", "duplicate"], None),
    }


def test_the_table_of_excluded_events_knows_the_rules_in_their_order():
    assert tuple(rule.name for rule in DAY_RULES) == silver.DAY_REASONS
