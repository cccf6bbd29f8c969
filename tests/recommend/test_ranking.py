import random
from math import log2

import pytest
import pytrec_eval
from pyspark.sql import functions as F

from salience.recommend.ranking import METRICS, coverage, metrics, per_person

PEOPLE = "user_id string, relevant array<string>"
LISTS = "user_id string, model string, top array<struct<content_id string, score double>>"


def listed(contents):
    return [(content, 1.0 - place / 100) for place, content in enumerate(contents)]


def judged(spark, got, relevant, k):
    frame = spark.createDataFrame([(got, relevant)], "got array<string>, relevant array<string>")
    found = metrics(F.col("got"), F.col("relevant"), k)
    return frame.select(*(value.alias(name) for name, value in found.items())).head().asDict()


def test_the_metrics_by_hand(spark):
    assert judged(spark, ["a", "b", "c"], ["b", "x"], 3) == pytest.approx(
        {
            "ndcg": (1 / log2(3)) / (1 + 1 / log2(3)),
            "recall": 1 / 2,
            "precision": 1 / 3,
            "map": 1 / 4,
            "map_trec": 1 / 4,
            "mrr": 1 / 2,
            "hit_rate": 1.0,
        },
        abs=1e-15,
    )


def test_only_the_first_k_count_and_ideals_are_over_at_most_k(spark):
    found = judged(spark, ["a", "b", "c"], ["a", "c", "x"], 2)
    assert found["ndcg"] == pytest.approx(1 / (1 + 1 / log2(3)), abs=1e-15)
    assert (found["recall"], found["precision"]) == (pytest.approx(1 / 3), 1 / 2)
    assert (found["map"], found["map_trec"]) == (1 / 2, pytest.approx(1 / 3))


def test_a_list_that_is_shorter_than_k_is_no_better_for_it(spark):
    found = judged(spark, ["a"], ["a", "b"], 4)
    assert (found["precision"], found["recall"], found["mrr"]) == (1 / 4, 1 / 2, 1.0)


def test_a_person_without_a_list_of_a_model_has_nothing(spark):
    people = spark.createDataFrame([("u", ["a"]), ("v", ["a"])], PEOPLE)
    lists = spark.createDataFrame([("u", "m", listed("a"))], LISTS)
    rows = {(r["user_id"], r["model"]): r for r in per_person(lists, people, ["m", "n"], 3).collect()}
    assert [rows["u", "m"][metric] for metric in ("ndcg", "recall", "mrr")] == [1.0, 1.0, 1.0]
    for missing in (("u", "n"), ("v", "m"), ("v", "n")):
        assert [rows[missing][metric] for metric in METRICS] == [0.0] * len(METRICS)


def test_coverage_counts_each_recommended_content_once(spark):
    lists = spark.createDataFrame([("u", "m", listed("abc")), ("v", "m", listed("ab")), ("u", "n", listed("a"))], LISTS)
    assert {r["model"]: r["coverage"] for r in coverage(lists, 8, 2).collect()} == {"m": 2 / 8, "n": 1 / 8}


def test_metrics_of_random_lists_equal_pytrec_eval(spark):
    draw = random.Random(5)
    contents = [f"c{n:02d}" for n in range(40)]
    users = [f"u{n:02d}" for n in range(50)]
    relevant = {user: draw.sample(contents, draw.randint(1, 15)) for user in users}
    got = {user: draw.sample(contents, draw.randint(0, 25)) for user in users}
    people = spark.createDataFrame([(u, relevant[u]) for u in users], PEOPLE)
    lists = spark.createDataFrame([(u, "m", listed(got[u])) for u in users], LISTS)
    found = {r["user_id"]: r for r in per_person(lists, people, ["m"], 10).collect()}
    assert set(found) == set(users)
    named = {
        "ndcg": "ndcg_cut_10",
        "recall": "recall_10",
        "precision": "P_10",
        "map_trec": "map_cut_10",
        "mrr": "recip_rank",
        "hit_rate": "success_10",
    }
    measures = {"ndcg_cut.10", "recall.10", "P.10", "map_cut.10", "recip_rank", "success.10"}
    judge = pytrec_eval.RelevanceEvaluator({u: dict.fromkeys(relevant[u], 1) for u in users}, measures)
    # recip_rank has no cut of its own.
    expected = judge.evaluate({u: dict(listed(got[u][:10])) for u in users})
    for user in users:
        oracle = expected.get(user, dict.fromkeys(named.values(), 0.0))
        for metric, name in named.items():
            assert found[user][metric] == pytest.approx(oracle[name], abs=1e-6), (user, metric)
        shorter = min(10, len(relevant[user])) / len(relevant[user])
        assert found[user]["map"] == pytest.approx(oracle["map_cut_10"] / shorter, abs=1e-6)
