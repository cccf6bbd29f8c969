"""Contents worth ranking for each person: what the sources of the ladder propose, see ladder.py."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.recommend.arms import PERSONALISED
from salience.recommend.availability import not_shown
from salience.recommend.caching import kept
from salience.recommend.confidence import aged, preferences
from salience.recommend.gate import in_force
from salience.recommend.ladder import Ladder, Rung, climb
from salience.recommend.models.interface import histories
from salience.recommend.sources import Known, Models, Place, can_be, lacking, trending_items, with_rung
from salience.recommend.training import ALS, BLEND
from salience.settings.recommend import RecommendSettings


@contextmanager
def candidates(
    known: Known, served: DataFrame, models: Models, settings: RecommendSettings, tell: Callable[[str], None]
) -> Iterator[DataFrame]:
    """List the contents worth ranking for each person, and why.

    People of the personalised arm get what each source of the ladder proposes, all others what is trending. A source
    that lacks a model is told, and left out.

    Args:
        known: of the platform.
        served: user_id, arm.
        models: the saved models of `sources.trained_sources`, those that there are.
        settings: the ladder, weights, lengths.
        tell: takes what a person must not miss.

    Yields:
        rows of gold.recommendation_candidates without release and platform, for as long as the block lasts.
    """
    weighing = in_force(models[ALS].manifest, settings) if ALS in models else settings
    pairs = aged(preferences(known.interactions, known.cut, weighing), known.cut)
    with kept(pairs) as held, kept(trending_items(known, settings)) as shown:
        asking, rungs = _asking(known, served, held), list[Rung]()
        at = Place(known, models, held, shown, settings)
        for name, places in settings.places().items():
            if absent := lacking(name, at):
                goes = "goes without" if can_be(name, at) else "proposes nothing: there is no model"
                tell(f"{name} {goes} {', '.join(absent)}")
            if not can_be(name, at):
                continue
            if name == BLEND and len(cuts := {model.manifest.get("cut") for model in models.values()}) > 1:
                tell(f"{name} mixes models of {len(cuts)} trainings: train them together (jobs/train_recommender.py)")
            asking, rung = with_rung(asking, name, places, at)
            rungs += [rung] if rung else []
        ids = pa.array(sorted(shown.select("content_id").toArrow()["content_id"].to_pylist()), pa.string())
        yield climb(asking, Ladder(tuple(rungs), ids, settings.candidates))


def _asking(known: Known, served: DataFrame, pairs: DataFrame) -> DataFrame:
    """Return user_id, arm, own (null for people who get nothing personal), seen."""
    masked = not_shown(known.interactions, known.contents, known.cut)
    asking = served.join(histories(pairs), "user_id", how="left").join(masked, "user_id", how="left")
    own = F.when(F.col("arm") == PERSONALISED, F.col("own")).alias("own")
    return asking.select("user_id", "arm", own, F.coalesce("seen", F.array().cast("array<string>")).alias("seen"))
