"""Matrix factors of implicit preferences by MLlib's alternating least squares."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.recommend.caching import kept
from salience.recommend.ids import dense_ids
from salience.settings import AlsSettings, RecommendSettings


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


def fit_settings(point: Point, settings: RecommendSettings) -> dict[str, Any]:
    """Return all that the factors depend on beside the interactions."""
    fixed = settings.als.model_dump(mode="json", exclude={"alphas", "regularisations"})
    weights = settings.model_dump(
        mode="json",
        include={
            "window_days",
            "half_life_days",
            "action_weights",
            "excluding_actions",
            "watch_time_weight",
            "rating_scale_max",
        },
    )
    return {**fixed, **vars(point), **weights}


@contextmanager
def prepared(preferences: DataFrame, blocks: int) -> Iterator[Ratings]:
    """Hold preferences materialised and in a fixed order, as ALS needs them, for as many fits as the block makes.

    ALS walks its input several times; rows that came out differently the second time would give wrong factors silently.

    Args:
        preferences: user_id, content_id, weight.
        blocks: partitions.

    Raises:
        InputError: there are no preferences.
    """
    with (
        kept(preferences) as pairs,
        dense_ids(pairs, "user_id") as users,
        dense_ids(pairs, "content_id") as items,
        kept(_numbered(pairs, users, items).repartition(blocks, "user").sortWithinPartitions("user", "item")) as rows,
    ):
        if rows.isEmpty():
            raise InputError(
                "there is no interaction with a positive weight to train on; check the interval, "
                "recommend.window_days and recommend.action_weights"
            )
        yield Ratings(rows, users, items)


def fit(ratings: Ratings, settings: AlsSettings, point: Point) -> Factors:
    """Fit ALS with implicit preferences (Hu, Koren and Volinsky, 2008; MLlib's variant, see explain.py).

    The last half-step of MLlib solves for the users, so the user factors belong to the final item factors. Equal
    ratings give equal factors on one machine; across cluster layouts they agree within rounding.

    Args:
        ratings: from `prepared`; use the factors within its block.
        settings: rank, iterations, blocks, seed.
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
        # It would be ignored without a checkpoint folder; the input is persisted and the lineage short.
        checkpointInterval=-1,
    )
    model = als.fit(ratings.rows)
    return Factors(
        _with_names(model.userFactors, ratings.user_ids, "user_id"),
        _with_names(model.itemFactors, ratings.item_ids, "content_id"),
    )


def _numbered(pairs: DataFrame, users: DataFrame, items: DataFrame) -> DataFrame:
    numbered = pairs.join(users.withColumnRenamed("id", "user"), "user_id", how="inner")
    numbered = numbered.join(items.withColumnRenamed("id", "item"), "content_id", how="inner")
    return numbered.select("user", "item", F.col("weight").cast("float").alias("weight"))


def _with_names(factors: DataFrame, ids: DataFrame, name: str) -> DataFrame:
    return factors.join(ids, "id", how="inner").select(name, "features")
