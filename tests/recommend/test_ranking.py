import random
from math import log2

import pytest
import pytrec_eval
from pyspark.sql import functions as F

from salience.recommend.ranking import ndcg, per_person, recall

PEOPLE = "user_id string, relevant array<string>"
LISTS = "user_id string, model string, top array<struct<content_id string, score double>>"


def listed(contents):
    return [(content, 1.0 - place / 100) for place, content in enumerate(contents)]


def test_ndcg_and_recall_by_hand(spark):
    frame = spark.createDataFrame([(["a", "b", "c"], ["b", "x"])], "got array<string>, relevant array<string>")
    found = frame.select(ndcg(F.col("got"), F.col("relevant"), 3), recall(F.col("got"), F.col("relevant"), 3)).head()
    assert found[0] == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)), abs=1e-15)
    assert found[1] == 0.5


def test_only_the_first_k_count_and_the_ideal_is_over_at_most_k(spark):
    frame = spark.createDataFrame([(["a", "b", "c"], ["a", "c", "x"])], "got array<string>, relevant array<string>")
    found = frame.select(ndcg(F.col("got"), F.col("relevant"), 2), recall(F.col("got"), F.col("relevant"), 2)).head()
    assert found[0] == pytest.approx(1 / (1 + 1 / log2(3)), abs=1e-15)
    assert found[1] == pytest.approx(1 / 3, abs=1e-15)


def test_a_person_without_a_list_of_a_model_has_nothing(spark):
    people = spark.createDataFrame([("u", ["a"]), ("v", ["a"])], PEOPLE)
    lists = spark.createDataFrame([("u", "m", listed("a"))], LISTS)
    rows = {r["user_id"]: r for r in per_person(lists, people, ["m", "n"], 3).collect()}
    assert (rows["u"]["ndcg:m"], rows["u"]["recall:m"], rows["u"]["ndcg:n"]) == (1.0, 1.0, 0.0)
    assert rows["v"]["ndcg:m"] == 0.0


def test_metrics_of_random_lists_equal_pytrec_eval(spark):
    draw = random.Random(5)
    contents = [f"c{n:02d}" for n in range(40)]
    users = [f"u{n:02d}" for n in range(50)]
    relevant = {user: draw.sample(contents, draw.randint(1, 15)) for user in users}
    got = {user: draw.sample(contents, draw.randint(0, 25)) for user in users}
    people = spark.createDataFrame([(u, relevant[u]) for u in users], PEOPLE)
    lists = spark.createDataFrame([(u, "m", listed(got[u])) for u in users], LISTS)
    found = {r["user_id"]: r for r in per_person(lists, people, ["m"], 10).collect()}
    judge = pytrec_eval.RelevanceEvaluator(
        {u: dict.fromkeys(relevant[u], 1) for u in users}, {"ndcg_cut.10", "recall.10"}
    )
    expected = judge.evaluate({u: dict(listed(got[u])) for u in users})
    assert set(found) == set(users)
    for user in users:
        oracle = expected.get(user, {"ndcg_cut_10": 0.0, "recall_10": 0.0})
        assert found[user]["ndcg:m"] == pytest.approx(oracle["ndcg_cut_10"], abs=1e-9)
        assert found[user]["recall:m"] == pytest.approx(oracle["recall_10"], abs=1e-9)
