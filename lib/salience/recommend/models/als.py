"""`als`: MLlib's alternating least squares on implicit preferences; people are folded in where they are scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from salience.recommend import als
from salience.recommend.als import Point, Ratings
from salience.recommend.foldin import Model, Own, by_person, model_of, normal_equation
from salience.recommend.models.interface import (
    Doubles,
    Integers,
    Parameters,
    Scorer,
    Training,
    Weighing,
    places_of,
)
from salience.recommend.topk import Items, collect_items
from salience.settings.recommend import AlsSettings


@dataclass(frozen=True)
class AlsScorer(Scorer):
    """Solves for each person's factors from their history (foldin.py), then multiplies."""

    content_ids: pa.Array
    model: Model
    weighing: Weighing

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores; 0 for people of whose history the model knows nothing."""
        own = asking.column("own")
        flat, lengths = own.flatten(), pc.fill_null(pc.list_value_length(own), 0).to_numpy(zero_copy_only=False)
        places = by_person(places_of(flat.field("content_id"), self.content_ids), lengths)
        weights = by_person(self.weighing.values(flat), lengths)
        features = np.zeros((len(own), len(self.model.gram)))
        for person, (where, weight) in enumerate(zip(places, weights, strict=True)):
            known = where >= 0
            if known.any():
                matrix, terms = normal_equation(self.model, Own(where[known], weight[known]))
                features[person] = np.linalg.solve(matrix, terms.sum(axis=0))
        return features @ self.model.factors.T

    def contributions(self, own: pa.StructArray, wanted: Integers) -> Doubles:
        """Return what each own content adds, see explain.py."""
        return self._contributions(own, self.model.factors[wanted])

    def mean_contributions(self, own: pa.StructArray) -> Doubles:
        """Return what each own content adds to a content of mean factors."""
        return self._contributions(own, self._mean_factors)[:, 0]

    @cached_property
    def _mean_factors(self) -> Doubles:
        return np.asarray(self.model.factors.mean(axis=0, keepdims=True))

    def _contributions(self, own: pa.StructArray, wanted: Doubles) -> Doubles:
        places = places_of(own.field("content_id"), self.content_ids)
        known = places >= 0
        told = np.zeros((len(own), len(wanted)))
        if known.any():
            matrix, terms = normal_equation(self.model, Own(places[known], self.weighing.values(own)[known]))
            told[known] = terms @ np.linalg.solve(matrix, wanted.T)
        return told


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
        return AlsScorer(self.items.content_ids, model_of(self.items, point), weighing)

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
