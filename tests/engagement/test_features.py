import math
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest
from pyspark.sql import functions as F

from salience.engagement.exposures import exposures, labelled
from salience.engagement.features import FEATURES, features
from tests.silver_rows import contents, instant, interactions, user

AS_OF = date(2026, 11, 6)
TAGS = {"c0": ["art"], "c1": ["art", "food"], "c2": [], "c3": None, "c4": ["food", "music", "food"]}
K = 20.0


@pytest.fixture
def engagement(settings):
    return settings.engagement.model_copy(update={"window_days": 6, "prior_exposures": K})


def random_log(seed: int, rows: int) -> list[dict]:
    """Return events of three people on a grid of ten minutes, so that many share an instant."""
    draw = np.random.default_rng(seed)
    start = instant("1 00:00")
    return [
        {
            "user": ("ann", "bob", "cyd")[draw.integers(3)],
            "content_id": f"c{draw.integers(6)}",  # c5 is not among the contents
            "action": ("impression", "like")[int(draw.random() < 0.4)],
            "at": start + timedelta(minutes=int(draw.integers(0, 6 * 144)) * 10),
        }
        for _ in range(rows)
    ]


def known_events(rows):
    """Return (time, who, what, exposed, engaged) of every exposure and engagement, found by looking at all pairs."""
    shown = [r for r in rows if r["action"] == "impression"]
    events = [(r["at"], r["user"], r["content_id"], 1, 0) for r in shown]
    for n, r in enumerate(shown):
        same = [s for s in shown if (s["user"], s["content_id"]) == (r["user"], r["content_id"])]
        # Of exposures at one instant the last logged one takes over.
        later = [s["at"] for s in same if s["at"] > r["at"] or (s["at"] == r["at"] and shown.index(s) > n)]
        until = min([r["at"] + timedelta(hours=24), *later])
        likes = [
            a["at"]
            for a in rows
            if a["action"] == "like"
            and (a["user"], a["content_id"]) == (r["user"], r["content_id"])
            and r["at"] <= a["at"] < until
        ]
        if likes:
            events.append((min(likes), r["user"], r["content_id"], 0, 1))
    return events


def by_brute_force(events, who, what, at, peek=timedelta(0)):
    """Return the features by filtering the whole list for each single one."""
    midnight = datetime.combine(at.date(), time(), UTC)

    def count(condition, before=at + peek):
        kept = [e for e in events if e[0] < before and condition(e)]
        return sum(e[3] for e in kept), sum(e[4] for e in kept)

    exposed, engaged = count(lambda e: True, before=midnight)
    rate = (engaged + 1) / (exposed + 20)

    def log_odds(condition):
        exposed, engaged = count(condition)
        smoothed = (engaged + K * rate) / (exposed + K)
        return math.log(smoothed / (1 - smoothed))

    tags = TAGS.get(what) or []
    by_tag = [log_odds(lambda e, t=tag: e[1] == who and t in (TAGS.get(e[2]) or [])) for tag in tags]
    return {
        "user_exposures": math.log1p(count(lambda e: e[1] == who)[0]),
        "user_engagement": log_odds(lambda e: e[1] == who),
        "content_exposures": math.log1p(count(lambda e: e[2] == what)[0]),
        "content_engagement": log_odds(lambda e: e[2] == what),
        "user_tag_engagement": max(by_tag, default=math.log(rate / (1 - rate))),
        "user_content_exposures": math.log1p(count(lambda e: e[1:3] == (who, what))[0]),
        "hour_sin": math.sin(2 * math.pi * at.hour / 24),
        "hour_cos": math.cos(2 * math.pi * at.hour / 24),
    }


def test_features_are_what_a_search_through_the_whole_log_finds_and_one_second_ahead_is_not(spark, engagement):
    rows = random_log(seed=42, rows=300)
    events = known_events(rows)
    exposed = exposures(interactions(spark, rows), AS_OF, engagement).persist()
    targets = labelled(exposed, AS_OF, engagement)
    found = features(targets, exposed, contents(spark, TAGS), engagement).collect()
    assert len(found) == targets.count() > 100
    at_risk = 0
    for row in found:
        at = row["event_time"].astimezone(UTC)
        asked = (events, row["user_id"].rstrip("0"), row["content_id"], at)
        expected = by_brute_force(*asked)
        assert {name: row[name] for name in FEATURES} == pytest.approx(expected, rel=1e-12, abs=1e-12)
        at_risk += by_brute_force(*asked, peek=timedelta(seconds=1)) != expected
    # Every exposure is followed by itself a second later: a feature that peeks would differ on each row.
    assert at_risk == len(found)
    exposed.unpersist()


def test_an_engagement_is_unknown_until_it_happens(spark, engagement):
    rows = [
        {"user": "ann", "at": "2 10:00"},
        {"user": "ann", "at": "2 10:30", "content_id": "c0"},
        {"user": "ann", "at": "2 11:00", "action": "like"},
        {"user": "ann", "at": "2 11:00", "content_id": "c0"},
        {"user": "ann", "at": "2 11:00:01", "content_id": "c0"},
    ]
    exposed = exposures(interactions(spark, rows), AS_OF, engagement)
    asked = labelled(exposed, AS_OF, engagement)
    found = features(asked, exposed, contents(spark, TAGS), engagement).orderBy("event_time").collect()
    # The platform's rate on its first day is 1/20; of so many exposures so many are known to have engaged.
    known = [(0, 0), (1, 0), (2, 0), (3, 1)]
    expected = [math.log((engaged + 1) / (exposed - engaged + 19)) for exposed, engaged in known]
    assert [row["user_engagement"] for row in found] == pytest.approx(expected, rel=1e-12)


def test_tags_are_those_of_the_version_in_force_at_each_event(spark, engagement):
    rows = [
        {"user": "ann", "at": "2 23:00"},
        {"user": "ann", "at": "2 23:30", "action": "like"},
        {"user": "ann", "at": "3 10:00", "content_id": "c2"},
        {"user": "ann", "at": "3 11:00"},
    ]
    old = contents(spark, {"c1": ["art"]}).withColumn("valid_to", F.lit("2026-11-03").cast("timestamp"))
    both = old.union(contents(spark, {"c1": ["food"]}, "3 00:00")).union(contents(spark, {"c2": ["art"]}))
    exposed = exposures(interactions(spark, rows), AS_OF, engagement)
    found = features(labelled(exposed, AS_OF, engagement), exposed, both, engagement).orderBy("event_time").collect()
    # On day 3 the platform's rate is (1 + 1) / (1 + 20).
    rate = 2 / 21
    liked_art, untouched_food = math.log((1 + K * rate) / (K * (1 - rate))), math.log(rate / (1 - rate))
    assert [row["user_tag_engagement"] for row in found[1:]] == pytest.approx([liked_art, untouched_food], rel=1e-12)


def test_a_candidate_gets_the_features_of_an_exposure_at_that_instant(spark, engagement):
    rows = random_log(seed=7, rows=120)
    exposed = exposures(interactions(spark, rows), AS_OF, engagement)
    at = instant("7 00:00")
    asked = spark.createDataFrame(
        [("feed", user("ann"), "c1", at, 20), ("feed", user("new"), "c4", at, 20), ("feed", user("bob"), "c9", at, 20)],
        "platform string, user_id string, content_id string, event_time timestamp, local_hour int",
    )
    found = features(asked, exposed, contents(spark, TAGS), engagement).collect()
    assert len(found) == 3
    for row in found:
        expected = by_brute_force(known_events(rows), row["user_id"].rstrip("0"), row["content_id"], at)
        expected |= {"hour_sin": math.sin(2 * math.pi * 20 / 24), "hour_cos": math.cos(2 * math.pi * 20 / 24)}
        assert {name: row[name] for name in FEATURES} == pytest.approx(expected, rel=1e-12, abs=1e-12)
