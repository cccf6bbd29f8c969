from datetime import UTC, date, datetime

import pytest

from salience.metrics.audience import audience_daily
from salience.settings import MetricSettings
from salience.tables import activity
from salience.tables.conform import conform
from salience.tables.suppression import publishable
from tests.silver_rows import interactions, users


def day(number):
    return date(2026, 11, number)


def measure(spark, rows, days, *people, attributes=()):
    """Return the measured rows by day of November, platform and segment."""
    settings = MetricSettings(segment_attributes=list(attributes), positive_actions=["like"])
    known = users(spark, people or [{"user": "nobody", "attributes": {}, "valid_from": "1 00:00"}])
    frame = audience_daily(interactions(spark, rows), known, [day(number) for number in days], settings)
    measured = conform(activity.AUDIENCE_DAILY, publishable(activity.AUDIENCE_DAILY, frame, 1)).collect()
    found = {(row["event_date"].day, row["platform"], row["segment"]): row.asDict() for row in measured}
    assert len(found) == len(measured)
    return found


def sizes(found):
    return {key: (row["dau"], row["wau_7d"], row["mau_28d"]) for key, row in found.items()}


def test_a_person_counts_for_7_and_for_28_days_and_then_no_more(spark):
    rows = [{"user": "ann", "at": "1 00:00"}, {"user": "ann", "at": "1 23:59:59"}]
    found = measure(spark, rows, [1, 2, 7, 8, 28, 29])
    assert sizes(found) == {
        (1, "feed", "all"): (1, 1, 1),
        (2, "feed", "all"): (0, 1, 1),
        (7, "feed", "all"): (0, 1, 1),
        (8, "feed", "all"): (0, 0, 1),
        (28, "feed", "all"): (0, 0, 1),
    }


def test_people_are_counted_once_however_often_they_come(spark):
    rows = [
        {"user": "ann", "at": "10 10:00"},
        {"user": "ann", "at": "10 11:00", "action": "like"},
        {"user": "ann", "at": "5 10:00"},
        {"user": "bob", "at": "9 10:00"},
        {"user": "bob", "at": "4 10:00"},
        {"user": "cyd", "at": "3 10:00"},
        {"user": "ann", "at": "10 10:00", "platform": "video"},
        {"user": "dan", "at": "11 00:00"},  # after the day
    ]
    found = measure(spark, rows, [10])
    assert sizes(found) == {(10, "feed", "all"): (1, 2, 3), (10, "video", "all"): (1, 1, 1)}
    assert found[10, "feed", "all"]["stickiness_dau_over_mau"] == pytest.approx(1 / 3, rel=1e-15)


def test_watch_time_is_that_of_the_day_over_all_who_were_active_on_it(spark):
    rows = [
        {"user": "ann", "at": "10 10:00", "action": "play", "dwell_s": "10.5"},
        {"user": "ann", "at": "10 11:00", "action": "play", "dwell_s": 20},
        {"user": "bob", "at": "10 10:00"},
        {"user": "ann", "at": "9 10:00", "action": "play", "dwell_s": 500},
        {"user": "cyd", "at": "8 10:00", "action": "play", "dwell_s": 900},
    ]
    found = measure(spark, rows, [10, 11])
    assert found[10, "feed", "all"]["watch_time_s_by_active_user"] == 30.5 / 2
    nobody = found[11, "feed", "all"]
    assert (nobody["dau"], nobody["watch_time_s_by_active_user"], nobody["stickiness_dau_over_mau"]) == (0, None, 0.0)


def test_a_day_is_complete_once_its_platforms_log_is_28_days_long(spark):
    rows = [
        {"user": "ann", "at": "2 10:00"},
        {"user": "ann", "at": "28 10:00"},
        {"user": "ann", "at": datetime(2026, 10, 1, tzinfo=UTC), "platform": "video"},
        {"user": "ann", "at": "28 10:00", "platform": "video"},
    ]
    found = measure(spark, rows, [28, 29])
    assert {key[:2]: row["is_complete"] for key, row in found.items()} == {
        (28, "feed"): False,
        (29, "feed"): True,
        (28, "video"): True,
        (29, "video"): True,
    }


def test_a_person_counts_in_the_segments_of_the_end_of_the_day(spark):
    people = [
        {"user": "ann", "attributes": {"region": "eu"}, "valid_from": "1 00:00", "valid_to": "3 00:00"},
        {"user": "ann", "attributes": {"region": "us"}, "valid_from": "3 00:00"},
        {"user": "bob", "attributes": {"region": "eu", "age": "old"}, "valid_from": "3 12:00"},
        {"user": "cyd", "attributes": {"age": "old"}, "valid_from": "1 00:00"},
    ]
    rows = [
        *({"user": name, "at": "2 10:00"} for name in ("ann", "bob", "cyd", "eve")),
        {"user": "bob", "at": "3 10:00"},
    ]
    found = measure(spark, rows, [2, 3], *people, attributes=["region", "age"])
    assert sizes(found) == {
        (2, "feed", "all"): (4, 4, 4),
        (2, "feed", "region=eu"): (1, 1, 1),  # ann; bob is not known yet
        (2, "feed", "age=old"): (1, 1, 1),
        (3, "feed", "all"): (1, 4, 4),
        (3, "feed", "region=us"): (0, 1, 1),  # ann moved, and what she did before went with her
        (3, "feed", "region=eu"): (1, 1, 1),  # bob
        (3, "feed", "age=old"): (1, 2, 2),
    }
