"""Accounts to follow for each person: personal ones first, then those whose contents are popular of late."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.actions import CONTENTLESS_ACTIONS
from salience.recommend.availability import Blocks, blocked_creators
from salience.recommend.confidence import exact_sum
from salience.recommend.topk import TOP, in_blocks, top_k
from salience.settings.recommend import RecommendSettings

_FOLLOW, _UNFOLLOW = CONTENTLESS_ACTIONS


@dataclass(frozen=True)
class Accounts:
    """What lists of accounts are made of.

    makers: content_id, creator_id of creators who may be recommended.
    follows: from `followed`.
    """

    makers: DataFrame
    follows: DataFrame


def without_blocked(makers: DataFrame, blocks: Blocks, cut: datetime) -> DataFrame:
    """Return the contents (with creator_id) that are not of creators who are blocked at `cut`."""
    if blocks.blocklist is None:
        return makers
    blocked = blocked_creators(blocks.blocklist, cut)
    return makers.join(blocked, "creator_id", how="left_anti").select(makers.columns)


def followed(interactions: DataFrame, makers: DataFrame, cut: datetime) -> DataFrame:
    """List whom each person follows at `cut`: a follow stands unless a later (or simultaneous) unfollow took it back.

    Args:
        interactions: rows of silver.interactions of one platform; one without creator_id is about that of its content.
        makers: from `availability.creators_of`.
        cut: what happened at this time or later is unknown; UTC.

    Returns:
        user_id, followed: array of creator_id, sorted.
    """
    told = interactions.where((F.col("event_time") < F.lit(cut)) & F.col("action").isin(_FOLLOW, _UNFOLLOW))
    told = told.join(makers.withColumnRenamed("creator_id", "maker"), "content_id", how="left")
    told = told.withColumn("creator_id", F.coalesce("creator_id", "maker")).where(F.col("creator_id").isNotNull())
    last = [F.max(F.when(F.col("action") == name, F.col("event_time"))).alias(name) for name in CONTENTLESS_ACTIONS]
    stands = F.col(_FOLLOW).isNotNull() & F.coalesce(F.col(_FOLLOW) > F.col(_UNFOLLOW), F.lit(True))
    pairs = told.groupBy("user_id", "creator_id").agg(*last).where(stands)
    return pairs.groupBy("user_id").agg(F.array_sort(F.collect_set("creator_id")).alias("followed"))


def personal_creators(
    people: DataFrame, items: DataFrame, accounts: Accounts, settings: RecommendSettings
) -> DataFrame:
    """List the creators whose contents suit each person best, but for those followed and oneself.

    score = person features x mean of the creator's content features, which is the mean of the scores of the contents.

    Args:
        people: user_id, features.
        items: content_id, features of the contents that the model knows and that may be shown.
        accounts: of the platform.
        settings: `creators` is the length of the lists.

    Returns:
        user_id, listed (0: how many stand before them), top: array of (creator's id as content_id, score), best first.
    """
    asking = people.join(accounts.follows, "user_id", how="left")
    asking = asking.select("user_id", F.lit(0).alias("listed"), "features", _masked("followed").alias("seen"))
    means = _of_creators(items, accounts.makers, lambda value: exact_sum(value) / F.count(value))
    return top_k(asking, in_blocks(means, settings.block_mb), settings.creators)


def for_nobody(spark: SparkSession) -> DataFrame:
    """Return what `personal_creators` does where there is no model: nobody's list."""
    return spark.createDataFrame([], f"user_id string, listed int, top {TOP}")


def filled_up(
    platform: str,
    personal_lists: DataFrame,
    people: DataFrame,
    popular: DataFrame,
    accounts: Accounts,
    settings: RecommendSettings,
) -> DataFrame:
    """Fill each person's list with the creators whose contents are popular of late, under the same masks.

    Every creator of whom something may be shown takes part, so a list stays short only where there are no more.

    Args:
        platform: of them all.
        personal_lists: from `personal_creators`.
        people: user_id of everyone to serve.
        popular: from `sources.trending_items`.
        accounts, settings: as for `personal_creators`.

    Returns:
        rows of gold.creator_recommendations without the release.
    """
    trending = _trending(personal_lists, people, popular, accounts, settings)
    both = [lists.withColumn("source", F.lit(s)) for lists, s in ((personal_lists, "als"), (trending, "trending"))]
    placed = both[0].union(both[1]).select("user_id", "listed", "source", F.posexplode("top").alias("place", "one"))
    return placed.select(
        F.lit(platform).alias("platform"),
        "user_id",
        (F.col("listed") + F.col("place") + F.lit(1)).alias("rank"),
        F.col("one.content_id").alias("creator_id"),
        F.col("one.score").alias("score"),
        "source",
    )


def _trending(
    personal_lists: DataFrame,
    people: DataFrame,
    popular: DataFrame,
    accounts: Accounts,
    settings: RecommendSettings,
) -> DataFrame:
    """Return what `personal_creators` does, score being the popularity of the creator's contents taken together."""
    lists = personal_lists.select("user_id", F.col("top.content_id").alias("names"))
    asking = people.join(lists, "user_id", how="left").join(accounts.follows, "user_id", how="left")
    asking = asking.select(
        "user_id",
        F.coalesce(F.size("names"), F.lit(0)).alias("listed"),
        F.array(F.lit(1.0)).alias("features"),
        _masked("followed", "names").alias("seen"),
    )
    room = F.lit(settings.creators) - F.col("listed")
    totals = _of_creators(popular, accounts.makers, exact_sum)
    filled = top_k(asking.where(room > 0), in_blocks(totals, settings.block_mb), settings.creators)
    return filled.select("user_id", "listed", F.slice("top", F.lit(1), room).alias("top"))


def _masked(*lists: str) -> Column:
    """Return the person and whoever is in these lists, which may be null."""
    nothing = F.array().cast("array<string>")
    return F.concat(F.array("user_id"), *[F.coalesce(name, nothing) for name in lists])


def _of_creators(contents: DataFrame, makers: DataFrame, how: Callable[[Column], Column]) -> DataFrame:
    """Aggregate the features of each creator's contents, number by number: creator's id as content_id, features."""
    numbers = contents.join(makers, "content_id", how="inner").select(
        "creator_id", F.posexplode("features").alias("place", "value")
    )
    totals = numbers.groupBy("creator_id", "place").agg(how(F.col("value")).alias("value"))
    in_order = F.array_sort(F.collect_list(F.struct("place", "value")))
    features = F.transform(in_order, lambda one: one["value"])
    return totals.groupBy(F.col("creator_id").alias("content_id")).agg(features.alias("features"))
