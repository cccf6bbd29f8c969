"""Matrix factors of implicit preferences by MLlib's alternating least squares."""

from dataclasses import dataclass
from typing import Any

from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame

from salience.settings.recommend import AlsSettings, RecommendSettings


@dataclass(frozen=True)
class Point:
    """One point of the grid."""

    alpha: float
    regularisation: float

    def __str__(self) -> str:
        """Return the point for a person to read."""
        return f"ALS with alpha {self.alpha:g} and regularisation {self.regularisation:g}"


@dataclass(frozen=True)
class Factors:
    """A fitted model: user_factors(user_id, features) and item_factors(content_id, features), array<float>."""

    user_factors: DataFrame
    item_factors: DataFrame


@dataclass(frozen=True)
class Ratings:
    """Preferences under the model's integer ids: user, item, weight; and the ids of users and items."""

    rows: DataFrame
    user_ids: DataFrame
    item_ids: DataFrame


def grid(settings: AlsSettings) -> list[Point]:
    """Return every point of the grid, in the order of the settings."""
    return [Point(alpha, regularisation) for alpha in settings.alphas for regularisation in settings.regularisations]


WEIGHTS = (
    "window_days",
    "half_life_days",
    "action_weights",
    "excluding_actions",
    "watch_time_weight",
    "rating_scale_max",
)
"""The settings that the weights of pairs depend on."""


def weight_settings(settings: RecommendSettings) -> dict[str, Any]:
    """Return all that the weights of pairs depend on beside the interactions."""
    return settings.model_dump(mode="json", include=set(WEIGHTS))


def fit_settings(point: Point, settings: RecommendSettings) -> dict[str, Any]:
    """Return all that the factors depend on beside the interactions."""
    fixed = settings.als.model_dump(mode="json", exclude={"alphas", "regularisations", "checkpoint_interval"})
    return {**fixed, **vars(point), **weight_settings(settings)}


def fit(ratings: Ratings, settings: AlsSettings, point: Point) -> Factors:
    """Fit ALS with implicit preferences (Hu, Koren and Volinsky, 2008; MLlib's variant, see explain.py).

    The last half-step of MLlib solves for the users, so the user factors belong to the final item factors. Equal
    ratings give equal factors on one machine; across cluster layouts they agree within rounding.

    Args:
        ratings: held and in a fixed order, see `models.interface.training`; use the factors while they are.
        settings: all but the grid.
        point: alpha and regularisation.
    """
    als = ALS(
        rank=settings.rank,
        maxIter=settings.iterations,
        regParam=point.regularisation,
        alpha=point.alpha,
        implicitPrefs=True,
        numUserBlocks=settings.blocks,
        numItemBlocks=settings.blocks,
        seed=settings.seed,
        userCol="user",
        itemCol="item",
        ratingCol="weight",
        # Ignored outside of `checkpoints`.
        checkpointInterval=settings.checkpoint_interval,
    )
    model = als.fit(ratings.rows)
    return Factors(
        _with_names(model.userFactors, ratings.user_ids, "user_id"),
        _with_names(model.itemFactors, ratings.item_ids, "content_id"),
    )


def _with_names(factors: DataFrame, ids: DataFrame, name: str) -> DataFrame:
    return factors.join(ids, "id", how="inner").select(name, "features")
