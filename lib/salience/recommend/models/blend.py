"""`blend`: the weighted sum of other recommenders' standard scores (scoring.py); one of a single part ranks as it does.

A standard score is linear in the scores once a person's mean and standard deviation are known, so own content j adds

    sum over parts p of weight(p) x (c_p[j, i] - mean over k of c_p[j, k]) / deviation(p)

to the score of content i, where c_p are the contributions to the scores of part p.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from salience.recommend.models.interface import Doubles, Fitted, Integers, Parameters, Recommender, Scorer, Training
from salience.recommend.scoring import Mix, Panel, deviations, mixed, panel
from salience.recommend.topk import lists_of


@dataclass(frozen=True)
class BlendScorer(Scorer):
    """Scores the union of what the parts know; reads all columns that they read."""

    content_ids: pa.Array
    parts: Panel
    weights: Mix
    """The one mix of the panel."""

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores."""
        ((_, scores),) = mixed(asking, self.parts)
        return scores

    def contributions(self, own: pa.StructArray, wanted: Integers) -> Doubles | None:
        """Return what each own content adds to the parts' standard scores; None if some part does not tell."""
        if len(self.weights) == 1:
            (name,) = self.weights
            return self.parts.scorers[name].contributions(own, wanted)
        told = np.zeros((len(own), len(wanted)))
        for name, weight in self.weights.items():
            places = self._places(name)[wanted]
            known = places >= 0
            terms = standard_contributions(self.parts.scorers[name], own, places[known])
            if terms is None:
                return None
            told[:, known] += weight * terms
        return told

    def _places(self, name: str) -> Integers:
        """Return where each content lies among those of a part; -1 where the part does not know it."""
        here, count = self.parts.places[name], len(self.content_ids)
        if here is None:
            return np.arange(count)
        there = np.full(count, -1)
        there[here] = np.arange(len(here))
        return there


def standard_contributions(scorer: Scorer, own: pa.StructArray, wanted: Integers) -> Doubles | None:
    """Return what each own content of one person adds to the standard score of each wanted content.

    Args:
        scorer: whose contributions add up to its scores.
        own, wanted: as `Scorer.contributions` takes them.

    Returns:
        (own, wanted), 0 where the person's scores have no spread; None if the scorer does not tell.
    """
    of_wanted = scorer.contributions(own, wanted)
    if of_wanted is None:
        return None
    alone = pa.RecordBatch.from_arrays([lists_of(own, np.array([len(own)]))], ["own"])
    return np.asarray((of_wanted - scorer.mean_contributions(own)[:, None]) / deviations(scorer.scores(alone)))


@dataclass(frozen=True)
class FittedBlend:
    """The fitted parts by name; the settings are the weights, and the parts' own settings."""

    settings: Parameters
    parts: Mapping[str, Fitted]

    def scorer(self) -> BlendScorer:
        """Return it as tasks use it."""
        weights = self.settings["weights"]
        parts = panel({name: part.scorer() for name, part in self.parts.items()}, {"blend": weights})
        return BlendScorer(parts.content_ids, parts, weights)

    def frames(self) -> dict[str, DataFrame]:
        """Return the parts' frames, each as <part>.<frame>."""
        return {f"{name}.{key}": frame for name, part in self.parts.items() for key, frame in part.frames().items()}

    def asked(self, asking: DataFrame) -> DataFrame:
        """Add what each part reads."""
        for part in self.parts.values():
            asking = part.asked(asking)
        return asking


@dataclass(frozen=True)
class Blend:
    """The recommenders that it is made of, by name, and the points that a search tries.

    A point holds the weight (> 0) of each part, and the parameters to fit it with:

        {"weights": {"als": 0.6, "ease": 0.4}, "parts": {"als": {...}, "ease": {...}}}
    """

    recommenders: Mapping[str, Recommender]
    points: tuple[Parameters, ...]

    def grid(self, training: Training) -> list[Parameters]:
        """Return the points: weights, parts; those with a part that has nothing to go on are left out."""
        used = {name for point in self.points for name in point["weights"]}
        able = {name for name in used if self.recommenders[name].grid(training)}
        return [point for point in self.points if able.issuperset(point["weights"])]

    def fit(self, training: Training, parameters: Parameters) -> FittedBlend:
        """Fit each part that has a weight."""
        # In the order in which they are loaded again, so that sums are rounded alike.
        weights = dict(sorted(parameters["weights"].items()))
        parts = {name: self.recommenders[name].fit(training, parameters["parts"][name]) for name in weights}
        return FittedBlend(_settings(weights, parts), parts)

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedBlend:
        """Return the model that had these frames and settings."""
        weights = dict(sorted(settings["weights"].items()))
        parts = {
            name: self.recommenders[name].load(_frames_of(name, frames), settings["parts"][name]) for name in weights
        }
        return FittedBlend(_settings(weights, parts), parts)


def _settings(weights: Mix, parts: Mapping[str, Fitted]) -> Parameters:
    return {"weights": weights, "parts": {name: dict(part.settings) for name, part in parts.items()}}


def _frames_of(part: str, frames: Mapping[str, DataFrame]) -> dict[str, DataFrame]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): frame for name, frame in frames.items() if name.startswith(prefix)}
