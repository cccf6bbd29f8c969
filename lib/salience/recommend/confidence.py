"""How sure an interaction makes us of a preference: action weights that fade with age."""

from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.interactions.undone import without_undone
from salience.settings.recommend import RecommendSettings

MICROSECONDS_PER_DAY = 86_400_000_000

WEIGHT_TYPE = "decimal(38,18)"
"""Weights are summed as decimals, so that a sum does not depend on the order of its rows."""


def action_weight(settings: RecommendSettings) -> Column:
    """Return the weight of one interaction before it fades, from `action`, `rating`, `dwell_s` and `video_length_s`.

    An action without a weight weighs 0. A `rate` weighs its action's weight x rating / rating_scale_max, and 0 without
    a rating. To each comes watch_time_weight x the share of the video that was watched, where that is known.
    """
    action_weights, rating_scale_max = settings.action_weights, settings.rating_scale_max
    by_action = F.create_map(*[F.lit(part) for pair in sorted(action_weights.items()) for part in pair])
    weight = F.coalesce(F.try_element_at(by_action, F.col("action")), F.lit(0.0))
    share_of_scale = F.coalesce(F.col("rating"), F.lit(0.0)) / F.lit(rating_scale_max)
    weight *= F.when(F.col("action") == "rate", share_of_scale).otherwise(F.lit(1.0))
    if settings.watch_time_weight:
        is_known = (F.col("dwell_s") > 0) & (F.col("video_length_s") > 0)
        share = F.when(is_known, F.least(F.col("dwell_s") / F.col("video_length_s"), F.lit(1.0))).otherwise(F.lit(0.0))
        weight += F.lit(settings.watch_time_weight) * share
    return weight


def decay(cut: datetime, half_life_days: float) -> Column:
    """Return 0.5 ^ (age / half-life), age being the days from `event_time` to `cut`."""
    return F.pow(F.lit(0.5), age_days("event_time", cut) / F.lit(float(half_life_days)))


def age_days(instant: str, cut: datetime) -> Column:
    """Return the days from a column of instants to `cut`, negative for later ones."""
    return (F.unix_micros(F.lit(cut)) - F.unix_micros(instant)) / F.lit(MICROSECONDS_PER_DAY)


def exact_sum(value: Column) -> Column:
    """Return the sum of doubles as a double, the same whatever the partitioning (to 18 decimals a term)."""
    return F.sum(value.cast(WEIGHT_TYPE)).cast("double")


def preferences(interactions: DataFrame, cut: datetime, settings: RecommendSettings) -> DataFrame:
    """Weigh what each person did with each content in the window before `cut`.

    The weight of a pair is the sum of its action weights, each faded by its own age: the r of Hu, Koren and Volinsky
    (2008), whose confidence is 1 + alpha r. What was undone by then weighs nothing. Pairs that weigh nothing leave, as
    do those with an excluding action (a hide, a report) in the window, whatever else was done.

    Args:
        interactions: rows of silver.interactions of one platform.
        cut: events at this time or later do not count; UTC.
        settings: action weights, excluding actions, half-life, window.

    Returns:
        user_id, content_id, weight (double, > 0), last_event_time (of what weighs something); one row a pair.
    """
    first = cut - timedelta(days=settings.window_days)
    in_window = (F.col("event_time") < F.lit(cut)) & (F.col("event_time") >= F.lit(first))
    weight = action_weight(settings) * decay(cut, settings.half_life_days)
    return (
        without_undone(interactions.where(in_window & F.col("content_id").isNotNull()))
        .groupBy("user_id", "content_id")
        .agg(
            exact_sum(weight).alias("weight"),
            F.max(F.when(action_weight(settings) > 0, F.col("event_time"))).alias("last_event_time"),
            F.bool_or(F.col("action").isin(settings.excluding_actions)).alias("is_excluded"),
        )
        .where((F.col("weight") > 0) & ~F.col("is_excluded"))
        .drop("is_excluded")
    )


def aged(preferences: DataFrame, cut: datetime) -> DataFrame:
    """Return preferences with the age of what was done last: user_id, content_id, weight, age_days."""
    age = age_days("last_event_time", cut).alias("age_days")
    return preferences.select("user_id", "content_id", "weight", age)


def seen_contents(interactions: DataFrame, cut: datetime) -> DataFrame:
    """List what each person ever had to do with before `cut`, impressions included.

    Returns:
        user_id, seen: array of content_id, each once, in no order: sorting would take a fifth of the time.
    """
    past = interactions.where((F.col("event_time") < F.lit(cut)) & F.col("content_id").isNotNull())
    return past.groupBy("user_id").agg(F.collect_set("content_id").alias("seen"))
