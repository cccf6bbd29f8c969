"""A person's factors from their own history, against fixed item factors.

MLlib's implicit ALS solves for a person with own contents j of weight w_j, given item factors y and n own contents

    A x = b,   A = Y'Y + sum_j alpha w_j y_j y_j' + regularisation n I,   b = sum_j (1 + alpha w_j) y_j

(org.apache.spark.ml.recommendation.ALS.computeFactors: confidence 1 + alpha |r|, preference 1, lambda scaled by the
number of ratings). Solving it for the present history also serves people and interactions newer than the model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from salience.recommend.als import Point
from salience.recommend.best import Doubles
from salience.recommend.models.interface import Own, Weighing, owned
from salience.recommend.topk import Catalogue, in_blocks, lists_of

AT_ONCE = 8_000_000
"""Numbers of the factors of people's contents that a task holds at a time: 64 MB of doubles."""


@dataclass(frozen=True)
class Equation:
    """What everybody's equation has in common: Y'Y, (rank, rank), and the point that the items were fitted at."""

    gram: Doubles
    point: Point

    def of(self, mine: Doubles, weights: Doubles) -> tuple[Doubles, Doubles]:
        """Return A, (rank, rank), and the terms of b, (own contents, rank), of one person.

        Args:
            mine: factors of the own contents, (own contents, rank).
            weights: of these, (own contents,).
        """
        confidence = self.point.alpha * weights
        ridge = self.point.regularisation * len(weights) * np.eye(len(self.gram))
        return self.gram + (mine * confidence[:, None]).T @ mine + ridge, mine * (1.0 + confidence)[:, None]

    def solved(self, factors: Doubles, people: Sequence[Own]) -> Doubles:
        """Return each person's factors, (people, rank); 0 for those of whom the model knows nothing.

        Args:
            factors: of contents, (contents, rank), as the places of `people` count them.
            people: what the model knows of each.
        """
        features = np.zeros((len(people), len(self.gram)))
        for person, own in enumerate(people):
            if len(own.places):
                matrix, terms = self.of(factors[own.places], own.weights)
                features[person] = np.linalg.solve(matrix, terms.sum(axis=0))
        return features


@dataclass(frozen=True)
class Model:
    """A fitted model as tasks solve for people with it: every item that it was fitted with, and the equation."""

    items: Catalogue
    equation: Equation


def model_of(item_factors: DataFrame, point: Point, block_mb: float) -> Model:
    """Return a model for tasks.

    Args:
        item_factors: content_id, features of every item that it was fitted with.
        point: that it was fitted at.
        block_mb: what factors may take of a task at once, in 10^6 bytes; see topk.in_blocks.

    Raises:
        InputError: a factor is no finite number.
    """
    items = in_blocks(item_factors, block_mb)
    return Model(items, Equation(items.gram, point))


def fold_in(histories: DataFrame, model: Model) -> DataFrame:
    """Solve for each person's factors.

    Args:
        histories: own (array of (content_id, weight), sorted, or null); other columns are passed through.
        model: from `model_of`.

    Returns:
        the same columns, features (array<double>; null for people with no own content that the model knows).
    """
    schema = T.StructType([*histories.schema, T.StructField("features", T.ArrayType(T.DoubleType()))])
    return histories.mapInArrow(_solver(model), schema)


def _solver(model: Model) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def solve(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in (part for whole in batches for part in slices(whole, model)):
            factors, people = known_of(batch.column("own"), model)
            known = pa.array([len(own.places) > 0 for own in people], pa.bool_())
            features = model.equation.solved(factors, people)
            lists = lists_of(pa.array(features.ravel()), np.full(*features.shape))
            column = pc.if_else(known, lists, pa.scalar(None, lists.type))
            yield pa.RecordBatch.from_arrays([*batch.columns, column], [*batch.schema.names, "features"])

    return solve


def slices(batch: pa.RecordBatch, model: Model) -> Iterator[pa.RecordBatch]:
    """Yield pieces of a batch whose contents, `own` and `top`, have about AT_ONCE numbers of factors, or one person."""
    lists = [batch.column(name) for name in ("own", "top") if name in batch.schema.names]
    lengths = [pc.fill_null(pc.list_value_length(one), 0).to_numpy(zero_copy_only=False) for one in lists]
    numbers = np.cumsum(np.sum(lengths, axis=0, dtype=np.int64) * len(model.equation.gram))
    edges = np.flatnonzero(np.diff(numbers // AT_ONCE)) + 1
    for start, end in pairwise([0, *edges.tolist(), len(batch)]):
        yield batch.slice(start, end - start)


def known_of(own: pa.ListArray, model: Model) -> tuple[Doubles, list[Own]]:
    """Return the factors of all own contents of people, one person after the other, and what is known of each person.

    Args:
        own: HISTORY of each.
        model: from `model_of`.

    Returns:
        (own contents, rank), 0 for what the model does not know; places count its rows.
    """
    are_known, factors = model.items.factors_of(own.flatten().field("content_id"))
    places = np.where(are_known, np.arange(len(are_known)), -1)
    return factors, owned(own, lambda _: places, Weighing())
