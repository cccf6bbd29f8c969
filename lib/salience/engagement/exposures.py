"""Exposures, and the engagement that each of them earned."""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.settings import EngagementSettings

LABEL = "engage_24h"
"""The label's column: 1 if a positive action followed within the label window, else 0."""

IMPRESSION, VIEW = "impression", "view"
BY_CONTENT = ("platform", "content_id")


def exposures(interactions: DataFrame, as_of: date, settings: EngagementSettings) -> DataFrame:
    """Return the exposures of the window and the history before it, each with the moment when it turned out to engage.

    An exposure is an impression, or a view on a platform that logged no impression in the window. A positive action
    credits only the last exposure of the same person to the same content before or at its own time, and only within
    [event_time, event_time + label_hours).

    Args:
        interactions: silver.interactions.
        as_of: last UTC day that may be known; later events change nothing.
        settings: window_days, history_days, label_hours and positive_actions are used.

    Returns:
        platform, event_id, user_id, content_id, creator_id, event_time, local_hour (0-23; UTC where the source gives no
        offset), local_weekday (0 for Monday), position, engaged_at (time of the first action credited; null for none);
        partitioned by content, as `features` wants them.
    """
    first_day = as_of - timedelta(days=settings.window_days + settings.history_days - 1)
    is_known = F.col("event_date").between(F.lit(first_day), F.lit(as_of)) & F.col("content_id").isNotNull()
    known = interactions.where(is_known)
    with_impressions = known.where(F.col("action") == IMPRESSION).select("platform", F.col("action").alias("shown_by"))
    told = known.join(F.broadcast(with_impressions.distinct()), "platform", how="left")
    is_exposure = F.col("action") == F.coalesce("shown_by", F.lit(VIEW))
    is_positive = F.col("action").isin(settings.positive_actions)
    # Rows of a content stay together from here on: labels and what is known of contents take one shuffle.
    by_content = told.where(is_exposure | is_positive).repartition(*BY_CONTENT)
    relevant = by_content.withColumn("is_action", ~is_exposure)
    # An action at the very instant of an exposure is that exposure's: exposures sort first.
    in_order = Window.partitionBy("platform", "user_id", "content_id").orderBy("event_time", "is_action", "event_id")
    # What follows an exposure is either the first action that it is credited with, or the exposure that takes over.
    next_action = F.lead(F.when(F.col("is_action"), F.col("event_time"))).over(in_order)
    in_time = F.col("next_action") < F.col("event_time") + hours(settings.label_hours)
    return (
        relevant.withColumn("next_action", next_action)
        .where(~F.col("is_action"))
        .select(
            "platform",
            "event_id",
            "user_id",
            "content_id",
            "creator_id",
            "event_time",
            F.hour(local_time()).alias("local_hour"),
            F.weekday(local_time()).alias("local_weekday"),
            "position",
            F.when(in_time, F.col("next_action")).alias("engaged_at"),
        )
    )


def labelled(exposed: DataFrame, as_of: date, settings: EngagementSettings) -> DataFrame:
    """Return the exposures whose label window is over by the end of `as_of`, with the label instead of `engaged_at`.

    Args:
        exposed: from `exposures`, with any further columns.
        as_of: last UTC day that may be known.
        settings: label_hours is used.
    """
    is_over = F.col("event_time") + hours(settings.label_hours) <= end_of(as_of)
    label = F.col("engaged_at").isNotNull().cast("int").alias(LABEL)
    kept = [F.col(name) for name in exposed.columns if name != "engaged_at"]
    return exposed.where(is_over).select(*kept, label)


def end_of(day: date) -> Column:
    """Return the instant at which a UTC day ends; the session's time zone is UTC."""
    return F.lit(day + timedelta(days=1)).cast("timestamp")


def hours(count: int) -> Column:
    """Return an interval of so many hours."""
    return F.make_dt_interval(hours=F.lit(count))


def local_time() -> Column:
    """Return `event_time` as the person's clock showed it, UTC where `utc_offset_min` is null."""
    return F.col("event_time") + F.make_dt_interval(mins=F.coalesce("utc_offset_min", F.lit(0)))
