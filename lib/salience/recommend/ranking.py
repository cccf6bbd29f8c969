"""Metrics of ranked lists against what people found by themselves.

Of the list (a, b, c) with relevant {b, x} and k = 3: ndcg = (1 / log2 3) / (1 + 1 / log2 3) = 0.3869, recall = 1/2,
precision = 1/3, map = (1/2) / 2, map_trec = (1/2) / 2, mrr = 1/2, hit_rate = 1.
"""

from collections.abc import Sequence
from math import log2

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

METRICS = ("ndcg", "recall", "precision", "map", "map_trec", "mrr", "hit_rate")


def metrics(recommended: Column, relevant: Column, k: int) -> dict[str, Column]:
    """Return every metric of METRICS at k.

    With hit(r) = 1 where the content at place r is relevant, hits = sum over r = 1..k of hit(r), n = |relevant|:

        ndcg      = sum of hit(r) / log2(r + 1)  /  sum over r = 1..min(k, n) of 1 / log2(r + 1)
        recall    = hits / n
        precision = hits / k, also where the list is shorter
        map       = sum of hit(r) x (hits up to r) / r  /  min(k, n)
        map_trec  = the same sum / n
        mrr       = 1 / the first place with a hit, 0 without one
        hit_rate  = 1 with a hit, 0 without one

    Args:
        recommended: array of distinct content_id, best first; null for no list.
        relevant: array of distinct content_id, not empty.
        k: places that count.
    """
    listed = F.coalesce(F.slice(recommended, 1, k), F.array().cast("array<string>"))
    places = F.filter(F.sequence(F.lit(1), F.lit(k)), lambda r: F.array_contains(relevant, F.get(listed, r - 1)))
    discounts = [1 / log2(place + 1) for place in range(1, k + 1)]
    gain = F.aggregate(places, F.lit(0.0), lambda total, r: total + F.element_at(F.lit(discounts), r))
    ideal = F.element_at(F.lit([sum(discounts[:n]) for n in range(1, k + 1)]), F.least(F.lit(k), F.size(relevant)))
    # The i-th hit, at place r, has a precision of i / r.
    precisions = F.transform(places, lambda r, i: (i + 1) / r)
    summed = F.aggregate(precisions, F.lit(0.0), lambda total, precision: total + precision)
    hits, n = F.size(places), F.size(relevant)
    return {
        "ndcg": gain / ideal,
        "recall": hits / n,
        "precision": hits / F.lit(k),
        "map": summed / F.least(F.lit(k), n),
        "map_trec": summed / n,
        "mrr": F.coalesce(F.lit(1.0) / F.get(places, F.lit(0)), F.lit(0.0)),
        "hit_rate": (hits > 0).cast("double"),
    }


def per_person(lists: DataFrame, people: DataFrame, models: Sequence[str], k: int) -> DataFrame:
    """Judge each person's lists.

    Args:
        lists: user_id, model, top (array of (content_id, score), best first).
        people: user_id, relevant.
        models: the models to report; a person without a list of one has 0.
        k: places that count.

    Returns:
        user_id, model, and a column for each metric; a row for each person and model.
    """
    asked = people.select("user_id", "relevant", F.explode(F.lit(list(models))).alias("model"))
    judged = asked.join(lists.select("user_id", "model", "top.content_id"), ["user_id", "model"], how="left")
    found = metrics(F.col("content_id"), F.col("relevant"), k)
    return judged.select("user_id", "model", *(value.alias(name) for name, value in found.items()))


def coverage(lists: DataFrame, catalogue: int, k: int) -> DataFrame:
    """Return the share of the catalogue that anybody is recommended.

    Args:
        lists: model, top.
        catalogue: how many contents there are to recommend.
        k: places that count.

    Returns:
        model, coverage.
    """
    shown = lists.select("model", F.explode(F.slice("top.content_id", 1, k)).alias("content_id")).distinct()
    return shown.groupBy("model").agg((F.count("*") / F.lit(catalogue)).alias("coverage"))
