"""`ease`: the closed-form linear item model.

With G = X'X over the people's histories (each person's weights divided by a power of their sum, see normalise.py) and
P = (G + diag(regularisation + dropout x diag(G)))^-1, the weight of own content j on the score of content i is
B[j, i] = -P[j, i] / P[i, i], and 0 for i = j (Steck, 2019, "Embarrassingly shallow autoencoders for sparse data"; the
second ridge is that of Steck, 2020, "Autoencoders that don't overfit towards the identity": dropout = p / (1 - p)).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakSet

import numpy as np
import pyarrow as pa
import scipy.linalg
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.recommend.models.gram import dense, gram, require_room
from salience.recommend.models.interface import Doubles, Parameters, Training, Weighing, points
from salience.recommend.models.linear import ItemWeights
from salience.recommend.models.normalise import by_person
from salience.recommend.topk import as_matrix


@dataclass(frozen=True, eq=False)
class FittedEase:
    """The item weights B, (items, items)."""

    settings: Parameters
    spark: SparkSession
    content_ids: pa.Array
    weights: Doubles = field(repr=False)

    def scorer(self) -> ItemWeights:
        """Return it as tasks use it."""
        weighing = Weighing(self.settings["power"], self.settings["half_life_days"])
        return ItemWeights(self.content_ids, self.weights, weighing)

    def frames(self) -> dict[str, DataFrame]:
        """Return item_weights(content_id, features): a row of B each."""
        rows = pa.FixedSizeListArray.from_arrays(pa.array(self.weights.ravel()), len(self.weights))
        lists = rows.cast(pa.list_(pa.float64()))
        return {
            "item_weights": self.spark.createDataFrame(pa.table({"content_id": self.content_ids, "features": lists}))
        }

    def asked(self, asking: DataFrame) -> DataFrame:
        """Return the people as they are."""
        return asking


@dataclass(frozen=True)
class Ease:
    """The points that a search tries, and what the model may take."""

    regularisations: Sequence[float]
    """In units of the mean squared weight of a pair, so that they mean the same whatever the weights' scale."""
    dropouts: Sequence[float]
    normalisations: Sequence[float]
    powers: Sequence[float]
    half_lives_days: Sequence[float | None]
    longest: int
    limit_mb: float
    made: WeakSet[FittedEase] = field(default_factory=WeakSet, repr=False)
    """Its fits that something holds."""

    def grid(self, training: Training) -> list[Parameters]:
        """Return the points: power, normalisation, dropout, regularisation, half_life_days."""
        return points(
            self.half_lives_days,
            power=self.powers,
            normalisation=self.normalisations,
            dropout=self.dropouts,
            regularisation=self.regularisations,
        )

    def fit(self, training: Training, parameters: Parameters) -> FittedEase:
        """Fit it.

        Raises:
            InputError: the catalogue is too large for it.
        """
        weighing = Weighing(parameters["power"], parameters["half_life_days"])
        matrix = self._gram(training, weighing, parameters["normalisation"])
        diagonal = np.diag_indices_from(matrix)
        mean_square = matrix[diagonal].sum() / max(1, training.pairs.count())
        matrix[diagonal] += parameters["regularisation"] * mean_square + parameters["dropout"] * matrix[diagonal]
        inverse = scipy.linalg.inv(matrix, overwrite_a=True, check_finite=False)
        weights = inverse / -np.diag(inverse)
        weights[diagonal] = 0.0
        fitted = FittedEase(parameters, training.pairs.sparkSession, training.content_ids(), weights)
        self.made.add(fitted)
        return fitted

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedEase:
        """Return the model that had these frames and settings."""
        table = frames["item_weights"].toArrow().sort_by("content_id").combine_chunks()
        ids = pa.array(table["content_id"].to_pylist(), pa.string())
        return FittedEase(
            settings, frames["item_weights"].sparkSession, ids, as_matrix(table["features"].combine_chunks())
        )

    def _gram(self, training: Training, weighing: Weighing, normalisation: float) -> Doubles:
        """Return X'X; the fits of a training that weigh alike share what the cluster works out."""
        held = sum(fitted.weights.nbytes for fitted in self.made)
        require_room(training.items, held, self.limit_mb, "recommend.search.ease_memory_mb")
        weighed = by_person(training.pairs, weighing.column(), normalisation)
        sums = training.hold(
            ("gram", "user", weighing, normalisation),
            lambda: gram(weighed, "user", "item", F.col("value"), self.longest),
        )
        return dense(sums, training.items)
