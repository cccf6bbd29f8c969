"""`als`: MLlib's alternating least squares on implicit preferences; people are folded in where they are scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from salience.recommend import als
from salience.recommend.als import Point, Ratings
from salience.recommend.explain import contributions
from salience.recommend.foldin import Equation
from salience.recommend.models.interface import (
    Doubles,
    Explainer,
    Integers,
    Own,
    Parameters,
    Scorer,
    Training,
    Weighing,
    owned,
)
from salience.recommend.topk import Items, collect_items
from salience.settings.recommend import AlsSettings


@dataclass(frozen=True)
class AlsScorer(Scorer):
    """Solves for each person's factors from their history (foldin.py), then multiplies."""

    content_ids: pa.Array
    factors: Doubles
    equation: Equation
    weighing: Weighing

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores; 0 for people of whose history the model knows nothing."""
        people = owned(asking.column("own"), self.places, self.weighing)
        return self.equation.solved(self.factors, people) @ self.factors.T

    def explainer(self, asking: pa.RecordBatch) -> "AlsTerms":
        """Return what each own content adds, see explain.py."""
        return AlsTerms(self, owned(asking.column("own"), self.places, self.weighing))

    @cached_property
    def mean_factors(self) -> Doubles:
        """Those of a content that is the mean of all, (1, rank)."""
        return np.asarray(self.factors.mean(axis=0, keepdims=True))


@dataclass(frozen=True)
class AlsTerms(Explainer):
    """The terms of the right side of the normal equation, solved."""

    scorer: AlsScorer
    people: Sequence[Own]

    def contributions(self, person: int, wanted: Integers) -> Doubles:
        """Return (own, wanted) terms."""
        return self._terms(self.people[person], self.scorer.factors[wanted])

    def means(self, person: int) -> Doubles:
        """Return (own,) mean terms."""
        return self._terms(self.people[person], self.scorer.mean_factors)[:, 0]

    def _terms(self, own: Own, wanted: Doubles) -> Doubles:
        if not len(own.places):
            return np.zeros((own.size, len(wanted)))
        mine = self.scorer.factors[own.places]
        return own.spread(contributions(self.scorer.equation, mine, own.weights, wanted))


@dataclass(frozen=True)
class FittedAls:
    """Item factors and how they were fitted."""

    settings: Parameters
    item_factors: DataFrame
    items: Items

    def scorer(self) -> AlsScorer:
        """Return it as tasks use it."""
        point = Point(self.settings["alpha"], self.settings["regularisation"])
        weighing = Weighing(half_life_days=self.settings["half_life_days"])
        equation = Equation(self.items.factors.T @ self.items.factors, point)
        return AlsScorer(self.items.content_ids, self.items.factors, equation, weighing)

    def frames(self) -> dict[str, DataFrame]:
        """Return item_factors(content_id, features)."""
        return {"item_factors": self.item_factors}

    def asked(self, asking: DataFrame) -> DataFrame:
        """Return the people as they are."""
        return asking


def als_at(point: Point, settings: AlsSettings) -> tuple["Als", Parameters]:
    """Return ALS and the parameters of one point, for pairs whose weights are faded already."""
    parameters = {"iterations": settings.iterations, "rank": settings.rank, **vars(point), "half_life_days": None}
    return Als(settings, (parameters,)), parameters


@dataclass(frozen=True)
class Als:
    """Settings that no search changes, and the points that one tries."""

    settings: AlsSettings
    """Its rank and grid are not used; its iterations are where a point does not tell any."""
    points: tuple[Parameters, ...]

    def grid(self, training: Training) -> list[Parameters]:
        """Return the points: iterations, rank, alpha, regularisation, half_life_days."""
        return list(self.points)

    def fit(self, training: Training, parameters: Parameters) -> FittedAls:
        """Fit it; see als.fit."""
        weight = Weighing(half_life_days=parameters["half_life_days"]).column().cast("float").alias("weight")
        ratings = Ratings(training.pairs.select("user", "item", weight), training.user_ids, training.item_ids)
        point = Point(parameters["alpha"], parameters["regularisation"])
        asked = {name: parameters[name] for name in ("iterations", "rank") if name in parameters}
        factors = als.fit(ratings, self.settings.model_copy(update=asked), point).item_factors
        told = {**self.settings.model_dump(include={"iterations", "blocks", "seed"}), **parameters}
        return FittedAls(told, factors, collect_items(factors))

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedAls:
        """Return the model that had these frames and settings."""
        return FittedAls(settings, frames["item_factors"], collect_items(frames["item_factors"]))
