"""`popularity` and `segment_popular`: what everyone, or everyone of a person's segment, did of late."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.recommend.confidence import exact_sum
from salience.recommend.models.interface import Doubles, Parameters, Scorer, Training, Weighing
from salience.recommend.topk import places_of

EVERYONE = ""
"""The segment of people of whom none is known."""


@dataclass(frozen=True)
class PopularScorer(Scorer):
    """A row of scores for each segment, sorted, EVERYONE first; reads the column `segment` if there are others."""

    content_ids: pa.Array
    segments: pa.Array
    totals: Doubles

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores."""
        if len(self.segments) == 1:
            return np.repeat(self.totals, len(asking), axis=0)
        places = pc.fill_null(pc.index_in(asking.column("segment"), value_set=self.segments), 0)
        return np.asarray(self.totals[places.to_numpy(zero_copy_only=False)])


@dataclass(frozen=True)
class FittedPopular:
    """totals(segment, content_id, score), and segments(user_id, segment) where people have one."""

    settings: Parameters
    totals: DataFrame
    segments: DataFrame | None = None

    def scorer(self) -> PopularScorer:
        """Return it as tasks use it."""
        told = self.totals.toArrow().combine_chunks()
        ids, segments = _sorted(told["content_id"]), _sorted(told["segment"])
        totals = np.zeros((len(segments), len(ids)))
        rows, columns = places_of(told["segment"].combine_chunks(), segments), told["content_id"].combine_chunks()
        totals[rows, places_of(columns, ids)] = told["score"].to_numpy()
        # A segment is taken to hold so many pairs more, spread like everyone's.
        totals[1:] += totals[0] * self.settings.get("prior_pairs", 0) / max(1, self.settings.get("pairs", 1))
        return PopularScorer(ids, segments, totals)

    def frames(self) -> dict[str, DataFrame]:
        """Return totals, and segments where there are some."""
        return {"totals": self.totals} | ({"segments": self.segments} if self.segments is not None else {})

    def asked(self, asking: DataFrame) -> DataFrame:
        """Add `segment`, null where none is known."""
        return asking if self.segments is None else asking.join(self.segments, "user_id", how="left")


@dataclass(frozen=True)
class Popularity:
    """The half-lives that a search tries; the weights of pairs are summed."""

    half_lives_days: Sequence[float | None]

    def grid(self, training: Training) -> list[Parameters]:
        """Return the points: half_life_days."""
        return [{"half_life_days": half_life} for half_life in self.half_lives_days]

    def fit(self, training: Training, parameters: Parameters) -> FittedPopular:
        """Fit it."""
        return FittedPopular(parameters, _everyone(training, parameters))

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedPopular:
        """Return the model that had these frames and settings."""
        return FittedPopular(settings, frames["totals"])


@dataclass(frozen=True)
class SegmentPopular:
    """The same within each segment, which is taken to hold `prior_pairs` more, spread like everyone's."""

    half_lives_days: Sequence[float | None]
    prior_pairs: float

    def grid(self, training: Training) -> list[Parameters]:
        """Return the points: half_life_days; none where nobody has a segment."""
        if training.segments is None or training.segments.isEmpty():
            return []
        return [{"half_life_days": half_life} for half_life in self.half_lives_days]

    def fit(self, training: Training, parameters: Parameters) -> FittedPopular:
        """Fit it."""
        assert training.segments is not None, "grid gives no point without segments"
        segments = training.user_ids.join(training.segments, "user_id", how="inner").withColumnRenamed("id", "user")
        of_segments = _totals(training.pairs.join(segments, "user", how="inner"), training, parameters)
        told = {**parameters, "prior_pairs": self.prior_pairs, "pairs": training.pairs.count()}
        return FittedPopular(told, _everyone(training, parameters).union(of_segments), training.segments)

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedPopular:
        """Return the model that had these frames and settings."""
        return FittedPopular(settings, frames["totals"], frames["segments"])


def segment_scorer(pairs: DataFrame, segments: DataFrame, prior_pairs: float, fewest: int) -> PopularScorer | None:
    """Return what is popular in each segment, and nothing for people without one; None where nothing is.

    Args:
        pairs: user_id, content_id, weight (double, > 0).
        segments: user_id, segment.
        prior_pairs: a segment is taken to hold so many pairs more, spread like everyone's.
        fewest: what fewer people of a segment did something with is not told of it.
    """
    weight = exact_sum(F.col("weight")).alias("score")
    of_all = pairs.groupBy(F.lit(EVERYONE).alias("segment"), "content_id").agg(weight)
    of_each = pairs.join(segments, "user_id", how="inner").groupBy("segment", "content_id")
    told_of = of_each.agg(weight, F.count("*").alias("people")).where(F.col("people") >= fewest)
    of_segments = told_of.select("segment", "content_id", "score")
    told = {"prior_pairs": prior_pairs, "pairs": pairs.count()}
    if not told["pairs"]:
        return None
    scorer = FittedPopular(told, of_all.union(of_segments), segments).scorer()
    scorer.totals[0] = 0.0
    return scorer if len(scorer.segments) > 1 else None


def _everyone(training: Training, parameters: Parameters) -> DataFrame:
    return _totals(training.pairs.withColumn("segment", F.lit(EVERYONE)), training, parameters)


def _totals(pairs: DataFrame, training: Training, parameters: Parameters) -> DataFrame:
    weight = Weighing(half_life_days=parameters["half_life_days"]).column()
    totals = pairs.groupBy("segment", "item").agg(exact_sum(weight).alias("score"))
    named = totals.join(training.item_ids.withColumnRenamed("id", "item"), "item", how="inner")
    return named.select("segment", "content_id", "score")


def _sorted(values: pa.ChunkedArray) -> pa.Array:
    return pa.array(sorted(values.unique().to_pylist()), pa.string())
