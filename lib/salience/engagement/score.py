"""Scoring candidates as if they were shown right after the last known day."""

from collections.abc import Mapping
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.engagement.exposures import end_of
from salience.engagement.features import features
from salience.engagement.logistic import Coefficients, probability_by_platform
from salience.engagement.train import LOGISTIC
from salience.settings import EngagementSettings

UNKNOWN_HOUR = 20
"""Local hour in which a person is shown something whose own hours are unknown."""


def targets(candidates: DataFrame, user_profiles: DataFrame, as_of: date) -> DataFrame:
    """Return each candidate as an exposure at the end of `as_of`, in the person's most active local hour.

    Args:
        candidates: platform, user_id, content_id; unique.
        user_profiles: platform, user_id, active_hours (24 shares); the earliest hour wins a tie.
        as_of: last UTC day that is known.

    Returns:
        platform, user_id, content_id, event_time, local_hour.
    """
    busiest = (F.array_position("active_hours", F.array_max("active_hours")) - 1).cast("int")
    habits = user_profiles.select("platform", "user_id", busiest.alias("local_hour"))
    return candidates.join(habits, ["platform", "user_id"], how="left").select(
        "platform",
        "user_id",
        "content_id",
        end_of(as_of).alias("event_time"),
        F.coalesce("local_hour", F.lit(UNKNOWN_HOUR)).alias("local_hour"),
    )


def score(
    asked: DataFrame,
    exposed: DataFrame,
    contents: DataFrame,
    models: Mapping[str, Coefficients],
    settings: EngagementSettings,
) -> DataFrame:
    """Return the probability that each target engages.

    Args:
        asked: from `targets`; platforms without a model are left out.
        exposed: the history, from `exposures`.
        contents: silver.contents.
        models: coefficients by platform, at least one.
        settings: engagement settings.

    Returns:
        platform, user_id, content_id, model, p_engage_24h.
    """
    known = F.col("platform").isin(list(models))
    with_features = features(asked.where(known), exposed.where(known), contents, settings)
    p = probability_by_platform(models).alias("p_engage_24h")
    return with_features.select("platform", "user_id", "content_id", F.lit(LOGISTIC).alias("model"), p)
