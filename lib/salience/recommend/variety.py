"""How novel and how varied ranked lists are, whoever likes them.

Of (a, b, c) that 3 of 4 people, 1 of 4 and nobody knew, with tags {x}, {x, y} and none:
novelty = -(log2 4/5 + log2 2/5 + log2 1/5) / 3 = 1.3219; intra_list_diversity, of a and b, = 1 - 1 / sqrt(2) = 0.2929.
"""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

VARIETY = ("novelty", "intra_list_diversity")
"""Metrics of a list that may be unknown: where it is empty, or too few of its contents have tags."""


def facts(interactions: DataFrame, contents: DataFrame, cut: datetime) -> DataFrame:
    """Return what the metrics need of each content.

    Args:
        interactions: user_id, content_id, event_time.
        contents: content_id, tags (array<string>, or null).
        cut: who had something to do with a content before it knew it.

    Returns:
        content_id, bits (-log2 of the share of people who knew it, (those + 1) / (everyone + 1)), tags (distinct).
    """
    before = interactions.where((F.col("event_time") < F.lit(cut)) & F.col("content_id").isNotNull())
    pairs = before.select("user_id", "content_id").distinct()
    everyone = before.agg(F.count_distinct("user_id").alias("everyone"))
    known = pairs.groupBy("content_id").agg(F.count("*").alias("people"))
    share = (F.coalesce("people", F.lit(0)) + 1) / (F.col("everyone") + 1)
    both = known.join(contents, "content_id", how="full").crossJoin(F.broadcast(everyone))
    return both.select(
        "content_id", (-F.log2(share)).alias("bits"), F.array_compact(F.array_distinct("tags")).alias("tags")
    )


def variety(lists: DataFrame, told: DataFrame, k: int) -> DataFrame:
    """Return the metrics of VARIETY of each person's lists at k.

        novelty              = the mean of -log2 of the share of people who knew a content (Vargas, Castells 2011)
        intra_list_diversity = the mean of 1 - cosine over the pairs of contents that have tags, each tag counting 1

    Args:
        lists: user_id, model, top (array of (content_id, score), best first).
        told: from `facts`, every content of the lists.
        k: places that count.

    Returns:
        user_id, model, novelty (bits), intra_list_diversity (0 to 1); null where unknown. Empty lists have no row.
    """
    entries = lists.select("user_id", "model", F.explode(F.slice("top.content_id", 1, k)).alias("content_id"))
    listed_facts = told.join(entries.select("content_id").distinct(), "content_id", how="left_semi")
    tagged = F.collect_list(F.when(F.size("tags") > 0, F.struct("content_id", "tags")))
    # In the order of their ids, so that sums of doubles are the same however rows are spread.
    listed = entries.join(listed_facts, "content_id").groupBy("user_id", "model")
    found = listed.agg(F.array_sort(F.collect_list("bits")).alias("bits"), F.array_sort(tagged).alias("tagged"))
    distances = _distances(F.col("tagged.tags"))
    return found.select("user_id", "model", _mean(F.col("bits")).alias(VARIETY[0]), _mean(distances).alias(VARIETY[1]))


def _distances(tags: Column) -> Column:
    """Return 1 - cosine of each pair of arrays of tags."""

    def to_later(one: Column, place: Column) -> Column:
        later = F.slice(tags, place + 2, F.size(tags))
        return F.transform(later, lambda other: 1 - _cosine(one, other))

    return F.flatten(F.transform(tags, to_later))


def _cosine(one: Column, other: Column) -> Column:
    return F.size(F.array_intersect(one, other)) / F.sqrt(F.size(one) * F.size(other))


def _mean(values: Column) -> Column:
    total = F.aggregate(values, F.lit(0.0), lambda sum_, value: sum_ + value)
    return F.when(F.size(values) > 0, total / F.size(values))
