"""The model that recommends: fitted on everything before the cut, and described well enough to be known again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame

from salience.recommend import als
from salience.recommend.als import Point
from salience.recommend.confidence import preferences
from salience.recommend.evaluate import Choice
from salience.recommend.foldin import Model, model_of
from salience.recommend.topk import collect_items
from salience.settings import RecommendSettings

COLUMNS = ["platform", "user_id", "content_id", "action", "event_time", "rating", "dwell_s", "video_length_s"]
"""What recommenders need of silver.interactions."""


@contextmanager
def fitted(
    interactions: DataFrame, cut: datetime, point: Point, settings: RecommendSettings
) -> Iterator[Mapping[str, DataFrame]]:
    """Fit ALS on everything before `cut`.

    Yields:
        the frames to save, for as long as the block lasts: user_factors(user_id, features) and
        item_factors(content_id, features), array<float>.

    Raises:
        InputError: there is nothing to train on.
    """
    with als.prepared(preferences(interactions, cut, settings), settings.als.blocks) as ratings:
        factors = als.fit(ratings, settings.als, point)
        yield {"user_factors": factors.user_factors, "item_factors": factors.item_factors}


def manifest(
    platform: str, cut: datetime, choice: Choice, settings: RecommendSettings, inputs: Mapping[str, int]
) -> dict[str, Any]:
    """Return what identifies a model: settings, ids, cut, table versions read, and how it was chosen."""
    return {
        "model": "als",
        "platform": platform,
        "cut": cut.isoformat(),
        "settings": als.fit_settings(choice.point, settings),
        "ids": "MLlib's ids are the ranks, from 0, of the sorted user_id and content_id of these frames",
        "inputs": dict(inputs),
        "tried": {name: round(ndcg, 6) for name, ndcg in choice.tried.items()},
    }


def for_tasks(item_factors: DataFrame, manifest: Mapping[str, Any]) -> Model:
    """Return a saved model as tasks need it."""
    fitted_with = manifest["settings"]
    return model_of(collect_items(item_factors), Point(fitted_with["alpha"], fitted_with["regularisation"]))
