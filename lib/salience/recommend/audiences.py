"""The people whom each content suits best: `topk` turned round, contents ask and people are ranked."""

from datetime import datetime
from functools import reduce
from math import ceil

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from salience.recommend.topk import in_blocks, top_k
from salience.settings.recommend import RecommendSettings

PEOPLE_AT_ONCE = 250_000
"""People are ranked in parts of about so many. However many people know a content, the list of those of one part takes
at most some 20 MB; a part's factors take 96 MB at rank 32."""


def audiences(
    platform: str,
    items: DataFrame,
    people: DataFrame,
    interactions: DataFrame,
    makers: DataFrame,
    cut: datetime,
    settings: RecommendSettings,
    at_once: int = PEOPLE_AT_ONCE,
) -> DataFrame:
    """List the people with the highest predicted preference for each content, but for those who know it already.

    Those are its creator, and who had to do with it before `cut`, impressions included. score = person features x
    content features; ties go to the smaller user_id.

    Args:
        platform: of them all.
        items: content_id, features of the contents that the model knows and that may be shown.
        people: held; user_id, features of everyone who may be named, each once.
        interactions: rows of silver.interactions of one platform.
        makers: from `availability.creators_of`.
        cut: what happened at this time or later is unknown; UTC.
        settings: `audience` is the length of the lists, `block_mb` what factors may take of a task.
        at_once: as PEOPLE_AT_ONCE.

    Returns:
        rows of gold.content_audiences without the release.
    """
    parts = max(1, ceil(people.count() / at_once))
    # By another hash than blocks are made by, lest a part's people all fall into one of its blocks.
    part = F.pmod(F.hash("user_id"), F.lit(parts))
    knowing = _knowing(interactions, makers, cut)
    found = [_of_part(items, people.where(part == n), knowing.where(part == n), settings) for n in range(parts)]
    named = reduce(DataFrame.union, found).select("content_id", F.explode("top").alias("one"))
    scores = named.select("content_id", F.col("one.content_id").alias("user_id"), F.col("one.score").alias("score"))
    best_first = Window.partitionBy("content_id").orderBy(F.col("score").desc(), F.col("user_id"))
    ranked = scores.withColumn("rank", F.row_number().over(best_first)).where(F.col("rank") <= settings.audience)
    return ranked.select(F.lit(platform).alias("platform"), "content_id", "rank", "user_id", "score")


def _knowing(interactions: DataFrame, makers: DataFrame, cut: datetime) -> DataFrame:
    """Return who made a content or had to do with it before `cut`: content_id, user_id; pairs may come repeatedly."""
    past = interactions.where((F.col("event_time") < F.lit(cut)) & F.col("content_id").isNotNull())
    by_creator = makers.select("content_id", F.col("creator_id").alias("user_id"))
    return past.select("content_id", "user_id").union(by_creator)


def _of_part(items: DataFrame, people: DataFrame, knowing: DataFrame, settings: RecommendSettings) -> DataFrame:
    """Rank a part of the people for every content: content_id, top (the people as content_id, score)."""
    named = F.broadcast(people.select("user_id"))
    theirs = knowing.join(named, "user_id", how="left_semi")
    seen = theirs.groupBy("content_id").agg(F.collect_set("user_id").alias("seen"))
    asking = items.select("content_id", "features").join(seen, "content_id", how="left")
    asking = asking.select("content_id", "features", F.coalesce("seen", F.array().cast("array<string>")).alias("seen"))
    ranked = in_blocks(people.select(F.col("user_id").alias("content_id"), "features"), settings.block_mb)
    return top_k(asking, ranked, settings.audience)
