from math import log2

import numpy as np
import pytest

from salience.recommend.averages import means, replicates
from salience.recommend.ranking import METRICS
from salience.recommend.variety import facts, variety
from tests.recommend.rows import CUT, days_before, interactions

LISTS = "user_id string, model string, top array<struct<content_id string, score double>>"
TAGS = {"a": ["x"], "b": ["x", "y", "y"], "c": None, "d": ["z"], "e": [None]}


def measured(spark, lists, k=3):
    events = interactions(
        spark,
        *[(person, "a", "impression", 3) for person in "uvw"],
        ("u", "a", "like", 2),
        ("u", "b", "like", 2),
        ("z", "d", "like", 2),
        ("z", None, "follow", 2),
        ("late", "c", "like", -1),
    )
    contents = spark.createDataFrame(list(TAGS.items()), "content_id string, tags array<string>")
    ranked = [(user, model, [(content, 1.0) for content in top]) for user, model, top in lists]
    found = variety(spark.createDataFrame(ranked, LISTS), facts(events, contents, CUT), k)
    return {(row["user_id"], row["model"]): tuple(row)[2:] for row in found.collect()}


def test_variety_by_hand(spark):
    # 3 of 4 people knew a, one b, one d; nobody c or e before the cut.
    told = measured(spark, [("u", "m", "abc"), ("u", "n", "abd"), ("v", "m", "c"), ("w", "m", ""), ("v", "n", "dec")])
    bits = {name: -log2(people / 5) for name, people in {"a": 4, "b": 2, "c": 1, "d": 2, "e": 1}.items()}
    near = 1 - 1 / np.sqrt(2)
    assert told == {
        ("u", "m"): pytest.approx((np.mean([bits[c] for c in "abc"]), near)),
        ("u", "n"): pytest.approx((np.mean([bits[c] for c in "abd"]), (near + 1 + 1) / 3)),
        ("v", "m"): (pytest.approx(bits["c"]), None),
        ("v", "n"): (pytest.approx(np.mean([bits[c] for c in "dec"])), None),
    }


def test_only_k_places_count(spark):
    assert measured(spark, [("u", "m", "abd")], k=2) == measured(spark, [("u", "m", "ab")], k=2)


def test_the_mean_of_what_some_lack_is_over_the_others_and_its_replicates_too(spark):
    values = {"u": 1.0, "v": None, "w": 4.0}
    rows = [(user, "m", *[1.0] * len(METRICS), value) for user, value in values.items()]
    rows += [("u", "n", *[1.0] * len(METRICS), None)]
    columns = ", ".join(f"{name} double" for name in (*METRICS, "novelty"))
    per_person = spark.createDataFrame(rows, f"user_id string, model string, {columns}")
    told = means(per_person, ["model"], ["novelty"])
    assert [told["m",][name] for name in ("novelty", "novelty_users", "users")] == [2.5, 2, 3]
    assert [told["n",][name] for name in ("novelty", "novelty_users", "users")] == [None, 0, 1]
    drawn = replicates(per_person, ["model"], 300, 7, ["novelty"])
    known = drawn["m",]["novelty"][~np.isnan(drawn["m",]["novelty"])]
    # Any mix of 1 and 4 by whole weights; the half that would count a missing value as 0 lies below 1.
    assert known.min() == 1.0 and known.max() == 4.0 and 2.3 < known.mean() < 2.7
    assert np.isnan(drawn["n",]["novelty"]).all()


def test_days_before_the_cut_count_alone(spark):
    contents = spark.createDataFrame([("a", ["x"])], "content_id string, tags array<string>")
    events = interactions(spark, ("u", "a", "like", 3), ("v", "b", "like", 1))
    told = {row["content_id"]: row["bits"] for row in facts(events, contents, days_before(2)).collect()}
    assert told == {"a": pytest.approx(-log2(2 / 2))}
