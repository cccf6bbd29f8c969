from datetime import date
from decimal import Decimal

import pytest
from pyspark.sql import functions as F

from salience.profiles.people import user_profiles
from salience.settings import ProfileSettings
from salience.tables import profiles
from salience.tables.conform import conform
from tests.profiles.rows import content_versions
from tests.silver_rows import interactions, user

SETTINGS = ProfileSettings(window_days=90, interest_half_life_days=2, interest_tags=2, dormant_after_days=14)
WEIGHTS = {"like": 2, "share": 4, "rate": 3}
AS_OF = date(2026, 11, 20)


def describe(spark, events, *contents, settings=SETTINGS, as_of=AS_OF):
    frame = user_profiles(
        interactions(spark, events),
        content_versions(spark, *contents),
        as_of,
        settings,
        action_weights=WEIGHTS,
        rating_scale_max=10,
    )
    conform(profiles.USER_PROFILES, frame.withColumn("release_id", F.lit("r")))
    return {(row["platform"], row["user_id"].rstrip("0")): row.asDict(recursive=True) for row in frame.collect()}


def test_recency_counts_days_to_the_as_of_day_and_frequency_counts_days(spark):
    events = [{"user": "ann", "at": at} for at in ("17 23:59", "17 08:00", "12 00:00")] + [
        {"user": "bob", "at": "20 00:00"}
    ]
    found = describe(spark, events)
    assert (found["feed", "ann"]["recency_days"], found["feed", "ann"]["frequency"]) == (3, 2)
    assert (found["feed", "bob"]["recency_days"], found["feed", "bob"]["frequency"]) == (0, 1)


def test_hours_and_weekdays_are_local_and_their_shares_sum_to_one(spark):
    events = [
        # 23:30 UTC on Sunday the 15th is 07:30 on Monday eight hours ahead, and 18:30 on Sunday five hours behind.
        {"user": "ann", "at": "15 23:30", "utc_offset_min": 480},
        {"user": "ann", "at": "15 23:30", "utc_offset_min": -300},
        {"user": "ann", "at": "15 23:30"},
        {"user": "ann", "at": "15 23:50"},
    ]
    found = describe(spark, events)["feed", "ann"]
    assert found["active_hours"] == [{7: 0.25, 18: 0.25, 23: 0.5}.get(hour, 0.0) for hour in range(24)]
    assert found["active_weekdays"] == [0.25, 0, 0, 0, 0, 0, 0.75]


def test_interest_tags_weigh_actions_and_halve_with_every_half_life(spark):
    contents = [{"content_id": "c1", "tags": ["pets"]}, {"content_id": "c2", "tags": ["cars", "film", "cars"]}]
    events = [
        # The as-of day ends at midnight: 2 days old weighs 1/2, 4 days old 1/4.
        {"user": "ann", "at": "19 00:00", "action": "like", "content_id": "c1"},
        {"user": "ann", "at": "17 00:00", "action": "share", "content_id": "c2"},
        {"user": "ann", "at": "17 00:00", "action": "like", "content_id": "c1"},
        {"user": "ann", "at": "20 00:00", "action": "impression", "content_id": "c2"},
    ]
    # pets 2/2 + 2/4 = 1.5, cars 4/4 = 1, film 1 (left out: two tags at most, ties by name); together 2.5.
    found = describe(spark, events, *contents)["feed", "ann"]["interest_tags"]
    assert found == [{"tag": "pets", "weight": 0.6}, {"tag": "cars", "weight": 0.4}]


def test_what_was_undone_weighs_nothing_and_a_rating_weighs_its_share_of_the_scale(spark):
    contents = [
        {"content_id": "c1", "tags": ["pets"]},
        {"content_id": "c2", "tags": ["cars"]},
        {"content_id": "c3", "tags": ["film"]},
    ]
    events = [
        {"user": "ann", "at": "10 00:00", "action": "like", "content_id": "c1"},
        {"user": "ann", "at": "19 00:00", "action": "unlike", "content_id": "c1"},
        {"user": "ann", "at": "19 00:00", "action": "rate", "rating": 5.0, "content_id": "c2"},
        {"user": "ann", "at": "19 00:00", "action": "rate", "rating": 10.0, "content_id": "c3"},
    ]
    found = describe(spark, events, *contents)["feed", "ann"]["interest_tags"]
    assert [item["tag"] for item in found] == ["film", "cars"]
    assert [item["weight"] for item in found] == pytest.approx([2 / 3, 1 / 3], abs=1e-15)


def test_favourite_creators_come_from_the_event_or_else_from_the_content(spark):
    events = [
        {"user": "ann", "at": "19 00:00", "action": "like", "creator_id": "zoe"},
        {"user": "ann", "at": "19 00:00", "action": "share"},
        {"user": "ann", "at": "19 00:00", "action": "share", "content_id": "unknown"},
        {"user": "ann", "at": "19 00:00", "action": "impression", "creator_id": "kim"},
    ]
    found = describe(spark, events, {"creator_id": "leo"})["feed", "ann"]
    assert found["favourite_creators"] == ["leo", "zoe"]


def test_someone_who_engaged_with_nothing_has_no_tags_and_no_creators(spark):
    found = describe(spark, [{"user": "ann", "at": "19 00:00", "creator_id": "zoe"}], {"tags": ["pets"]})["feed", "ann"]
    assert (found["interest_tags"], found["favourite_creators"]) == ([], [])
    assert (found["monetary"], found["watch_time_s"]) == (None, 0.0)


def test_purchases_add_up_in_one_currency_and_watch_time_in_seconds(spark):
    bought = {"action": "purchase", "value": Decimal("0.1"), "currency": "EUR", "at": "19 00:00"}
    events = [{"user": "ann", **bought}] * 3 + [{"user": "bob", **bought}, {"user": "bob", **bought, "currency": "USD"}]
    events += [{"user": "ann", "at": "18 00:00", "action": "play", "dwell_s": seconds} for seconds in (0.1, 0.2)]
    unnamed = {"user": "cyd", **bought, "currency": None}
    events += [unnamed, unnamed, {"user": "dan", **bought}, unnamed | {"user": "dan"}]
    found = describe(spark, events)
    assert (found["feed", "ann"]["monetary"], found["feed", "ann"]["watch_time_s"]) == (Decimal("0.3000"), 0.3)
    spent = {
        name: (found["feed", name]["monetary"], found["feed", name]["monetary_currency"])
        for name in ("ann", "bob", "cyd", "dan")
    }
    # What Dan paid in an unknown currency cannot be added to his euros.
    assert spent == {
        "ann": (Decimal("0.3000"), "EUR"),
        "bob": (None, None),
        "cyd": (Decimal("0.2000"), None),
        "dan": (None, None),
    }


def test_the_same_user_id_on_two_platforms_is_two_people(spark):
    found = describe(spark, [{"user": "ann", "at": "19 00:00"}, {"user": "ann", "at": "12 00:00", "platform": "video"}])
    assert {key: row["recency_days"] for key, row in found.items()} == {("feed", "ann"): 1, ("video", "ann"): 8}


def test_lifecycle_tells_the_new_the_active_and_the_dormant(spark):
    first_day = {"user": "old", "at": "1 00:00"}
    events = [
        first_day,
        {"user": "new", "at": "14 00:00"},
        {"user": "active", "at": "13 23:59"},
        {"user": "active", "at": "20 10:00"},
        {"user": "dormant", "at": "6 23:59"},
    ]
    found = {name: row["lifecycle_status"] for (_, name), row in describe(spark, events).items()}
    assert found == {"old": "dormant", "new": "new", "active": "active", "dormant": "dormant"}


def test_nobody_is_new_on_a_log_that_reaches_back_no_further_than_new_people_do(spark):
    assert describe(spark, [{"user": "ann", "at": "14 00:00"}])["feed", "ann"]["lifecycle_status"] == "active"


def test_nothing_outside_the_window_counts(spark):
    inside = [{"user": "ann", "at": "18 00:00", "action": "like"}]
    outside = [
        {"user": "ann", "at": "21 00:00", "action": "share", "creator_id": "zoe"},
        {"user": "ann", "at": "17 23:59", "action": "share", "creator_id": "zoe"},
        {"user": "bob", "at": "21 00:00"},
    ]
    later_version = {"tags": ["cars"], "valid_from": "21 00:00"}
    earlier_version = {"tags": ["pets"], "valid_to": "21 00:00"}
    three_days = SETTINGS.model_copy(update={"window_days": 3})
    known = describe(spark, inside, {"tags": ["pets"]}, settings=three_days)
    assert describe(spark, inside + outside, earlier_version, later_version, settings=three_days) == known
    assert known["feed", "ann"]["interest_tags"] == [{"tag": "pets", "weight": 1.0}]


@pytest.mark.integration
def test_profiles_do_not_depend_on_the_partitioning(spark):
    events = [
        {"user": "ann", "at": f"{1 + n % 19} {n % 24:02d}:{n % 60:02d}", "action": "like", "content_id": f"c{n % 7}"}
        for n in range(200)
    ]
    contents = content_versions(spark, *({"content_id": f"c{n}", "tags": ["pets", f"t{n % 3}"]} for n in range(7)))
    frame = interactions(spark, events)

    def tags(order, partitions):
        shuffled = frame.orderBy(order).repartition(partitions)
        found = user_profiles(shuffled, contents, AS_OF, SETTINGS, action_weights=WEIGHTS, rating_scale_max=10)
        return found.where(F.col("user_id") == user("ann")).head()["interest_tags"]

    assert tags(F.col("event_id"), 1) == tags(F.col("event_id").desc(), 7)
