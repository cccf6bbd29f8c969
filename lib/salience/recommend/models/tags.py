"""`tags`: contents with tags like those of a person's own, also contents that nobody touched yet.

A content's vector holds the idf of each of its tags, log((contents + 1) / (contents with the tag + 1)), at length 1;
its score is the weighted sum of its cosines with the person's own contents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.recommend.models.interface import Parameters, Training, Weighing, points
from salience.recommend.models.linear import ItemVectors


@dataclass(frozen=True)
class FittedTags:
    """item_tags(content_id, tags, values): the numbers of each content's vector that are not 0."""

    settings: Parameters
    item_tags: DataFrame

    def scorer(self) -> ItemVectors:
        """Return it as tasks use it."""
        table = self.item_tags.select("content_id", "tags", "values").toArrow().sort_by("content_id").combine_chunks()
        ids = pa.array(table["content_id"].to_pylist(), pa.string())
        lists = table["tags"].combine_chunks()
        columns = lists.flatten().dictionary_encode()
        places = columns.indices.to_numpy(zero_copy_only=False)
        values = table["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        ends = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))])
        vectors = sp.csr_array((values, places, ends), shape=(len(ids), len(columns.dictionary)))
        weighing = Weighing(self.settings["power"], self.settings["half_life_days"])
        return ItemVectors(ids, vectors, np.ones(len(ids)), weighing)

    def frames(self) -> dict[str, DataFrame]:
        """Return item_tags."""
        return {"item_tags": self.item_tags}

    def asked(self, asking: DataFrame) -> DataFrame:
        """Return the people as they are."""
        return asking


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

    def fit(self, training: Training, parameters: Parameters) -> FittedTags:
        """Fit it; contents without tags get no scores."""
        assert training.tags is not None, "grid gives no point without tags"
        return FittedTags(parameters, _vectors(training.tags, self.vocabulary))

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> FittedTags:
        """Return the model that had these frames and settings."""
        return FittedTags(settings, frames["item_tags"])


def fitted_tags(tags: DataFrame, vocabulary: int, half_life_days: float | None) -> FittedTags | None:
    """Return the model of contents whose tags are known; None where no content has any.

    Args:
        tags: content_id, tags.
        vocabulary: how many tags count: the most frequent ones.
        half_life_days: after so many days an own content counts half; None for never.
    """
    if tags.where(F.size(_names()) > 0).isEmpty():
        return None
    return FittedTags({"power": 0.0, "half_life_days": half_life_days}, _vectors(tags, vocabulary))


def _vectors(tags: DataFrame, vocabulary: int) -> DataFrame:
    """Return content_id, tags (sorted), values, of contents with tags; ties for the vocabulary go to the first name."""
    named = tags.select("content_id", _names().alias("names")).where(F.size("names") > 0)
    each = named.select("content_id", F.explode("names").alias("tag"))
    frequent = each.groupBy("tag").agg(F.count("*").alias("having")).orderBy(F.desc("having"), "tag").limit(vocabulary)
    idf = F.log((F.col("contents") + 1) / (F.col("having") + 1))
    weighted = frequent.crossJoin(named.agg(F.count("*").alias("contents"))).select("tag", idf.alias("idf"))
    told = each.join(F.broadcast(weighted.where(F.col("idf") > 0)), "tag", how="inner")
    found = told.groupBy("content_id").agg(F.array_sort(F.collect_list(F.struct("tag", "idf"))).alias("found"))
    both = named.select("content_id").join(found, "content_id", how="left")
    whole = F.aggregate("found", F.lit(0.0), lambda total, one: total + one["idf"] * one["idf"])
    unit = F.transform("found", lambda one: one["idf"] / F.sqrt(whole))
    nothing = F.array()
    return both.select(
        "content_id",
        F.coalesce("found.tag", nothing.cast("array<string>")).alias("tags"),
        F.coalesce(unit, nothing.cast("array<double>")).alias("values"),
    )


def _names() -> Column:
    return F.array_compact(F.array_distinct(F.coalesce("tags", F.array().cast("array<string>"))))
