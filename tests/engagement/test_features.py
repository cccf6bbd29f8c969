import math
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest
from pyspark.sql import functions as F

from salience.engagement import counters
from salience.engagement.exposures import exposures
from salience.engagement.features import CROSSES, feature_names, features, with_targets
from salience.engagement.interest import interest
from salience.models.store import LoadedModel
from tests.silver_rows import contents, instant, interactions, user

AS_OF = date(2026, 11, 6)
TAGS = {"c0": ["art"], "c1": ["art", "food"], "c2": [], "c3": None, "c4": ["food", "music", "food"]}
CREATORS = {"c0": "x", "c1": "x", "c2": "y", "c3": "y", "c4": None}
HALF_LIVES = {0.5: "12h", 7: "7d"}
WINDOW_DAYS = 6
K = 20.0
PUBLISHED = "1 00:00"


@pytest.fixture
def engagement(settings):
    changed = {"window_days": WINDOW_DAYS, "history_days": 0, "prior_exposures": K, "half_lives_days": list(HALF_LIVES)}
    return settings.engagement.model_copy(update=changed)


@pytest.fixture
def catalogue(spark):
    creator = F.create_map(*(F.lit(text) for pair in CREATORS.items() if pair[1] for text in pair))
    return (
        contents(spark, TAGS)
        .withColumn("creator_id", F.try_element_at(creator, "content_id"))
        .withColumn("published_at", F.lit(instant(PUBLISHED)))
        .withColumn("media_type", F.when(F.col("content_id") == "c0", "photo"))
    )


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
            "position": int(draw.integers(1, 4)),
        }
        for _ in range(rows)
    ]


def known_events(rows):
    """Return (known at, who, what, is_engagement, exposed at) of exposures and engagements, by looking at all pairs."""
    shown = [r for r in rows if r["action"] == "impression"]
    events = [(r["at"], r["user"], r["content_id"], False, r["at"]) for r in shown]
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
            events.append((min(likes), r["user"], r["content_id"], True, r["at"]))
    return events


def by_brute_force(events, who, what, at, position=None, hour=None, peek=timedelta(0)):
    """Return the features by filtering the whole list for each single one."""
    midnight = datetime.combine(at.date(), time(), UTC)

    def weights(condition, before=at + peek, half_life=math.inf):
        kept = [e for e in events if e[0] < before and condition(e)]

        def total(is_engagement):
            ages = [(at - e[4]) / timedelta(days=1) for e in kept if e[3] == is_engagement]
            return sum(2 ** (-age / half_life) for age in ages)

        return total(False), total(True)

    exposed, engaged = weights(lambda e: True, before=midnight)
    rate = (engaged + 1) / (exposed + 20)
    tags, creator = set(TAGS.get(what) or []), CREATORS.get(what)
    of = {
        "content": ([lambda e: e[2] == what], at + peek),
        "creator": ([lambda e: creator is not None and CREATORS.get(e[2]) == creator], midnight),
        "user": ([lambda e: e[1] == who], at + peek),
        "user_creator": (
            [lambda e: e[1] == who and creator is not None and CREATORS.get(e[2]) == creator],
            at + peek,
        ),
        "user_tag": ([lambda e, t=tag: e[1] == who and t in (TAGS.get(e[2]) or []) for tag in tags], at + peek),
    }
    found = {}
    for name, (conditions, before) in of.items():
        for half_life, label in HALF_LIVES.items():
            sums = [weights(condition, before, half_life) for condition in conditions]
            exposed, engaged = sum(s[0] for s in sums), sum(s[1] for s in sums)
            found[f"{name}_exposures_{label}"] = math.log1p(exposed)
            log_odds = math.log((engaged + K * rate) / (exposed - engaged + K * (1 - rate)))
            found[f"{name}_engagement_{label}"] = log_odds

    def count(condition, since=None):
        return sum(e[0] < at + peek and not e[3] and condition(e) and (since is None or e[0] >= since) for e in events)

    def hours(condition):
        times = [e[0] for e in events if e[0] < at + peek and condition(e)]
        never = 24 * WINDOW_DAYS
        return math.log1p(min((at - max(times)) / timedelta(hours=1), never) if times else never)

    by_me, by_creator = of["user"][0][0], of["user_creator"][0][0]
    angle = 2 * math.pi * (at.hour if hour is None else hour) / 24
    published = at - instant(PUBLISHED) if what in TAGS else timedelta(0)
    return found | {
        "user_content_exposures": math.log1p(count(lambda e: e[1:3] == (who, what))),
        "exposures_24h": math.log1p(count(by_me, at - timedelta(hours=24))),
        "exposures_7d": math.log1p(count(by_me, at - timedelta(days=7))),
        "user_hours_since_exposure": hours(lambda e: by_me(e) and not e[3]),
        "user_hours_since_engagement": hours(lambda e: by_me(e) and e[3]),
        "user_creator_hours_since_exposure": hours(lambda e: by_creator(e) and not e[3]),
        "content_hours_since_publication": math.log1p(published / timedelta(hours=1)),
        "publication_missing": float(what not in TAGS),
        "hour_sin": math.sin(angle),
        "hour_cos": math.cos(angle),
        "log_position": math.log(position or 1),
        "position_missing": float(position is None),
        "interest": 0.0,
        "interest_missing": 1.0,
    }


@pytest.mark.parametrize("chunk_rows", [100_000, 1], ids=["one chunk", "a chunk a person"])
def test_features_are_what_a_search_through_the_whole_log_finds_and_one_second_ahead_is_not(
    spark, engagement, catalogue, chunk_rows, monkeypatch
):
    monkeypatch.setattr(counters, "CHUNK_ROWS", chunk_rows)
    rows = random_log(seed=42, rows=300)
    events = known_events(rows)
    exposed = exposures(interactions(spark, rows), AS_OF, engagement)
    found = features(exposed, catalogue, AS_OF, engagement, None).collect()
    assert len(found) == exposed.count() > 100
    names = feature_names(engagement)
    at_risk = 0
    for row in found:
        at = row["event_time"].astimezone(UTC)
        asked = (events, row["user_id"].rstrip("0"), row["content_id"], at, row["position"])
        expected = by_brute_force(*asked)
        assert sorted(names) == sorted(expected)
        assert {name: row[name] for name in names} == pytest.approx(expected, rel=1e-12, abs=1e-12)
        at_risk += by_brute_force(*asked, peek=timedelta(seconds=1)) != expected
        assert row["local_hour_x_weekday"] == f"{at.hour}|{at.weekday()}"
        assert row["platform_x_media_type"] == ("feed|photo" if row["content_id"] == "c0" else "feed|unknown")
    # Every exposure is followed by itself a second later: a feature that peeks would differ on each row.
    assert at_risk == len(found)


def test_an_engagement_is_unknown_until_it_happens(spark, engagement, catalogue):
    rows = [
        {"user": "ann", "at": "2 10:00"},
        {"user": "ann", "at": "2 10:30", "content_id": "c0"},
        {"user": "ann", "at": "2 11:00", "action": "like"},
        {"user": "ann", "at": "2 11:00", "content_id": "c0"},
        {"user": "ann", "at": "2 11:00:01", "content_id": "c0"},
    ]
    exposed = exposures(interactions(spark, rows), AS_OF, engagement)
    found = features(exposed, catalogue, AS_OF, engagement, None).orderBy("event_time").collect()

    # The platform's rate on its first day is 1/20; hours of decay by a half-life of 7 days.
    def log_odds(now_h, shown_h, engaged_h):
        exposed, engaged = (sum(2 ** ((h - now_h) / 168) for h in hours) for hours in (shown_h, engaged_h))
        return math.log((engaged + 1) / (exposed - engaged + 19))

    expected = [log_odds(10, [], []), log_odds(10.5, [10], []), log_odds(11, [10, 10.5], [])]
    last = log_odds(11 + 1 / 3600, [10, 10.5, 11], [10])
    assert [row["user_engagement_7d"] for row in found] == pytest.approx([*expected, last], rel=1e-12)


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
    found = features(exposed, both, AS_OF, engagement, None).orderBy("event_time").collect()
    # On day 3 the platform's rate is (1 + 1) / (1 + 20); the one exposure to art was 11 hours before.
    rate, weight = 2 / 21, 2 ** (-11 / 168)
    liked_art = math.log((weight + K * rate) / (K * (1 - rate)))
    untouched_food = math.log(rate / (1 - rate))
    assert [row["user_tag_engagement_7d"] for row in found[1:]] == pytest.approx([liked_art, untouched_food], rel=1e-12)


@pytest.mark.integration
def test_a_candidate_gets_the_features_of_an_exposure_at_that_instant(spark, engagement, catalogue):
    rows = random_log(seed=7, rows=120)
    exposed = exposures(interactions(spark, rows), AS_OF, engagement)
    at = instant("7 00:00")
    asked = spark.createDataFrame(
        [("feed", user(who), what, at, 20, 5) for who, what in (("ann", "c1"), ("new", "c4"), ("bob", "c9"))],
        "platform string, user_id string, content_id string, event_time timestamp, local_hour int, local_weekday int",
    )
    found = features(with_targets(exposed, asked), catalogue, AS_OF, engagement, None).where("NOT is_exposure")
    assert found.count() == 3
    for row in found.collect():
        who = row["user_id"].rstrip("0")
        expected = by_brute_force(known_events(rows), who, row["content_id"], at, hour=20)
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-12, abs=1e-12)
        assert row["local_hour_x_weekday"] == "20|5"


def test_the_longest_history_and_the_shortest_half_life_leave_numbers(spark, settings, catalogue):
    engagement = settings.engagement.model_copy(
        update={"window_days": 3000, "history_days": 3000, "half_lives_days": [6.0]}
    )
    rows = [{"user": "ann", "at": instant("1 00:00") - timedelta(days=5990 - n)} for n in range(2)]
    rows += [{"user": "ann", "at": "6 10:00"}, {"user": "ann", "at": "6 11:00", "action": "like"}]
    exposed = exposures(interactions(spark, rows), AS_OF, engagement)
    found = features(exposed, catalogue, AS_OF, engagement, None).collect()
    assert len(found) == 3
    for row in found:
        assert all(math.isfinite(row[name]) for name in feature_names(engagement))
    by_time = sorted(found, key=lambda row: row["event_time"])
    assert by_time[1]["user_exposures_6d"] == pytest.approx(math.log1p(2 ** (-1 / 6)), rel=1e-12)
    assert by_time[2]["user_exposures_6d"] == pytest.approx(0, abs=1e-100)


@pytest.mark.integration
def test_interest_is_by_the_latest_factors_before_the_exposure(spark, engagement, catalogue):
    rows = [
        {"user": "ann", "at": "2 23:59:59"},
        {"user": "ann", "at": "3 00:00"},
        {"user": "ann", "at": "5 12:00"},
        {"user": "bob", "at": "5 12:00"},
        {"user": "ann", "at": "5 13:00", "content_id": "c0"},
        {"user": "ann", "at": "5 12:00", "platform": "video"},
    ]

    def factors(of_ann, of_c1):
        users = spark.createDataFrame([(user("ann"), of_ann)], "user_id string, features array<float>")
        return {
            "user_factors": users,
            "item_factors": spark.createDataFrame([("c1", of_c1)], "content_id string, features array<float>"),
        }

    made = {"3": ([1.0, 2.0], [0.5, 0.25]), "5": ([0.0, 3.0], [4.0, -0.5]), "6": ([9.0, 9.0], [9.0, 9.0])}
    snapshots = [
        ("feed", LoadedModel(factors(*of), {"cut": instant(f"{day} 00:00").isoformat()})) for day, of in made.items()
    ]
    exposed = exposures(interactions(spark, rows), AS_OF, engagement)
    found = features(exposed, catalogue, AS_OF, engagement, interest(snapshots)).orderBy("event_id").collect()
    known = [(row["interest"], row["interest_missing"]) for row in found]
    assert known == [(0, 1), (1.0, 0), (-1.5, 0), (0, 1), (0, 1), (0, 1)]
    assert interest([]) is None


def test_crosses_and_numbers_are_never_null(spark, engagement):
    rows = [{"user": "ann", "at": "2 10:00", "content_id": "unheard of"}]
    exposed = exposures(interactions(spark, rows), AS_OF, engagement)
    (row,) = features(exposed, contents(spark, TAGS), AS_OF, engagement, None).collect()
    assert None not in [row[name] for name in (*feature_names(engagement), *CROSSES)]


def test_rows_are_moved_twice_and_nothing_is_joined_with_everything(spark, engagement, catalogue):
    exposed = exposures(interactions(spark, random_log(seed=1, rows=50)), AS_OF, engagement)
    found = features(exposed, catalogue, AS_OF, engagement, None)
    plan = found._jdf.queryExecution().executedPlan().toString()
    moved = [line for line in plan.splitlines() if "Exchange hashpartitioning" in line]
    # By content, then by person; the others move aggregates: which platforms log impressions, creators by day.
    assert [line.count("REPARTITION_BY_COL") for line in moved].count(1) == 2
    names = [line.split("hashpartitioning(")[1].split(", 2)")[0] for line in moved]
    assert not [name for name in names if "event_id" in name] and len([n for n in names if "user_id" in n]) == 1
    assert "CartesianProduct" not in plan and "NestedLoopJoin" not in plan
