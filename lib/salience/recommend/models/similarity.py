"""Cosine neighbours: `similarity` (contents alike by who did something with them) and `alike` (people alike by what).

    similarity(a, b) = a . b / (|a| |b| + shrinkage)

over the weights of the pairs; the shrinkage, in units of the mean squared weight, pulls down what rests on few people
(Sarwar et al., 2001, "Item-based collaborative filtering"; shrinkage as in Bell and Koren, 2007).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from salience.recommend.models.gram import gram
from salience.recommend.models.interface import Doubles, Parameters, Scorer, Training, Weighing, points
from salience.recommend.models.linear import ItemWeights
from salience.recommend.topk import places_of


def neighbours(sums: DataFrame, neighbours: int, shrinkage: float) -> DataFrame:
    """Return each row's most similar others.

    Args:
        sums: the upper triangle of a Gram matrix, from `gram`.
        neighbours: at most this many each; ties go to the smaller id.
        shrinkage: added to the product of the norms.

    Returns:
        id, rank (from 1), similar_id (int), similarity (float, > 0).
    """
    norms = sums.where("i = j").select(F.col("i").alias("id"), F.sqrt("value").alias("norm"))
    left = norms.select(F.col("id").alias("i"), F.col("norm").alias("left"))
    right = norms.select(F.col("id").alias("j"), F.col("norm").alias("right"))
    products = sums.where("i < j AND value > 0").join(left, "i", how="inner").join(right, "j", how="inner")
    # Rounded to single precision, so that the order of a sum's terms cannot show in the ranks.
    similarity = (
        (F.col("value") / (F.col("left") * F.col("right") + F.lit(shrinkage))).cast("float").alias("similarity")
    )
    both = F.explode(
        F.array(
            F.struct(F.col("i").alias("id"), F.col("j").alias("similar_id")),
            F.struct(F.col("j").alias("id"), F.col("i").alias("similar_id")),
        )
    )
    each = products.select(similarity, both.alias("pair")).select("pair.id", "pair.similar_id", "similarity")
    best_first = Window.partitionBy("id").orderBy(F.col("similarity").desc(), "similar_id")
    ranked = each.withColumn("rank", F.row_number().over(best_first)).where(F.col("rank") <= neighbours)
    return ranked.select("id", "rank", "similar_id", "similarity")


@dataclass(frozen=True)
class FittedSimilarity:
    """content_similarity(content_id, rank, similar_content_id, similarity)."""

    settings: Parameters
    content_similarity: DataFrame
    content_ids: pa.Array

    def scorer(self) -> ItemWeights:
        """Return it as tasks use it: only a content's own neighbours add to its score."""
        table = self.content_similarity.toArrow().combine_chunks()
        to = places_of(table["content_id"].combine_chunks(), self.content_ids)
        of = places_of(table["similar_content_id"].combine_chunks(), self.content_ids)
        size = len(self.content_ids)
        values = table["similarity"].to_numpy().astype(np.float64)
        weighing = Weighing(self.settings["power"], self.settings["half_life_days"])
        return ItemWeights(self.content_ids, sp.csr_matrix((values, (of, to)), shape=(size, size)), weighing)

    def frames(self) -> dict[str, DataFrame]:
        """Return content_similarity, and contents(content_id)."""
        ids = self.content_similarity.sparkSession.createDataFrame(pa.table({"content_id": self.content_ids}))
        return {"content_similarity": self.content_similarity, "contents": ids}

    def asked(self, asking: DataFrame) -> DataFrame:
        """Return the people as they are."""
        return asking


@dataclass(frozen=True)
class Neighbourhood:
    """The points that a search tries; `longest` as in gram.py."""

    neighbours: Sequence[int]
    shrinkages: Sequence[float]
    powers: Sequence[float]
    half_lives_days: Sequence[float | None]
    longest: int

    def grid(self, training: Training) -> list[Parameters]:
        """Return the points: power, shrinkage, neighbours, half_life_days."""
        return points(self.half_lives_days, power=self.powers, shrinkage=self.shrinkages, neighbours=self.neighbours)

    def _neighbours(
        self, training: Training, parameters: Parameters, weighing: Weighing, row: str, column: str
    ) -> DataFrame:
        weight, shrinkage, most = weighing.column(), parameters["shrinkage"], max(self.neighbours)
        pairs, longest = training.pairs, self.longest
        sums = training.hold(("gram", row, weighing, 0.0), lambda: gram(pairs, row, column, weight, longest))
        squares = pairs.agg(F.avg(weight * weight)).head()
        assert squares is not None
        key = ("neighbours", row, weighing, shrinkage, most)
        found = training.hold(key, lambda: neighbours(sums, most, shrinkage * squares[0]))
        return found.where(F.col("rank") <= parameters["neighbours"])


class Similarity(Neighbourhood):
    """Contents alike."""

    def fit(self, training: Training, parameters: Parameters) -> FittedSimilarity:
        """Fit it."""
        weighing = Weighing(parameters["power"], parameters["half_life_days"])
        found = self._neighbours(training, parameters, weighing, "user", "item")
        named = _with_names(found, training.item_ids, "content_id")
        return FittedSimilarity(parameters, named, training.content_ids())

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedSimilarity:
        """Return the model that had these frames and settings."""
        ids = frames["contents"].toArrow().sort_by("content_id")["content_id"].to_pylist()
        return FittedSimilarity(settings, frames["content_similarity"], pa.array(ids, pa.string()))


@dataclass(frozen=True)
class AlikeScorer(Scorer):
    """Reads what the people alike did from the column `alike`: array of (content_id, score)."""

    content_ids: pa.Array

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores."""
        alike = asking.column("alike")
        lengths = pc.fill_null(pc.list_value_length(alike), 0).to_numpy(zero_copy_only=False)
        flat, rows = alike.flatten(), np.repeat(np.arange(len(alike)), lengths)
        places = self.places(flat.field("content_id"))
        scores = np.zeros((len(alike), len(self.content_ids)))
        scores[rows, places] = flat.field("score").to_numpy(zero_copy_only=False)
        return scores


@dataclass(frozen=True)
class FittedAlike:
    """user_similarity(user_id, rank, similar_user_id, similarity), and what each of them did."""

    settings: Parameters
    user_similarity: DataFrame
    pairs: DataFrame
    content_ids: pa.Array

    def scorer(self) -> AlikeScorer:
        """Return it as tasks use it."""
        return AlikeScorer(self.content_ids)

    def frames(self) -> dict[str, DataFrame]:
        """Return user_similarity and pairs(user_id, content_id, weight, age_days)."""
        return {"user_similarity": self.user_similarity, "pairs": self.pairs}

    def asked(self, asking: DataFrame) -> DataFrame:
        """Add `alike`: for each content that people alike did something with, their similarity x weight summed."""
        weight = Weighing(self.settings["power"], self.settings["half_life_days"]).column()
        of_others = self.pairs.select(F.col("user_id").alias("similar_user_id"), "content_id", weight.alias("weight"))
        near = self.user_similarity.join(asking.select("user_id"), "user_id", how="left_semi")
        votes = near.join(of_others, "similar_user_id", how="inner").groupBy("user_id", "content_id")
        scores = votes.agg(F.sum(F.col("similarity") * F.col("weight")).alias("score"))
        lists = scores.groupBy("user_id").agg(F.collect_list(F.struct("content_id", "score")).alias("alike"))
        return asking.join(lists, "user_id", how="left")


class Alike(Neighbourhood):
    """People alike: by all that they ever did; what they did counts by its age."""

    def fit(self, training: Training, parameters: Parameters) -> FittedAlike:
        """Fit it."""
        found = self._neighbours(training, parameters, Weighing(parameters["power"]), "item", "user")
        named = _with_names(found, training.user_ids, "user_id")
        return FittedAlike(parameters, named, training.named_pairs(), training.content_ids())

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedAlike:
        """Return the model that had these frames and settings."""
        ids = frames["pairs"].select("content_id").distinct().toArrow().sort_by("content_id")["content_id"].to_pylist()
        return FittedAlike(settings, frames["user_similarity"], frames["pairs"], pa.array(ids, pa.string()))


def _with_names(found: DataFrame, ids: DataFrame, name: str) -> DataFrame:
    of = ids.select(F.col("id"), F.col(name))
    to = ids.select(F.col("id").alias("similar_id"), F.col(name).alias(f"similar_{name}"))
    named = found.join(of, "id", how="inner").join(to, "similar_id", how="inner")
    return named.select(name, "rank", f"similar_{name}", "similarity")
