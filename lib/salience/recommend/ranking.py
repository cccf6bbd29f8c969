"""Metrics of ranked lists against what people found by themselves."""

from math import log2

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

METRICS = ("ndcg", "recall")


def ndcg(recommended: Column, relevant: Column, k: int) -> Column:
    """Return ndcg@k with binary gains.

        dcg  = sum over places r = 1..k of [content at r is relevant] / log2(r + 1)
        ndcg = dcg / sum over r = 1..min(k, |relevant|) of 1 / log2(r + 1)

    Of the list (a, b, c) with relevant {b, x}: (1 / log2 3) / (1 + 1 / log2 3) = 0.3869.

    Args:
        recommended: array of content_id, best first.
        relevant: array of distinct content_id, not empty.
        k: places that count.
    """
    discounts = [1 / log2(place + 1) for place in range(1, k + 1)]
    gains = F.transform(
        F.slice(recommended, 1, k),
        lambda content, place: F.when(
            F.array_contains(relevant, content), F.element_at(F.lit(discounts), place + 1)
        ).otherwise(F.lit(0.0)),
    )
    ideal = F.lit([sum(discounts[:n]) for n in range(1, k + 1)])
    dcg = F.aggregate(gains, F.lit(0.0), lambda total, gain: total + gain)
    return dcg / F.element_at(ideal, F.least(F.lit(k), F.size(relevant)))


def recall(recommended: Column, relevant: Column, k: int) -> Column:
    """Return recall@k = hits among the first k / |relevant|.

    Of the list (a, b, c) with relevant {b, x}: 1 / 2.
    """
    hits = F.size(F.array_intersect(F.slice(recommended, 1, k), relevant))
    return hits / F.size(relevant)


def per_person(lists: DataFrame, people: DataFrame, models: list[str], k: int) -> DataFrame:
    """Judge each person's lists.

    Args:
        lists: user_id, model, top (array of (content_id, score), best first).
        people: user_id, relevant.
        models: the models to report; a person without a list of one has 0.
        k: places that count.

    Returns:
        user_id, and for each metric and model a column `<metric>:<model>`.
    """
    recommended, relevant = F.col("top.content_id"), F.col("relevant")
    judged = people.select("user_id", "relevant").join(lists, "user_id", how="left")
    judged = judged.select(
        "user_id",
        "model",
        ndcg(recommended, relevant, k).alias("ndcg"),
        recall(recommended, relevant, k).alias("recall"),
    )
    columns = [
        F.coalesce(F.max(F.when(F.col("model") == model, F.col(metric))), F.lit(0.0)).alias(f"{metric}:{model}")
        for metric in METRICS
        for model in models
    ]
    return judged.groupBy("user_id").agg(*columns)
