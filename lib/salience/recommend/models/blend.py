"""`blend`: the weighted sum of other recommenders' standard scores (scoring.py); one of a single part ranks as it does.

A standard score is linear in the scores once a person's mean and standard deviation are known, so own content j adds

    sum over parts p of weight(p) x (c_p[j, i] - mean over k of c_p[j, k]) / deviation(p)

to the score of content i, where c_p are the contributions to the scores of part p.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from salience.recommend.models.interface import (
    Doubles,
    Explainer,
    Fitted,
    Integers,
    Parameters,
    Recommender,
    Scorer,
    Training,
)
from salience.recommend.scoring import Mix, Panel, mixed, panel


@dataclass(frozen=True)
class BlendScorer(Scorer):
    """Scores the union of what the parts know; reads all columns that they read."""

    content_ids: pa.Array
    parts: Panel
    weights: Mix
    """The one mix of the panel."""
    _last: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Of whom scores were asked last, and their deviations: whoever asks for scores asks for reasons next."""

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores."""
        ((_, scores, deviations),) = mixed(asking, self.parts)
        self._last.update(asking=asking, deviations=deviations)
        return scores

    def explainer(self, asking: pa.RecordBatch) -> "Explainer | None":
        """Return what each own content adds to the parts' standard scores; None if some part does not tell."""
        parts = {name: self.parts.scorers[name].explainer(asking) for name in self.weights}
        told = {name: part for name, part in parts.items() if part is not None}
        if len(told) < len(parts):
            return None
        if len(told) == 1:
            return next(iter(told.values()))
        if self._last.get("asking") is not asking:
            self.scores(asking)
        return BlendTerms(self.weights, told, self._last["deviations"], {name: self._places(name) for name in told})

    def _places(self, name: str) -> Integers:
        """Return where each content lies among those of a part; -1 where the part does not know it."""
        here, count = self.parts.places[name], len(self.content_ids)
        if here is None:
            return np.arange(count)
        there = np.full(count, -1)
        there[here] = np.arange(len(here))
        return there


@dataclass(frozen=True)
class BlendTerms(Explainer):
    """The weighted sum of the terms of the parts' standard scores.

    spreads: the standard deviation of each person's scores by each part.
    places: where each content lies among those of each part; -1 where the part does not know it.
    """

    weights: Mix
    parts: Mapping[str, Explainer]
    spreads: Mapping[str, Doubles]
    places: Mapping[str, Integers]

    def contributions(self, person: int, wanted: Integers) -> Doubles:
        """Return (own, wanted) terms."""
        told = []
        for name, part in self.parts.items():
            places = self.places[name][wanted]
            known = places >= 0
            terms = part.contributions(person, places[known]) - part.means(person)[:, None]
            of_all = np.zeros((len(terms), len(wanted)))
            of_all[:, known] = terms / self.spreads[name][person]
            told.append(self.weights[name] * of_all)
        return np.asarray(sum(told))

    def means(self, person: int) -> Doubles:
        """Return (own,) zeros: standard scores, and what they are made of, have a mean of 0."""
        return np.zeros(len(next(iter(self.parts.values())).means(person)))


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
