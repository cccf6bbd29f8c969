"""How many people were active on each day, and how often they come back."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.profiles.segments import EVERYONE, segment
from salience.settings import MetricSettings
from salience.stats.small_cells import PEOPLE

WEEK, MONTH = 7, 28
"""Days of the windows behind wau_7d and mau_28d, the day itself included."""


def audience_daily(
    interactions: DataFrame, users: DataFrame, days: Sequence[date], settings: MetricSettings
) -> DataFrame:
    """Return the rows of gold.audience_daily for the given UTC days.

    A day has a row wherever somebody was active on it or in the 27 days before; segments are `all` and
    `<attribute>=<value>` by the person's attributes at the end of the day. A day is complete when the platform's log
    begins at least 27 days before it. Everything is exact; `people` says how many watched on the day, for
    stats/small_cells.py, which takes it away.

    Args:
        interactions: silver.interactions, all days up to the last one asked for.
        users: silver.users, with valid_from and valid_to.
        days: the days to measure, at least one.
        settings: segment_attributes is used.
    """
    first, last = min(days), max(days)
    active = _active_days(interactions, first - timedelta(days=MONTH - 1), last)
    log_starts = interactions.groupBy("platform").agg(F.min("event_date").alias("log_start"))
    person_days = _carry_forward(active, days)
    segmented = _with_segments(person_days, users, settings.segment_attributes)
    counts = segmented.groupBy("event_date", "platform", "segment").agg(
        F.count_if(F.col("days_since") == 0).alias("dau"),
        F.count_if(F.col("days_since") < WEEK).alias("wau_7d"),
        F.count("*").alias("mau_28d"),
        F.sum("watch_time_s").alias("watch_time_s"),
        F.create_map(F.lit("watchers"), F.count_if(F.col("watch_time_s") > 0)).alias(PEOPLE),
    )
    per_person = F.when(F.col("dau") > 0, F.col("watch_time_s").cast("double") / F.col("dau"))
    return counts.join(F.broadcast(log_starts), "platform", how="inner").select(
        *("event_date", "platform", "segment", "dau", "wau_7d", "mau_28d"),
        (F.col("dau") / F.col("mau_28d")).alias("stickiness_dau_over_mau"),
        per_person.alias("watch_time_s_by_active_user"),
        (F.col("log_start") <= F.date_sub("event_date", MONTH - 1)).alias("is_complete"),
        PEOPLE,
    )


def _active_days(interactions: DataFrame, first: date, last: date) -> DataFrame:
    """Return platform, user_id, active_on, watch_time_s: one row for each day on which a person did anything."""
    inside = interactions.where(F.col("event_date").between(F.lit(first), F.lit(last)))
    watched = F.sum(F.coalesce("dwell_s", F.lit(0).cast("decimal(12,3)"))).alias("watch_time_s")
    return inside.groupBy("platform", "user_id", F.col("event_date").alias("active_on")).agg(watched)


def _carry_forward(active: DataFrame, days: Sequence[date]) -> DataFrame:
    """Return event_date, platform, user_id, days_since, watch_time_s: who counts on each day asked for.

    Each active day is copied to the up to 28 days whose windows hold it, so that no day has to look back.
    """
    since = F.datediff("event_date", "active_on")
    start = F.greatest("active_on", F.lit(min(days)))
    end = F.least(F.date_add("active_on", MONTH - 1), F.lit(max(days)))
    copied = active.withColumn("event_date", F.explode(F.sequence(start, end)))
    return (
        copied.where(F.col("event_date").isin(list(days)))
        .groupBy("event_date", "platform", "user_id")
        .agg(F.min(since).alias("days_since"), F.sum(F.when(since == 0, F.col("watch_time_s"))).alias("watch_time_s"))
    )


def _with_segments(person_days: DataFrame, users: DataFrame, attributes: Sequence[str]) -> DataFrame:
    """Repeat each row for every segment that the person belongs to at the end of the day."""
    if not attributes:
        return person_days.withColumn("segment", F.lit(EVERYONE))
    day_ends = F.date_add("event_date", 1).cast("timestamp")
    versions = users.select("platform", "user_id", "attributes", "valid_from", "valid_to").alias("version")
    is_in_force = (
        F.expr("day.platform = version.platform AND day.user_id = version.user_id")
        & (F.col("version.valid_from") < day_ends)
        & (F.col("version.valid_to").isNull() | (F.col("version.valid_to") >= day_ends))
    )
    known = person_days.alias("day").join(versions, is_in_force, how="left").select("day.*", "version.attributes")
    names = [F.lit(EVERYONE), *map(segment, attributes)]
    return known.withColumn("segment", F.explode(F.array_compact(F.array(*names)))).drop("attributes")
