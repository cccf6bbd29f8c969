"""`tags`: contents with tags like those of a person's own, also contents that nobody touched yet.

A content's vector holds the idf of each of its tags, log((contents + 1) / (contents with the tag + 1)), at length 1;
its score is the weighted sum of its cosines with the person's own contents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.ml import Estimator, Pipeline, Transformer
from pyspark.ml.feature import IDF, CountVectorizer, Normalizer
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.recommend.models.interface import Parameters, Training, points
from salience.recommend.models.svd import FittedVectors


@dataclass(frozen=True)
class Tags:
    """The points that a search tries, and how many tags count: the most frequent ones."""

    powers: Sequence[float]
    half_lives_days: Sequence[float | None]
    vocabulary: int

    def grid(self, training: Training) -> list[Parameters]:
        """Return the points: power, half_life_days; none where no content has tags."""
        if training.tags is None or training.tags.where(F.size(_names()) > 0).isEmpty():
            return []
        return points(self.half_lives_days, power=self.powers)

    def fit(self, training: Training, parameters: Parameters) -> FittedVectors:
        """Fit it; contents without tags get no scores."""
        assert training.tags is not None, "grid gives no point without tags"
        return FittedVectors.of(parameters, _vectors(training.tags, self.vocabulary))

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedVectors:
        """Return the model that had these frames and settings."""
        return FittedVectors.of(settings, frames["item_vectors"])


def fitted_tags(tags: DataFrame, vocabulary: int, half_life_days: float | None) -> FittedVectors | None:
    """Return the model of contents whose tags are known; None where no content has any.

    Args:
        tags: content_id, tags.
        vocabulary: how many tags count: the most frequent ones.
        half_life_days: after so many days an own content counts half; None for never.
    """
    if tags.where(F.size(_names()) > 0).isEmpty():
        return None
    return FittedVectors.of({"power": 0.0, "half_life_days": half_life_days}, _vectors(tags, vocabulary))


def _vectors(tags: DataFrame, vocabulary: int) -> DataFrame:
    named = tags.select("content_id", _names().alias("names")).where(F.size("names") > 0)
    stages: list[Estimator[Any] | Transformer] = [
        CountVectorizer(inputCol="names", outputCol="counts", vocabSize=vocabulary, binary=True),
        IDF(inputCol="counts", outputCol="weighted"),
        Normalizer(inputCol="weighted", outputCol="unit"),
    ]
    unit = Pipeline(stages=stages).fit(named).transform(named)
    return unit.select("content_id", vector_to_array(F.col("unit")).alias("features"), F.lit(1.0).alias("scale"))


def _names() -> Column:
    return F.array_compact(F.array_distinct(F.coalesce("tags", F.array().cast("array<string>"))))
