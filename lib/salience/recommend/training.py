"""The model that recommends: fitted on everything before the cut, and described well enough to be known again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.recommend import als
from salience.recommend.als import Point, Ratings
from salience.recommend.caching import kept
from salience.recommend.foldin import Model, model_of
from salience.recommend.models.interface import Training, training
from salience.recommend.models.similarity import Alike, Similarity
from salience.recommend.pairs import pairs
from salience.recommend.promotion import Promotion
from salience.recommend.split import end_of
from salience.recommend.topk import collect_items
from salience.settings.recommend import RecommendSettings

COLUMNS = ["platform", "user_id", "content_id", "action", "event_time", "rating", "dwell_s", "video_length_s"]
"""What recommenders need of silver.interactions."""


@dataclass(frozen=True)
class Fit:
    """What was fitted on everything.

    frames: to save: user_factors(user_id, features) and item_factors(content_id, features), array<float>.
    content_similarity, user_similarity: rows of these tables of gold without release and platform.
    """

    frames: Mapping[str, DataFrame]
    content_similarity: DataFrame
    user_similarity: DataFrame


@contextmanager
def fitted(interactions: DataFrame, cut: datetime, settings: RecommendSettings) -> Iterator[Fit]:
    """Fit ALS at the first point of its grid, and the neighbours of contents and people, on everything before `cut`.

    Yields:
        what was fitted, for as long as the block lasts.

    Raises:
        InputError: there is nothing to train on.
    """
    with _trained(interactions, cut, settings) as trained:
        yield Fit(_factors(trained, settings), *_neighbours(trained, settings))


def fitted_before(
    interactions: DataFrame, days: Sequence[date], settings: RecommendSettings, tell: Callable[[str], None]
) -> Iterator[tuple[date, Mapping[str, DataFrame]]]:
    """Fit ALS alone on what was known at the end of each day; a day with nothing to train on is told, and left out.

    Yields:
        the day, and its frames to save (see Fit), which are gone once the next day is asked for.
    """
    for day in days:
        try:
            with _trained(interactions, end_of(day), settings) as trained:
                yield day, _factors(trained, settings)
        except InputError as error:
            tell(f"nothing was fitted as of {day}: {error}")


def neighbours(fits: Mapping[str, Fit], table: str) -> DataFrame:
    """Return what was fitted of each platform as rows of gold.content_similarity or gold.user_similarity."""
    found: list[DataFrame] = [
        getattr(fit, table).select(F.lit(name).alias("platform"), "*") for name, fit in fits.items()
    ]
    return reduce(DataFrame.union, found)


@contextmanager
def _trained(interactions: DataFrame, cut: datetime, settings: RecommendSettings) -> Iterator[Training]:
    with kept(pairs(interactions, cut, settings)) as weighted:
        if weighted.isEmpty():
            raise InputError(
                "there is no interaction with a positive weight to train on; check the interval, "
                "recommend.window_days and recommend.action_weights"
            )
        with training(weighted, settings.als.blocks) as trained:
            yield trained


def _factors(trained: Training, settings: RecommendSettings) -> Mapping[str, DataFrame]:
    ratings = Ratings(trained.pairs.select("user", "item", "weight"), trained.user_ids, trained.item_ids)
    factors = als.fit(ratings, settings.als, als.grid(settings.als)[0])
    return {"user_factors": factors.user_factors, "item_factors": factors.item_factors}


def _neighbours(trained: Training, settings: RecommendSettings) -> tuple[DataFrame, DataFrame]:
    tried = settings.search
    near = ([settings.similar], tried.shrinkages[:1], [0.0], [None], tried.longest_history)
    contents, people = Similarity(*near), Alike(*near)
    alike = contents.fit(trained, contents.grid(trained)[0]).content_similarity
    users_alike = people.fit(trained, people.grid(trained)[0]).user_similarity
    method = F.lit("cosine").alias("method")
    return alike.select("*", method), users_alike.select("*", method)


def manifest(platform: str, cut: datetime, promotion: Promotion, inputs: Mapping[str, int]) -> dict[str, Any]:
    """Return what identifies a model: settings, ids, cut, table versions read, and how it was chosen."""
    verdict = promotion.verdict
    return {
        "model": "als",
        "platform": platform,
        "cut": cut.isoformat(),
        "settings": als.fit_settings(verdict.point, verdict.settings),
        "ids": "MLlib's ids are the ranks, from 0, of the sorted user_id and content_id of these frames",
        "inputs": dict(inputs),
        "tried": {name: round(ndcg, 6) for name, ndcg in promotion.tried.items()},
        "gate": {"is_promoted": verdict.is_promoted, "why": verdict.why},
    }


def for_tasks(item_factors: DataFrame, manifest: Mapping[str, Any]) -> Model:
    """Return a saved model as tasks need it."""
    fitted_with = manifest["settings"]
    return model_of(collect_items(item_factors), Point(fitted_with["alpha"], fitted_with["regularisation"]))
