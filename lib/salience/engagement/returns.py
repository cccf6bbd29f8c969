"""Who comes back: a person's day, what was known at its end, and whether a visit followed."""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.engagement.exposures import end_of
from salience.engagement.pipeline import Inputs
from salience.settings import EngagementSettings

LABEL = "return_7d"
"""The label's column: 1 if the person did anything within the next DAYS UTC days, else 0."""
DAYS = 7
PROBABILITY = "p_return_7d"

_COUNTS = ("visits", "events", "engagements")


def inputs(settings: EngagementSettings) -> Inputs:
    """Return what the model of returns reads."""
    counted = [f"{what}_{n}" for what in _COUNTS for n in range(len(settings.half_lives_days))]
    return Inputs(LABEL, (*counted, "days_since_visit", "days_known"), ("weekday",))


def person_days(interactions: DataFrame, as_of: date, settings: EngagementSettings) -> DataFrame:
    """Return a row for each person and UTC day from their first visit on, with what its end knew.

    A visit is a day with any interaction. Somebody without a visit for as long as the label's window, and as long again
    as the longest half-life, has left: such days teach nothing and are not rows.

    Args:
        interactions: silver.interactions.
        as_of: last UTC day that may be known; later events change nothing.
        settings: window_days, history_days, half_lives_days and positive_actions are used.

    Returns:
        platform, user_id, row_id, day, event_time (the day's end), returned_after (days to the next visit; null for
        none that is known), and the features of `inputs`: visits_<n>, events_<n>, engagements_<n> are log(1 + sum),
        decayed by the n-th half-life up to the day's end; days_since_visit and days_known are log(1 + days).
    """
    first_day = as_of - timedelta(days=settings.window_days + settings.history_days - 1)
    daily = (
        interactions.where(F.col("event_date").between(F.lit(first_day), F.lit(as_of)))
        .groupBy("platform", "user_id", F.col("event_date").alias("visit"))
        .agg(
            F.count("*").cast("double").alias("events"),
            F.count_if(F.col("action").isin(settings.positive_actions)).cast("double").alias("engagements"),
            F.lit(1.0).alias("visits"),
        )
    )
    by_person = Window.partitionBy("platform", "user_id").orderBy("visit")
    so_far = by_person.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    numbered = list(enumerate(settings.half_lives_days))
    sums = {
        f"{what}_{n}": F.sum(F.col(what) * F.pow(F.lit(2.0), -_days_to(as_of, "visit") / half_life)).over(so_far)
        for what in _COUNTS
        for n, half_life in numbered
    }
    visited = daily.withColumns(
        {**sums, "next_visit": F.lead("visit").over(by_person), "first_visit": F.min("visit").over(so_far)}
    )
    gone = DAYS + int(max(settings.half_lives_days))
    last = F.least(F.coalesce(F.date_sub("next_visit", 1), F.lit(as_of)), F.date_add("visit", gone), F.lit(as_of))
    days = visited.withColumn("day", F.explode(F.sequence("visit", last)))
    decayed = {
        f"{what}_{n}": F.log1p(F.col(f"{what}_{n}") * F.pow(F.lit(2.0), _days_to(as_of, "day") / half_life))
        for what in _COUNTS
        for n, half_life in numbered
    }
    return days.select(
        "platform",
        "user_id",
        F.concat_ws("|", "platform", "user_id", "day").alias("row_id"),
        "day",
        F.date_add("day", 1).cast("timestamp").alias("event_time"),
        F.datediff("next_visit", "day").alias("returned_after"),
        *(column.alias(name) for name, column in decayed.items()),
        F.log1p(F.datediff("day", "visit").cast("double")).alias("days_since_visit"),
        F.log1p(F.datediff("day", "first_visit").cast("double")).alias("days_known"),
        F.weekday("day").cast("string").alias("weekday"),
    )


def labelled(days: DataFrame, as_of: date) -> DataFrame:
    """Return the days whose label is known by the end of `as_of`, with the label instead of `returned_after`."""
    is_over = F.date_add("day", DAYS) <= F.lit(as_of)
    label = F.coalesce(F.col("returned_after") <= DAYS, F.lit(False)).cast("int").alias(LABEL)
    return days.where(is_over).select("*", label).drop("returned_after")


def latest(days: DataFrame, as_of: date) -> DataFrame:
    """Return each person's row of the as-of day: who has left has none."""
    return days.where(F.col("event_time") == end_of(as_of)).drop("returned_after")


def _days_to(as_of: date, day: str) -> Column:
    return F.datediff(F.lit(as_of), F.col(day)).cast("double")
