"""A person's factors from their own history, against fixed item factors.

MLlib's implicit ALS solves for a person with own contents j of weight w_j, given item factors y and n own contents

    A x = b,   A = Y'Y + sum_j alpha w_j y_j y_j' + regularisation n I,   b = sum_j (1 + alpha w_j) y_j

(org.apache.spark.ml.recommendation.ALS.computeFactors: confidence 1 + alpha |r|, preference 1, lambda scaled by the
number of ratings). Solving it for the present history also serves people and interactions newer than the model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from salience.recommend.als import Point
from salience.recommend.best import Doubles, Integers
from salience.recommend.topk import Items

Number = TypeVar("Number", np.int64, np.float64)


@dataclass(frozen=True)
class Model:
    """What a task needs to solve for a person: content ids, item factors (items, rank), Y'Y (rank, rank), the point."""

    content_ids: pa.Array
    factors: Doubles
    gram: Doubles
    point: Point


@dataclass(frozen=True)
class Own:
    """What one person did: places of the own contents among the model's items, and their weights."""

    places: Integers
    weights: Doubles


def model_of(items: Items, point: Point) -> Model:
    """Return the model with every item that it was fitted with."""
    return Model(items.content_ids, items.factors, items.factors.T @ items.factors, point)


def normal_equation(model: Model, own: Own) -> tuple[Doubles, Doubles]:
    """Return A, (rank, rank), and the terms of b, (own contents, rank), of one person."""
    mine = model.factors[own.places]
    confidence = model.point.alpha * own.weights
    ridge = model.point.regularisation * len(own.places) * np.eye(len(model.gram))
    return model.gram + (mine * confidence[:, None]).T @ mine + ridge, mine * (1.0 + confidence)[:, None]


def fold_in(histories: DataFrame, model: Model) -> DataFrame:
    """Solve for each person's factors.

    Args:
        histories: own (array of (content_id, weight), sorted, or null); other columns are passed through.
        model: from `model_of`.

    Returns:
        the same columns, features (array<double>; null for people with no own content that the model knows).
    """
    schema = T.StructType([*histories.schema, T.StructField("features", T.ArrayType(T.DoubleType()))])
    return histories.mapInArrow(_solver(histories.sparkSession.sparkContext.broadcast(model)), schema)


def _solver(shared: Broadcast[Model]) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def solve(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model = shared.value
        for batch in batches:
            people = own_contents(batch.column("own"), model.content_ids)
            column = pa.array([_factors(model, own) for own in people], pa.list_(pa.float64()))
            yield pa.RecordBatch.from_arrays([*batch.columns, column], [*batch.schema.names, "features"])

    return solve


def _factors(model: Model, own: Own) -> Doubles | None:
    if not len(own.places):
        return None
    matrix, terms = normal_equation(model, own)
    return np.asarray(np.linalg.solve(matrix, terms.sum(axis=0)))


def own_contents(own: pa.ListArray, content_ids: pa.Array) -> list[Own]:
    """Return what the model knows of each person's history."""
    flat, lengths = own.flatten(), pc.fill_null(pc.list_value_length(own), 0).to_numpy(zero_copy_only=False)
    places = places_of(flat.field("content_id"), content_ids)
    # MLlib holds ratings in single precision.
    weights = flat.field("weight").to_numpy(zero_copy_only=False).astype(np.float32).astype(np.float64)
    people = zip(by_person(places, lengths), by_person(weights, lengths), strict=True)
    # Nor does it count what has faded to nothing.
    return [Own(p[(p >= 0) & (w > 0)], w[(p >= 0) & (w > 0)]) for p, w in people]


def places_of(ids: pa.Array, content_ids: pa.Array) -> Integers:
    """Return each id's place in `content_ids`; -1 where it is not there."""
    places = pc.fill_null(pc.index_in(ids, value_set=content_ids), -1)
    return np.asarray(places.to_numpy(zero_copy_only=False), dtype=np.int64)


def by_person(flat: npt.NDArray[Number], lengths: Integers) -> list[npt.NDArray[Number]]:
    """Cut a flat array into one piece for each person."""
    return np.split(flat, np.cumsum(lengths))[:-1]
