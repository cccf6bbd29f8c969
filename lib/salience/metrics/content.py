"""What happened to each content on each day."""

from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.profiles.plays import is_complete, is_measured
from salience.settings import MetricSettings
from salience.stats.intervals import ratio_high, ratio_low, wilson_high, wilson_low
from salience.stats.small_cells import PEOPLE

RATES_BY_IMPRESSIONS = {
    "engagement_rate_by_impressions": "engagements",
    "amplification_rate_by_impressions": "shares",
    "comment_rate_by_impressions": "comments",
    "save_rate_by_impressions": "favourites",
    "purchase_rate_by_impressions": "purchases",
}
"""Numerator of each rate whose denominator is impressions."""

_DAY = ("event_date", "platform", "content_id")


def content_daily(interactions: DataFrame, days: Sequence[date], settings: MetricSettings) -> DataFrame:
    """Return the rows of gold.content_daily for the given UTC days.

    Rates by impressions count every positive action of the day, whether or not the person had an impression that day,
    so they may exceed 1; their intervals are those of a ratio of sums over people. Ends below 0 are cut off.

    Everything is exact. The column `people` says how many people stand behind what has no count of people of its own,
    for stats/small_cells.py, which takes it away.

    Args:
        interactions: silver.interactions.
        days: the days to measure; a day or a content without interactions has no row.
        settings: positive_actions is used.
    """
    people = _people(interactions.where(F.col("event_date").isin(list(days))), settings)
    reached, engaged = F.col("impressions") > 0, F.col("engagements") > 0
    summed = (
        "impressions",
        "impressions_paid",
        "impressions_organic",
        "plays",
        "complete_plays",
        "measured_plays",
        "watch_time_s",
    )
    contents = people.groupBy(*_DAY).agg(
        *(F.sum(name).alias(name) for name in summed),
        *(F.sum(name).alias(name) for name in RATES_BY_IMPRESSIONS.values()),
        F.sum(F.col("impressions") * F.col("impressions")).alias("impressions_squared"),
        F.count_if(reached).alias("reach"),
        F.count_if(engaged).alias("engagers"),
        F.count_if(reached & engaged).alias("engaged_reach"),
        *(sums for name in RATES_BY_IMPRESSIONS.values() for sums in _cluster_sums(name)),
        _numbers_of_people(settings.positive_actions).alias(PEOPLE),
    )
    rates = (column for name, count in RATES_BY_IMPRESSIONS.items() for column in _rate(name, count))
    reach_share = (F.col("engaged_reach"), F.col("reach"))
    return contents.select(
        *_DAY,
        *("impressions", "impressions_paid", "impressions_organic"),
        *("reach", "plays", "engagements", "engagers", "engaged_reach"),
        _per("impressions", "reach").alias("frequency"),
        F.col("watch_time_s").cast("double").alias("watch_time_s"),
        _per("complete_plays", "measured_plays").alias("completion_rate_by_plays"),
        _per("engaged_reach", "reach").alias("engagement_rate_by_reach"),
        wilson_low(*reach_share).alias("engagement_rate_by_reach_ci_low"),
        wilson_high(*reach_share).alias("engagement_rate_by_reach_ci_high"),
        *rates,
        PEOPLE,
    )


def _numbers_of_people(positive_actions: Sequence[str]) -> Column:
    """Return how many people stand behind what, by name, of a content's day; an aggregate of `_people`."""
    parts = {"sharers": "share", "commenters": "comment", "savers": "favourite", "purchasers": "purchase"}
    others = reduce(
        lambda left, action: left - F.col(f"{action}s") if action in positive_actions else left,
        parts.values(),
        F.col("engagements"),
    )
    conditions = {
        "everyone": F.lit(True),
        "paid": F.col("impressions_paid") > 0,
        "organic": F.col("impressions_organic") > 0,
        "unknown_paid": F.col("impressions") > F.col("impressions_paid") + F.col("impressions_organic"),
        "players": F.col("plays") > 0,
        "watchers": F.col("watch_time_s") > 0,
        "measured_players": F.col("measured_plays") > 0,
        "completers": F.col("complete_plays") > 0,
        "non_completers": F.col("measured_plays") > F.col("complete_plays"),
        **{who: F.col(f"{action}s") > 0 for who, action in parts.items()},
        "other_engagers": others > 0,
    }
    return F.create_map(*(part for who, it_is in conditions.items() for part in (F.lit(who), F.count_if(it_is))))


def content_totals(interactions: DataFrame, days: Sequence[date], settings: MetricSettings) -> dict[str, int]:
    """Return what columns of gold.content_daily must add up to over the days, counted event by event."""
    events = interactions.where(F.col("event_date").isin(list(days)) & F.col("content_id").isNotNull())
    action = F.col("action")
    totals = events.agg(
        F.count_if(action == "impression").alias("impressions"),
        F.count_if(action == "play").alias("plays"),
        F.count_if(action.isin(settings.positive_actions)).alias("engagements"),
    ).head()
    assert totals is not None
    return {name: int(total) for name, total in totals.asDict().items()}


def _people(interactions: DataFrame, settings: MetricSettings) -> DataFrame:
    """Return what each person did with each content on each day: the clusters of the intervals."""
    action = F.col("action")
    is_play, is_impression = action == "play", action == "impression"
    counts = {
        "impressions": is_impression,
        "impressions_paid": is_impression & F.col("paid"),
        "impressions_organic": is_impression & ~F.col("paid"),
        "plays": is_play,
        "measured_plays": is_measured(),
        "complete_plays": is_complete(),
        "engagements": action.isin(settings.positive_actions),
        "shares": action == "share",
        "comments": action == "comment",
        "favourites": action == "favourite",
        "purchases": action == "purchase",
    }
    watched = F.sum(F.coalesce("dwell_s", F.lit(0).cast("decimal(12,3)"))).alias("watch_time_s")
    with_content = interactions.where(F.col("content_id").isNotNull())
    return with_content.groupBy(*_DAY, "user_id").agg(
        *(F.count_if(condition).alias(name) for name, condition in counts.items()), watched
    )


def _cluster_sums(count: str) -> tuple[Column, Column, Column]:
    """Return how many people stand behind a rate of `count` by impressions, and their sums of squares and products."""
    y, x = F.col(count), F.col("impressions")
    return (
        F.count_if((x > 0) | (y > 0)).alias(f"{count}_people"),
        F.sum(y * y).alias(f"{count}_squared"),
        F.sum(x * y).alias(f"{count}_times_impressions"),
    )


def _rate(name: str, count: str) -> tuple[Column, Column, Column]:
    sums = {
        "clusters": F.col(f"{count}_people"),
        "x": F.col("impressions"),
        "y": F.col(count),
        "xx": F.col("impressions_squared"),
        "yy": F.col(f"{count}_squared"),
        "xy": F.col(f"{count}_times_impressions"),
    }
    low = ratio_low(**sums)
    return (
        _per(count, "impressions").alias(name),
        F.when(low < 0, 0.0).otherwise(low).alias(f"{name}_ci_low"),
        ratio_high(**sums).alias(f"{name}_ci_high"),
    )


def _per(numerator: str, denominator: str) -> Column:
    """Return a ratio as double; null where the denominator is 0."""
    return F.when(F.col(denominator) > 0, F.col(numerator) / F.col(denominator))
