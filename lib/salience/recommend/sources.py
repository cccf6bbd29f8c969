"""The sources of the ladder: what of a release's models, and of what is known of a platform, becomes a rung."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.models.store import LoadedModel
from salience.profiles.consent import refusing
from salience.profiles.segments import combined
from salience.recommend.availability import NOTHING_BLOCKED, Blocks, newest_versions, withheld
from salience.recommend.explain import explain
from salience.recommend.foldin import fold_in
from salience.recommend.ladder import Rung
from salience.recommend.models.blend import BlendScorer
from salience.recommend.models.catalogue import catalogue
from salience.recommend.models.interface import Scorer
from salience.recommend.models.popular import EVERYONE, PopularScorer, segment_scorer
from salience.recommend.models.tags import fitted_tags
from salience.recommend.pairs import tags
from salience.recommend.popularity import popularity
from salience.recommend.scoring import panel
from salience.recommend.topk import collect_items, in_blocks, top_k
from salience.recommend.training import ALS, BLEND, for_tasks, trained_sources
from salience.settings.recommend import RecommendSettings

TAGS, SEGMENT_POPULAR, TRENDING = "tags", "segment_popular", "trending"

Models = Mapping[str, LoadedModel]
"""Saved models of a platform, by the name of the source."""


@dataclass(frozen=True)
class Known:
    """What is known of a platform before `cut`; later rows may be there, too.

    interactions, contents, users: rows of silver.
    cut: UTC.
    blocks: what may not be shown.
    fewest: a segment of fewer people is nobody's.
    """

    interactions: DataFrame
    contents: DataFrame
    users: DataFrame
    cut: datetime
    blocks: Blocks = NOTHING_BLOCKED
    fewest: int = 1


@dataclass(frozen=True)
class Place:
    """Where the ladder is built.

    known: of the platform.
    models: of `trained_sources`, those that there are.
    pairs: user_id, content_id, weight, age_days; held.
    shown: content_id, features (one number: how popular it is of late) of all that may be shown; held.
    """

    known: Known
    models: Models
    pairs: DataFrame
    shown: DataFrame
    settings: RecommendSettings
    loaded: dict[str, Any] = field(default_factory=dict, repr=False)
    """Models as tasks use them."""


def lacking(name: str, at: Place) -> list[str]:
    """Return the models that a source would be made of, and that are not there; a blend is made of the others."""
    needed = list(at.settings.blend) if name == BLEND else [name] if name in trained_sources(at.settings) else []
    return [model for model in needed if model not in at.models]


def can_be(name: str, at: Place) -> bool:
    """Return whether a source has a model, if it needs any."""
    return not (absent := lacking(name, at)) or (name == BLEND and len(absent) < len(at.settings.blend))


def with_rung(asking: DataFrame, name: str, places: int, at: Place) -> tuple[DataFrame, Rung | None]:
    """Build one rung.

    Args:
        asking: user_id, arm, own, seen, and what earlier rungs read.
        name, places: one of settings.places(), that `can_be`.
        at: where.

    Returns:
        the asking with what the rung reads, and the rung; None where it has nothing to go on.
    """
    settings, known = at.settings, at.known
    if name == ALS:
        return _with_als(asking, at), Rung(name, places)
    if name == SEGMENT_POPULAR:
        refused = refusing(known.users, known.cut).select("user_id")
        pairs = at.pairs.join(refused, "user_id", how="left_anti")
        segments = combined(known.users, known.cut, settings.segment_by, known.fewest)
        segments = segments.join(refused, "user_id", how="left_anti")
        scorer = segment_scorer(pairs, segments, settings.search.segment_prior_pairs, known.fewest)
        return asking.join(segments, "user_id", how="left"), Rung(name, places, scorer) if scorer else None
    if name == TRENDING:
        return asking, Rung(name, places, _trending(at.shown), for_everyone=True)
    if name == TAGS:
        of_contents = tags(known.contents, known.cut)
        fitted = fitted_tags(of_contents, settings.search.tag_vocabulary, settings.recent_half_life_days)
        return asking, None if fitted is None else Rung(name, places, fitted.scorer())
    if name == BLEND:
        mixed = _blend(at)
        # Standard scores have 0 in their middle; a single part keeps its own.
        return asking, Rung(name, places, mixed, above=-np.inf if len(mixed.weights) > 1 else 0.0)
    whole = _loaded(name, at)
    fading = replace(whole.weighing, half_life_days=settings.recent_half_life_days)
    return asking, Rung(name, places, replace(whole, weighing=fading))


def trending_items(known: Known, settings: RecommendSettings) -> DataFrame:
    """Return every content that may be shown with its popularity of late: content_id, features (one score).

    Contents that nobody touched yet are among them.
    """
    popular = popularity(known.interactions, known.cut, [settings.trending_half_life_days], settings)
    told = newest_versions(known.contents, "content_id", known.cut).select("content_id")
    untouched = told.join(popular, "content_id", how="left_anti").select("content_id", F.array(F.lit(0.0)))
    gone = withheld(known.interactions, known.contents, known.cut, known.blocks)
    return popular.union(untouched).join(gone, "content_id", how="left_anti")


def _with_als(asking: DataFrame, at: Place) -> DataFrame:
    """Add `als`: what ALS ranks highest for each person, folded in from their history, and why."""
    saved = at.models[ALS]
    model = for_tasks(saved, at.settings)
    ranked = in_blocks(saved.frames["item_factors"].join(at.shown, "content_id", how="left_semi"), at.settings.block_mb)
    lists = top_k(fold_in(asking, model), ranked, at.settings.candidates, keep=["seen"])
    return explain(lists, model).withColumnRenamed("top", ALS)


def _trending(shown: DataFrame) -> PopularScorer:
    items = collect_items(shown)
    return PopularScorer(items.content_ids, pa.array([EVERYONE]), items.factors.reshape(1, -1))


def _loaded(name: str, at: Place) -> Any:
    """Return a saved model, loaded once; the weights of what people did have faded already."""
    if name not in at.loaded:
        saved = at.models[name]
        parameters = {**saved.manifest["settings"], "half_life_days": None}
        scorer = catalogue(at.settings, timed=False)[name].load(saved.frames, parameters).scorer()
        if not is_finite(scorer):
            raise InputError(f"model {name} holds NaN or infinite numbers; train it again (jobs/train_recommender.py)")
        at.loaded[name] = scorer
    return at.loaded[name]


def is_finite(scorer: Scorer) -> bool:
    """Return whether all numbers of a model are finite: one that is none would be in nobody's list, without a word."""
    arrays = [getattr(part, "data", part) if sp.issparse(part) else part for part in vars(scorer).values()]
    return all(np.isfinite(one).all() for one in arrays if isinstance(one, np.ndarray))


def _blend(at: Place) -> BlendScorer:
    weights = {str(name): weight for name, weight in sorted(at.settings.blend.items()) if name in at.models}
    parts = panel({name: _loaded(name, at) for name in weights}, {BLEND: weights})
    return BlendScorer(parts.content_ids, parts, weights)
