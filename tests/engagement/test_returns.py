import math
from datetime import UTC, date, timedelta

import numpy as np
import pytest

from salience.engagement.returns import LABEL, inputs, labelled, latest, person_days
from tests.silver_rows import instant, interactions, user

AS_OF = date(2026, 11, 20)
HALF_LIVES = [1, 3]


@pytest.fixture
def engagement(settings):
    return settings.engagement.model_copy(update={"window_days": 10, "history_days": 8, "half_lives_days": HALF_LIVES})


def visits(seed=42):
    """Return events of four people on random days from the first of the month on, likes among them."""
    draw = np.random.default_rng(seed)
    rows = []
    for name in ("ann", "bob", "cyd", "dan"):
        days = sorted(draw.choice(20, size=draw.integers(1, 9), replace=False) + 1)
        for day in map(int, days):
            for _ in range(draw.integers(1, 4)):
                action = ("impression", "like", "play")[draw.integers(3)]
                rows.append({"user": name, "at": f"{day} {draw.integers(24):02d}:30", "action": action})
    return rows


def by_brute_force(rows, who, day):
    """Return the features of a person's day, or None where it is no row, by looking at all events."""
    start = AS_OF - timedelta(days=17)
    mine = [(instant(r["at"]).date(), r["action"]) for r in rows if r["user"] == who]
    known = [(d, action) for d, action in mine if start <= d <= day]
    if not known or (day - max(d for d, _ in known)).days > 7 + max(HALF_LIVES):
        return None
    days = {d for d, _ in known}

    def decayed(dates, half_life):
        return math.log1p(sum(2 ** (-(day - d).days / half_life) for d in dates))

    counted = {"visits": days, "events": [d for d, _ in known], "engagements": [d for d, a in known if a == "like"]}
    found = {f"{what}_{n}": decayed(of, h) for what, of in counted.items() for n, h in enumerate(HALF_LIVES)}
    return found | {
        "days_since_visit": math.log1p((day - max(days)).days),
        "days_known": math.log1p((day - min(days)).days),
        "weekday": str(day.weekday()),
        LABEL: int(any(day < d <= day + timedelta(days=7) for d, _ in mine)),
    }


def test_days_of_people_are_what_a_search_through_the_whole_log_finds(spark, engagement):
    rows = visits()
    days = person_days(interactions(spark, rows), AS_OF, engagement)
    found = {
        (row["user_id"].rstrip("0"), row["day"]): {name: row[name] for name in row.asDict()}
        for row in labelled(days, AS_OF).collect()
    }
    asked = [(who, AS_OF - timedelta(days=n)) for who in ("ann", "bob", "cyd", "dan") for n in range(30)]
    expected = {key: by_brute_force(rows, *key) for key in asked if key[1] + timedelta(days=7) <= AS_OF}
    expected = {key: row for key, row in expected.items() if row is not None}
    assert found.keys() == expected.keys()
    assert len(found) > 20 and {row[LABEL] for row in expected.values()} == {0, 1}
    names = inputs(engagement)
    for key, row in expected.items():
        assert {*row} == {*names.numeric, *names.categorical, LABEL}
        assert found[key]["weekday"] == row.pop("weekday")
        assert {name: found[key][name] for name in row} == pytest.approx(row, rel=1e-12)
        assert found[key]["event_time"].astimezone(UTC).date() == key[1] + timedelta(days=1)


def test_a_day_is_labelled_once_seven_days_lie_behind_it(spark, engagement):
    rows = [{"user": "ann", "at": "10 10:00"}, {"user": "ann", "at": "18 10:00"}, {"user": "bob", "at": "13 10:00"}]
    found = labelled(person_days(interactions(spark, rows), AS_OF, engagement), AS_OF)
    labels = {(row["user_id"].rstrip("0"), row["day"].day): row[LABEL] for row in found.collect()}
    # Ann comes back on the eighteenth, 8 days after her first visit; nobody knows yet about days after the thirteenth.
    assert labels == {("ann", 10): 0, ("ann", 11): 1, ("ann", 12): 1, ("ann", 13): 1, ("bob", 13): 0}


def test_a_later_event_changes_nothing_that_was_known(spark, engagement):
    rows = visits()
    later = [{"user": who, "at": f"{day} 10:00", "action": "like"} for who in ("ann", "eve") for day in (21, 24)]
    before, after = (
        sorted(map(str, person_days(interactions(spark, some), AS_OF, engagement).collect()))
        for some in (rows, [*rows, *later])
    )
    assert before == after


def test_the_as_of_days_rows_are_those_of_everyone_who_has_not_left(spark, engagement):
    rows = [{"user": "ann", "at": "20 10:00"}, {"user": "bob", "at": "10 10:00"}, {"user": "cyd", "at": "9 10:00"}]
    found = latest(person_days(interactions(spark, rows), AS_OF, engagement), AS_OF).collect()
    # Longer ago than a week and the longest half-life, 10 days in all: Cyd has left.
    assert {(row["user_id"], row["day"]) for row in found} == {(user("ann"), AS_OF), (user("bob"), AS_OF)}
