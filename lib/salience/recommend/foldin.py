"""A person's factors from their own history, against fixed item factors.

MLlib's implicit ALS solves for a person with own contents j of weight w_j, given item factors y and n own contents

    A x = b,   A = Y'Y + sum_j alpha w_j y_j y_j' + regularisation n I,   b = sum_j (1 + alpha w_j) y_j

(org.apache.spark.ml.recommendation.ALS.computeFactors: confidence 1 + alpha |r|, preference 1, lambda scaled by the
number of ratings). Solving it for the present history also serves people and interactions newer than the model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from salience.recommend.als import Point
from salience.recommend.best import Doubles
from salience.recommend.models.interface import Own, Weighing, owned
from salience.recommend.topk import Items, lists_of


@dataclass(frozen=True)
class Model:
    """What a task needs to solve for a person: content ids, item factors (items, rank), Y'Y (rank, rank), the point."""

    content_ids: pa.Array
    factors: Doubles
    gram: Doubles
    point: Point


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
            people = owned(batch.column("own"), model.content_ids, Weighing())
            known = pa.array([len(own.places) > 0 for own in people], pa.bool_())
            lists = lists_of(pa.array(solved(model, people).ravel()), np.full(len(batch), len(model.gram)))
            column = pc.if_else(known, lists, pa.scalar(None, lists.type))
            yield pa.RecordBatch.from_arrays([*batch.columns, column], [*batch.schema.names, "features"])

    return solve


def solved(model: Model, people: Sequence[Own]) -> Doubles:
    """Return each person's factors, (people, rank); 0 for those of whom the model knows nothing."""
    features = np.zeros((len(people), len(model.gram)))
    for person, own in enumerate(people):
        if len(own.places):
            matrix, terms = normal_equation(model, own)
            features[person] = np.linalg.solve(matrix, terms.sum(axis=0))
    return features
