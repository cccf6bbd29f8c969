"""How much an interaction tells of a person's interest: an action's weight that fades with age."""

from collections.abc import Mapping
from datetime import date, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

MICROSECONDS_PER_DAY = 86_400_000_000

EXACT_WEIGHT = "decimal(28,18)"
"""Weights are summed as decimals, so that a sum does not depend on the order of its rows."""


def action_weight(action_weights: Mapping[str, float], rating_scale_max: float) -> Column:
    """Return the weight of one interaction before it fades, from its `action` and `rating`.

    An action without a weight weighs 0. A `rate` weighs its action's weight x rating / rating_scale_max, and 0 without
    a rating.
    """
    weight = F.lit(0.0)
    for action, value in sorted(action_weights.items()):
        share = F.coalesce(F.col("rating"), F.lit(0.0)) / F.lit(rating_scale_max) if action == "rate" else F.lit(1.0)
        weight = F.when(F.col("action") == action, F.lit(float(value)) * share).otherwise(weight)
    return weight


def faded(weight: Column, as_of: date, half_life_days: float) -> Column:
    """Return weight x 0.5 ^ (age / half-life), age being the days from `event_time` to the end of `as_of`."""
    return weight * F.pow(F.lit(0.5), days_until_end(F.col("event_time"), as_of) / F.lit(float(half_life_days)))


def days_until_end(time: Column, as_of: date) -> Column:
    """Return the days (a double) from a time to the end of the UTC day `as_of`."""
    end = ((as_of - date(1970, 1, 1)).days + 1) * MICROSECONDS_PER_DAY
    return (F.lit(end) - F.unix_micros(time)) / F.lit(float(MICROSECONDS_PER_DAY))


def in_window(as_of: date, window_days: int) -> Column:
    """Return whether `event_date` is one of the `window_days` days that end on `as_of`."""
    return F.col("event_date").between(F.lit(as_of - timedelta(days=window_days - 1)), F.lit(as_of))
