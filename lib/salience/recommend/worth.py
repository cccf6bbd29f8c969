"""What ranking has to know of contents beside how likely somebody engages: what that is worth, and how new they are."""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.interactions.undone import without_undone
from salience.recommend.availability import newest_versions
from salience.recommend.confidence import age_days, exact_sum
from salience.recommend.split import is_relevant
from salience.settings.recommend import RankSettings, RecommendSettings


def facts(interactions: DataFrame, contents: DataFrame, cut: datetime, settings: RecommendSettings) -> DataFrame:
    """Return what ranking has to know of every content that anybody knows.

    Args:
        interactions, contents: rows of silver of one platform.
        cut: what happened at this time or later is unknown; UTC.
        settings: relevant_actions, relevant_rating, rank.

    Returns:
        content_id, engagement_value (see `values`), boost (see `freshness`), creator_id (or null), tags (distinct).
    """
    valued = values(interactions.where(F.col("event_time") < F.lit(cut)), settings)
    known = newest_versions(contents, "content_id", cut).select("content_id", "creator_id", "tags", "published_at")
    usual = valued.agg(F.coalesce(F.first("usual_value"), F.lit(1.0)).alias("usual"))
    both = known.join(valued, "content_id", how="full").crossJoin(F.broadcast(usual))
    tags = F.coalesce(F.array_compact(F.array_distinct("tags")), F.array().cast("array<string>"))
    return both.select(
        "content_id",
        F.coalesce("engagement_value", "usual").alias("engagement_value"),
        freshness(cut, settings.rank).alias("boost"),
        "creator_id",
        tags.alias("tags"),
    )


def values(interactions: DataFrame, settings: RecommendSettings) -> DataFrame:
    """Return what an engagement with each content is worth.

        (sum of the action values of its engagements + n x usual) / (how many there are + n)

    in which engagements are relevant actions that nobody took back, n is value_prior_engagements, and usual the mean
    action value of all engagements of the platform, 1 without any.

    Args:
        interactions: rows of silver.interactions of one platform.
        settings: relevant_actions, relevant_rating, rank.

    Returns:
        content_id, engagement_value (not negative), usual_value; one row for each content in `interactions`.
    """
    named = without_undone(interactions.where(F.col("content_id").isNotNull()))
    engages, prior = F.coalesce(is_relevant(settings), F.lit(False)), F.lit(settings.rank.value_prior_engagements)
    each = named.groupBy("content_id").agg(
        F.count_if(engages).alias("engagements"),
        exact_sum(F.when(engages, action_value(settings.rank)).otherwise(F.lit(0.0))).alias("value"),
    )
    mean = F.try_divide(exact_sum(F.col("value")), F.sum("engagements").cast("double"))
    usual = each.agg(F.coalesce(mean, F.lit(1.0)).alias("usual_value"))
    smoothed = F.try_divide(F.col("value") + prior * F.col("usual_value"), F.col("engagements") + prior)
    return each.crossJoin(F.broadcast(usual)).select(
        "content_id", F.coalesce(smoothed, "usual_value").alias("engagement_value"), "usual_value"
    )


def action_value(settings: RankSettings) -> Column:
    """Return what an engagement by `action` is worth."""
    if not settings.action_values:
        return F.lit(1.0)
    by_action = F.create_map(*[F.lit(part) for pair in sorted(settings.action_values.items()) for part in pair])
    return F.coalesce(F.try_element_at(by_action, F.col("action")).cast("double"), F.lit(1.0))


def freshness(cut: datetime, settings: RankSettings) -> Column:
    """Return 1 + freshness_boost x 0.5 ^ (age / half-life), age being from `published_at` to `cut`; 1 where unknown."""
    age = age_days("published_at", cut)
    half_lives = F.greatest(age, F.lit(0.0)) / F.lit(float(settings.freshness_half_life_days))
    left = F.when(age.isNotNull(), F.pow(F.lit(0.5), half_lives)).otherwise(F.lit(0.0))
    return F.lit(1.0) + F.lit(float(settings.freshness_boost)) * left
