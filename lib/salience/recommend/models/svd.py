"""`svd`: truncated singular value decomposition of the matrix of weights (PureSVD of Cremonesi et al., 2010).

With N = R^-a X C^-a, where R holds the sums of the people's weights X, C those of the contents' and a is the
normalisation (see normalise.py), and V the first right singular vectors of N, a person's scores are their weights w
projected on V and brought back: w C^-a V T V' C^a. What R would change of them is the same for all contents.

T is what each vector counts. Cutting after one of many vectors that say about as much is arbitrary; tapered, the last
ones fade out: with a taper of 1 vector r = 0, 1, ... counts 1 - r / rank, and the scores are the mean of those of all
ranks up to this one.
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

from salience.recommend.models.interface import Doubles, Parameters, Training, Weighing, points
from salience.recommend.models.linear import ItemVectors
from salience.recommend.models.normalise import by_person, divided, scales, totals
from salience.recommend.topk import as_matrix


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
    """A vector and a scale for each content: item_vectors(content_id, features, scale)."""

    settings: Parameters
    item_vectors: DataFrame
    content_ids: pa.Array
    vectors: Doubles
    scales: Doubles

    @classmethod
    def of(cls, settings: Parameters, item_vectors: DataFrame) -> "FittedVectors":
        """Bring the vectors to the driver."""
        table = item_vectors.select("content_id", "features", "scale").toArrow().sort_by("content_id").combine_chunks()
        ids = pa.array(table["content_id"].to_pylist(), pa.string())
        vectors = as_matrix(table["features"].combine_chunks())
        return cls(settings, item_vectors, ids, vectors, table["scale"].to_numpy())

    def scorer(self) -> ItemVectors:
        """Return it as tasks use it."""
        weighing = Weighing(self.settings["power"], self.settings["half_life_days"])
        return ItemVectors(self.content_ids, self.vectors, self.scales, weighing)

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
    tapers: Sequence[float]
    normalisations: Sequence[float]
    powers: Sequence[float]
    half_lives_days: Sequence[float | None]

    def grid(self, training: Training) -> list[Parameters]:
        """Return the points: power, normalisation, taper, rank, half_life_days; no rank above the matrix's."""
        most = min(training.users, training.items)
        ranks = [rank for rank in self.ranks if rank < most] or [max(1, most - 1)]
        return points(
            self.half_lives_days,
            power=self.powers,
            normalisation=self.normalisations,
            taper=self.tapers,
            rank=ranks,
        )

    def fit(self, training: Training, parameters: Parameters) -> FittedVectors:
        """Fit it by MLlib's distributed computeSVD."""
        weighing, power = Weighing(parameters["power"], parameters["half_life_days"]), parameters["normalisation"]
        weighed, of_items = by_person(training.pairs, weighing.column(), power), np.ones(training.items)
        if power:
            summed = totals(training.pairs, "item", weighing.column())
            of_items = scales(summed, training.items, power)
            by_both = divided(F.col("value"), F.col("item_total"), power)
            weighed = weighed.join(summed, "item", how="inner").withColumn("value", by_both)
        cells = weighed.select(
            F.col("user").cast("bigint").alias("i"), F.col("item").cast("bigint").alias("j"), "value"
        )
        # What CoordinateMatrix does with an RDD of cells, without taking them through Python.
        matrix = CoordinateMatrix(callMLlibFunc("createCoordinateMatrix", cells, training.users, training.items))
        with _held(matrix.toIndexedRowMatrix().toRowMatrix()) as rows:
            right = rows.computeSVD(parameters["rank"]).V.toArray()
        # The sign of a singular vector is arbitrary, and V T V' does not depend on it.
        signs = np.where(right.sum(axis=0) < 0, -1.0, 1.0)
        vectors = right * signs * np.sqrt(tapered(right.shape[1], parameters["taper"]))
        ids = training.content_ids()
        table = pa.table({"content_id": ids, "features": pa.array(list(vectors)), "scale": of_items})
        frame = training.pairs.sparkSession.createDataFrame(table)
        return FittedVectors(parameters, frame, ids, vectors, of_items)

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedVectors:
        """Return the model that had these frames and settings."""
        return FittedVectors.of(settings, frames["item_vectors"])


def tapered(rank: int, taper: float) -> Doubles:
    """Return what each singular vector counts, (rank,), the first one first.

    Args:
        rank: how many there are.
        taper: the share of them, the last ones, over which it falls evenly from 1 towards 0; 0 for none.
    """
    left = np.arange(rank, 0, -1) / rank
    return np.asarray(np.minimum(1.0, left / taper) if taper else np.ones(rank))
