"""Popularity: what everyone did with a content, faded with age."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.interactions.undone import without_undone
from salience.recommend.confidence import action_weight, decay, exact_sum
from salience.settings.recommend import RecommendSettings

ALL_TIME = None
"""The half-life of popularity that never fades."""

HalfLife = float | None


def popularity(
    interactions: DataFrame, cut: datetime, half_lives: Sequence[HalfLife], settings: RecommendSettings
) -> DataFrame:
    """Score each content by the action weights of everyone before `cut`, once for each half-life.

    What was undone by then weighs nothing.

    Args:
        interactions: rows of silver.interactions of one platform.
        cut: events at this time or later do not count; UTC.
        half_lives: in days; ALL_TIME for no fading.
        settings: action weights.

    Returns:
        content_id, features: array<double>, one score for each half-life in the given order; never negative.
    """
    weight = action_weight(settings)
    scores = [exact_sum(weight if h is ALL_TIME else weight * decay(cut, h)) for h in half_lives]
    past = interactions.where((F.col("event_time") < F.lit(cut)) & F.col("content_id").isNotNull())
    not_negative = [F.greatest(score, F.lit(0.0)) for score in scores]
    return without_undone(past).groupBy("content_id").agg(F.array(*not_negative).alias("features"))


def model_name(half_life: HalfLife) -> str:
    """Return the name of a popularity baseline, like popularity_7d."""
    return "popularity_all_time" if half_life is ALL_TIME else f"popularity_{half_life:g}d"


def popularity_settings(half_life: HalfLife, settings: RecommendSettings) -> dict[str, Any]:
    """Return all that a popularity depends on beside the interactions."""
    weights = settings.model_dump(mode="json", include={"action_weights", "watch_time_weight", "rating_scale_max"})
    return {"half_life_days": half_life, **weights}


def one_model_each(half_lives: Sequence[HalfLife]) -> list[tuple[str, list[float]]]:
    """Return (name, features) such that a person's features x a content's `features` is that model's score."""
    return [
        (model_name(h), [1.0 if place == n else 0.0 for place in range(len(half_lives))])
        for n, h in enumerate(half_lives)
    ]
