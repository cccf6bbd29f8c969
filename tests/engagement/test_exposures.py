from datetime import date

import pytest

from salience.engagement.exposures import exposures, labelled
from tests.silver_rows import interactions

AS_OF = date(2026, 11, 5)


@pytest.fixture
def engagement(settings):
    return settings.engagement.model_copy(
        update={"window_days": 5, "history_days": 0, "positive_actions": ["like", "share"]}
    )


@pytest.fixture
def engaged(spark, engagement):
    """Return by event_id (e00000 is the first row) the time at which an exposure engaged."""

    def run(*rows, as_of=AS_OF):
        found = exposures(interactions(spark, rows), as_of, engagement).collect()
        return {row["event_id"]: row["engaged_at"] and row["engaged_at"].strftime("%d %H:%M:%S") for row in found}

    return run


def test_an_action_credits_only_the_last_exposure_before_it(engaged):
    found = engaged(
        {"user": "ann", "at": "2 10:00"},
        {"user": "ann", "at": "2 11:00"},
        {"user": "ann", "at": "2 11:30", "action": "like"},
        {"user": "ann", "at": "2 12:00"},
    )
    assert found == {"e00000": None, "e00001": "02 11:30:00", "e00003": None}


def test_the_first_of_several_actions_is_when_an_exposure_engaged(engaged):
    found = engaged(
        {"user": "ann", "at": "2 12:00", "action": "share"},
        {"user": "ann", "at": "2 10:00"},
        {"user": "ann", "at": "2 11:00", "action": "like"},
    )
    assert found == {"e00001": "02 11:00:00"}


def test_an_action_of_another_person_content_or_kind_credits_nothing(engaged):
    found = engaged(
        {"user": "ann", "at": "2 10:00"},
        {"user": "bob", "at": "2 10:01", "action": "like"},
        {"user": "ann", "at": "2 10:02", "action": "like", "content_id": "c2"},
        {"user": "ann", "at": "2 10:03", "action": "click"},
        {"user": "ann", "at": "2 09:59", "action": "like"},
        {"user": "ann", "at": "2 10:04", "action": "like", "platform": "video"},
    )
    assert found == {"e00000": None}


def test_an_action_at_the_exposures_own_instant_counts_and_one_a_window_later_does_not(engaged):
    found = engaged(
        {"user": "ann", "at": "2 10:00"},
        {"user": "ann", "at": "2 10:00", "action": "like"},
        {"user": "bob", "at": "2 10:00"},
        {"user": "bob", "at": "3 10:00", "action": "like"},
        {"user": "cyd", "at": "2 10:00"},
        {"user": "cyd", "at": "3 09:59:59", "action": "like"},
    )
    assert found == {"e00000": "02 10:00:00", "e00002": None, "e00004": "03 09:59:59"}


def test_views_are_the_exposures_only_where_no_impression_is_logged(engaged):
    found = engaged(
        {"user": "ann", "at": "2 10:00", "action": "view", "platform": "shop"},
        {"user": "ann", "at": "2 10:05", "action": "like", "platform": "shop"},
        {"user": "ann", "at": "2 10:00", "action": "view"},
        {"user": "ann", "at": "2 10:01"},
    )
    assert found == {"e00000": "02 10:05:00", "e00003": None}


def test_neither_what_lies_before_the_window_nor_after_the_as_of_day_is_seen(engaged):
    found = engaged(
        {"user": "ann", "at": "1 00:00"},
        {"user": "ann", "at": "5 23:59"},
        {"user": "ann", "at": "6 00:00", "action": "like"},
        {"user": "ann", "at": "6 00:00"},
        {"user": "ann", "at": "2 10:00", "action": "follow", "content_id": None},
    )
    assert found == {"e00000": None, "e00001": None}
    assert engaged({"user": "ann", "at": "1 00:00"}, {"user": "ann", "at": "3 10:00"}, as_of=date(2026, 11, 6)) == {
        "e00001": None
    }


def test_the_hour_is_the_persons_own(spark, engagement):
    rows = [
        {"user": "ann", "at": "2 20:30", "utc_offset_min": 330},
        {"user": "bob", "at": "2 00:30", "utc_offset_min": -60},
        {"user": "cyd", "at": "2 07:30"},
    ]
    found = exposures(interactions(spark, rows), AS_OF, engagement).orderBy("event_id").select("local_hour").collect()
    assert [row[0] for row in found] == [2, 23, 7]


def test_exposures_whose_label_window_is_open_at_the_cut_are_left_out(spark, engagement):
    rows = [
        {"user": "ann", "at": "5 00:00"},  # its window ends with the as-of day
        {"user": "bob", "at": "5 00:00:01"},
        {"user": "cyd", "at": "4 10:00"},
        {"user": "cyd", "at": "4 11:00", "action": "like"},
    ]
    exposed = exposures(interactions(spark, rows), AS_OF, engagement)
    found = labelled(exposed, AS_OF, engagement)
    assert "engaged_at" not in found.columns
    assert {(row["event_id"], row["engage_24h"]) for row in found.collect()} == {("e00000", 0), ("e00002", 1)}
