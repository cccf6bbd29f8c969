"""`svd`: truncated singular value decomposition of the matrix of weights (PureSVD of Cremonesi et al., 2010).

A person's scores are their weights projected on the first right singular vectors V: w V V'.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.mllib.common import callMLlibFunc
from pyspark.mllib.linalg.distributed import CoordinateMatrix, RowMatrix
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.recommend.models.interface import Parameters, Training, Weighing, points
from salience.recommend.models.linear import ItemVectors
from salience.recommend.topk import Items, collect_items


@contextmanager
def _held(matrix: RowMatrix) -> Iterator[RowMatrix]:
    """Hold a matrix in memory: each of dozens of iterations multiplies by it."""
    rows = matrix._java_matrix_wrapper._java_model.rows().cache()
    try:
        yield matrix
    finally:
        rows.unpersist(False)


@dataclass(frozen=True)
class FittedVectors:
    """A vector for each content: item_vectors(content_id, features)."""

    settings: Parameters
    item_vectors: DataFrame
    items: Items

    def scorer(self) -> ItemVectors:
        """Return it as tasks use it."""
        weighing = Weighing(self.settings["power"], self.settings["half_life_days"])
        return ItemVectors(self.items.content_ids, self.items.factors, weighing)

    def frames(self) -> dict[str, DataFrame]:
        """Return item_vectors."""
        return {"item_vectors": self.item_vectors}

    def asked(self, asking: DataFrame) -> DataFrame:
        """Return the people as they are."""
        return asking


@dataclass(frozen=True)
class Svd:
    """The points that a search tries."""

    ranks: Sequence[int]
    powers: Sequence[float]
    half_lives_days: Sequence[float | None]

    def grid(self, training: Training) -> list[Parameters]:
        """Return the points: power, rank, half_life_days; ranks that the matrix does not have are left out."""
        most = min(training.users, training.items)
        ranks = [rank for rank in self.ranks if rank < most] or [max(1, most - 1)]
        return points(self.half_lives_days, power=self.powers, rank=ranks)

    def fit(self, training: Training, parameters: Parameters) -> FittedVectors:
        """Fit it by MLlib's distributed computeSVD."""
        weighing = Weighing(parameters["power"], parameters["half_life_days"])
        cells = training.pairs.select(
            F.col("user").cast("bigint").alias("i"),
            F.col("item").cast("bigint").alias("j"),
            weighing.column().alias("value"),
        )
        # What CoordinateMatrix does with an RDD of cells, without taking them through Python.
        matrix = CoordinateMatrix(callMLlibFunc("createCoordinateMatrix", cells, training.users, training.items))
        with _held(matrix.toIndexedRowMatrix().toRowMatrix()) as rows:
            right = rows.computeSVD(parameters["rank"]).V.toArray()
        # The sign of a singular vector is arbitrary, and V V' does not depend on it.
        vectors = right * np.where(right.sum(axis=0) < 0, -1.0, 1.0)
        table = pa.table({"content_id": training.content_ids(), "features": pa.array(list(vectors))})
        return FittedVectors(
            parameters, training.pairs.sparkSession.createDataFrame(table), Items(training.content_ids(), vectors)
        )

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedVectors:
        """Return the model that had these frames and settings."""
        return FittedVectors(settings, frames["item_vectors"], collect_items(frames["item_vectors"]))
