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
from salience.models.store import LoadedModel
from salience.recommend import als
from salience.recommend.als import Point, Ratings
from salience.recommend.caching import kept
from salience.recommend.foldin import Model, model_of
from salience.recommend.models.catalogue import catalogue
from salience.recommend.models.interface import Parameters, Training, training
from salience.recommend.models.similarity import Alike, Similarity
from salience.recommend.pairs import pairs
from salience.recommend.promotion import Promotion
from salience.recommend.split import end_of
from salience.settings.recommend import RecommendSettings

ALS, BLEND = "als", "blend"
UNTRAINED = ("blend", "tags", "segment_popular", "trending")
"""Sources that are no models of their own."""

_OF_EVENTS = ("action", "event_time", "rating", "dwell_s", "video_length_s")
COLUMNS = ["platform", "user_id", "content_id", "creator_id", *_OF_EVENTS]
"""What recommenders need of silver.interactions."""


@dataclass(frozen=True)
class Made:
    """A model's frames, and the settings that it was fitted with."""

    frames: Mapping[str, DataFrame]
    settings: Parameters


@dataclass(frozen=True)
class Fit:
    """What was fitted on everything.

    models: by name, what each is made of, to save: `als` with user_factors(user_id, features) and
        item_factors(content_id, features), array<float>, and the other sources that learn.
    content_similarity, user_similarity: rows of these tables of gold without release and platform.
    """

    models: Mapping[str, Made]
    content_similarity: DataFrame
    user_similarity: DataFrame

    def named(self, cut: datetime) -> Iterator[tuple[str, datetime, Made]]:
        """Yield each model's name, the cut that it was fitted at, and itself."""
        for name, made in self.models.items():
            yield name, cut, made


@contextmanager
def fitted(
    interactions: DataFrame, cut: datetime, settings: RecommendSettings, tell: Callable[[str], None]
) -> Iterator[Fit]:
    """Fit what recommends on everything before `cut`: ALS, and each other source that learns, at their first points.

    A source other than ALS that cannot be fitted is told, and left out.

    Yields:
        what was fitted, for as long as the block lasts.

    Raises:
        InputError: there is nothing to train on.
    """
    with _trained(interactions, cut, settings) as trained:
        models = {ALS: Made(_factors(trained, settings), als.fit_settings(als.grid(settings.als)[0], settings))}
        known = catalogue(settings, timed=False)
        for name in trained_sources(settings):
            if name != ALS:
                try:
                    made = known[name].fit(trained, known[name].grid(trained)[0])
                except InputError as error:
                    tell(f"no new {name}: {error}")
                else:
                    models[name] = Made(made.frames(), {**made.settings, **als.weight_settings(settings)})
        yield Fit(models, *_neighbours(trained, settings))


def trained_sources(settings: RecommendSettings) -> list[str]:
    """Return the sources that are models of jobs/train_recommender.py: of the ladder, and the parts of its blend."""
    parts = settings.blend if BLEND in settings.ladder else {}
    return sorted({*settings.ladder, *parts} - {*UNTRAINED})


def fitted_before(
    interactions: DataFrame, days: Sequence[date], settings: RecommendSettings, tell: Callable[[str], None]
) -> Iterator[tuple[str, datetime, Made]]:
    """Fit ALS alone on what was known at the end of each day; a day with nothing to train on is told, and left out.

    Yields:
        als-<day>, its end, and the model, which is gone once the next day is asked for.
    """
    for day in days:
        try:
            with _trained(interactions, end_of(day), settings) as trained:
                about = als.fit_settings(als.grid(settings.als)[0], settings)
                yield f"{ALS}-{day}", end_of(day), Made(_factors(trained, settings), about)
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
    near = (tried.shrinkages[:1], [0.0], [None], tried.longest_history)
    # What the source `similarity` found is found once.
    contents, people = Similarity([max(settings.similar, *tried.neighbours)], *near), Alike([settings.similar], *near)
    point = {"power": 0.0, "shrinkage": tried.shrinkages[0], "neighbours": settings.similar, "half_life_days": None}
    method = F.lit("cosine").alias("method")
    alike = contents.fit(trained, point).content_similarity
    return alike.select("*", method), people.fit(trained, point).user_similarity.select("*", method)


def manifest(
    name: str, made: Made, platform: str, cut: datetime, promotion: Promotion, inputs: Mapping[str, int]
) -> dict[str, Any]:
    """Return what identifies a model: settings, ids, cut, table versions read, and how it was chosen."""
    verdict = promotion.verdict
    return {
        "model": name,
        "platform": platform,
        "cut": cut.isoformat(),
        "settings": made.settings,
        "ids": "MLlib's ids are the ranks, from 0, of the sorted user_id and content_id of these frames",
        "inputs": dict(inputs),
        "tried": {point: round(ndcg, 6) for point, ndcg in promotion.tried.items()},
        "gate": {"is_promoted": verdict.is_promoted, "why": verdict.why},
    }


def for_tasks(saved: LoadedModel, settings: RecommendSettings) -> Model:
    """Return a saved model of ALS as tasks solve for people with it."""
    fitted_with = saved.manifest["settings"]
    point = Point(fitted_with["alpha"], fitted_with["regularisation"])
    return model_of(saved.frames["item_factors"], point, settings.block_mb)
