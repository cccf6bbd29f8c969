"""What every recommender is: fitted on a `Training`, it gives a `Scorer` that tasks use, and frames that are saved."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.recommend.caching import kept
from salience.recommend.ids import dense_ids

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Parameters = Mapping[str, Any]
"""One point of a model's grid; JSON values."""

HISTORY = "array<struct<content_id:string,weight:double,age_days:double>>"
"""What somebody did: each content once, sorted; the age is 0 where no time is known."""


@dataclass(frozen=True)
class Training:
    """What models learn from, held while they do; from `training`.

    pairs: user, item (int ids), weight (float, > 0), age_days (double); each pair once, in a fixed order.
    user_ids, item_ids: (user_id, id), (content_id, id); ids are the ranks of the sorted names, from 0.
    users, items: how many there are.
    tags: content_id, tags (array<string>), also of contents that nobody touched; None where nothing is known.
    segments: user_id, segment; None where nothing is known.
    stack: ends with the training; `hold` puts what several fits need on it.
    """

    pairs: DataFrame
    user_ids: DataFrame
    item_ids: DataFrame
    users: int
    items: int
    tags: DataFrame | None = None
    segments: DataFrame | None = None
    stack: ExitStack = field(default_factory=ExitStack, repr=False)
    held: dict[object, DataFrame] = field(default_factory=dict, repr=False)

    def hold(self, key: object, frame: Callable[[], DataFrame]) -> DataFrame:
        """Return what another fit asked for by the same key; the first time, compute it and hold it."""
        if key not in self.held:
            self.held[key] = self.stack.enter_context(kept(frame()))
        return self.held[key]

    def named_pairs(self) -> DataFrame:
        """Return the pairs by name: user_id, content_id, weight, age_days."""
        named = self.pairs.join(self.user_ids.withColumnRenamed("id", "user"), "user", how="inner")
        named = named.join(self.item_ids.withColumnRenamed("id", "item"), "item", how="inner")
        return named.select("user_id", "content_id", "weight", "age_days")

    def content_ids(self) -> pa.Array:
        """Return every item's content_id; its place is its id."""
        told = self.item_ids.select("id", "content_id").toArrow().sort_by("id")
        return pa.array(told["content_id"].to_pylist(), pa.string())


class Scorer(ABC):
    """A fitted model as tasks use it: small enough to be sent to each of them."""

    content_ids: pa.Array
    """The contents that it scores, sorted."""

    def places(self, content_ids: pa.Array) -> Integers:
        """Return where each of these contents lies among those that it scores; -1 for what it does not know."""
        wanted = pd.Index(content_ids.to_numpy(zero_copy_only=False), dtype=object)
        return np.asarray(self._index.get_indexer(wanted), dtype=np.int64)

    @cached_property
    def _index(self) -> "pd.Index[Any]":
        """A task asks for a few people at a time, and makes this once."""
        names: npt.NDArray[np.object_] = self.content_ids.to_numpy(zero_copy_only=False)
        return pd.Index(names, dtype=object)

    @abstractmethod
    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores; who asks may change them.

        Args:
            asking: a row a person: `own` (HISTORY), and the columns that the model's `asked` adds.
        """

    def explainer(self, asking: pa.RecordBatch) -> "Explainer | None":
        """Return who can say what made these people's scores; None where the scores do not tell."""
        return None


class Explainer(ABC):
    """Says what each own content of a person adds to their scores."""

    @abstractmethod
    def contributions(self, person: int, wanted: Integers) -> Doubles:
        """Return what each own content adds to the score of each wanted one.

        Args:
            person: the row of the batch.
            wanted: places in the scorer's `content_ids`.

        Returns:
            (own, wanted); a column adds up to its content's score.
        """

    @abstractmethod
    def means(self, person: int) -> Doubles:
        """Return the means over all contents of what each own content adds, (own,)."""


class Fitted(Protocol):
    """A fitted model."""

    @property
    def settings(self) -> Parameters:
        """All that it depends on beside what it was fitted on."""

    def scorer(self) -> Scorer:
        """Return it as tasks use it."""

    def frames(self) -> Mapping[str, DataFrame]:
        """Return what has to be saved to load it again."""

    def asked(self, asking: DataFrame) -> DataFrame:
        """Add the columns that its scorer reads beside `own`."""


class Recommender(Protocol):
    """A kind of model."""

    def grid(self, training: Training) -> list[Parameters]:
        """Return the points that a search tries, the most promising first; none where the model has nothing to go on.

        Args:
            training: tells whether there are times, tags and segments.
        """

    def fit(self, training: Training, parameters: Parameters) -> Fitted:
        """Fit it at a point of the grid."""

    def load(self, frames: Mapping[str, DataFrame], settings: Parameters) -> Fitted:
        """Return the fitted model that had these frames and settings."""


@contextmanager
def training(
    rows: DataFrame, blocks: int, tags: DataFrame | None = None, segments: DataFrame | None = None
) -> Iterator[Training]:
    """Hold pairs materialised and in a fixed order, as ALS needs them, for as many fits as the block makes.

    ALS walks its input several times; rows that came out differently the second time would give wrong factors silently.

    Args:
        rows: user_id, content_id, weight (double, > 0), age_days (double); each pair once.
        blocks: partitions.
        tags, segments: see Training.

    Raises:
        InputError: there are no rows.
    """
    with (
        kept(rows) as pairs,
        dense_ids(pairs, "user_id") as users,
        dense_ids(pairs, "content_id") as items,
        kept(_numbered(pairs, users, items).repartition(blocks, "user").sortWithinPartitions("user", "item")) as held,
    ):
        if held.isEmpty():
            raise InputError("there is no pair of a user and an item with a positive weight to train on")
        with ExitStack() as stack:
            yield Training(held, users, items, users.count(), items.count(), tags, segments, stack)


def points(half_lives_days: Sequence[float | None], **others: Sequence[Any]) -> list[Parameters]:
    """Return every combination of parameters as a grid; the half-life changes fastest, the first of the others slowest.

    A search that ends early has then tried every half-life, on which the ranking of recent data depends most.
    """
    combinations = product(*others.values(), half_lives_days)
    return [dict(zip((*others, "half_life_days"), one, strict=True)) for one in combinations]


def histories(rows: DataFrame) -> DataFrame:
    """Gather the pairs of each person: user_id, own (HISTORY)."""
    each = F.struct("content_id", F.col("weight").cast("double").alias("weight"), "age_days")
    return rows.groupBy("user_id").agg(F.array_sort(F.collect_list(each)).alias("own"))


@dataclass(frozen=True)
class Weighing:
    """How a model counts a pair: weight ^ power x 0.5 ^ (age / half-life); power 0 counts pairs of an age alike."""

    power: float = 1.0
    half_life_days: float | None = None

    def column(self) -> Column:
        """Return it as a column of pairs, double."""
        value = F.pow(F.col("weight").cast("double"), F.lit(self.power))
        if self.half_life_days is not None:
            value *= F.pow(F.lit(0.5), F.col("age_days") / F.lit(float(self.half_life_days)))
        # MLlib holds ratings in single precision; so does everything that is counted from them.
        return value.cast("float").cast("double")

    def values(self, own: pa.StructArray) -> Doubles:
        """Return it for elements of HISTORY."""
        values = _numbers(own.field("weight")).astype(np.float32).astype(np.float64) ** self.power
        if self.half_life_days is not None:
            values *= 0.5 ** (_numbers(own.field("age_days")) / self.half_life_days)
        return values.astype(np.float32).astype(np.float64)


@dataclass(frozen=True)
class Own:
    """What a model knows of one person.

    size: how many own contents they have, also such as the model does not know.
    rows: which of these the model knows, and have a weight.
    places, weights: where these lie among the model's contents, and what they weigh.
    """

    size: int
    rows: Integers
    places: Integers
    weights: Doubles

    def spread(self, terms: Doubles) -> Doubles:
        """Return the terms, (known, ...), of all own contents, (own, ...): 0 for what the model does not know."""
        whole = np.zeros((self.size, *terms.shape[1:]))
        whole[self.rows] = terms
        return whole


def owned(own: pa.ListArray, find: Callable[[pa.Array], Integers], weighing: Weighing) -> list[Own]:
    """Return what a model knows of each person.

    Args:
        own: HISTORY of each.
        find: returns the places of contents in the model, -1 for what it does not know, like `Scorer.places`.
        weighing: how the model counts pairs.
    """
    flat, lengths = own.flatten(), pc.fill_null(pc.list_value_length(own), 0).to_numpy(zero_copy_only=False)
    places, weights = find(flat.field("content_id")), weighing.values(flat)
    known = np.flatnonzero((places >= 0) & (weights > 0))
    ends = np.cumsum(lengths)
    edges = np.searchsorted(known, np.concatenate([[0], ends]))
    pieces = zip(lengths, ends - lengths, edges[:-1], edges[1:], strict=True)
    each = ((int(size), begin, known[low:high]) for size, begin, low, high in pieces)
    return [Own(size, mine - begin, places[mine], weights[mine]) for size, begin, mine in each]


def history_matrix(own: pa.ListArray, scorer: Scorer, weighing: Weighing) -> sp.csr_matrix:
    """Return (people, contents) weights of what each person did with contents that the model knows."""
    flat, lengths = own.flatten(), pc.fill_null(pc.list_value_length(own), 0).to_numpy(zero_copy_only=False)
    places = scorer.places(flat.field("content_id"))
    rows, known = np.repeat(np.arange(len(own)), lengths), places >= 0
    values = weighing.values(flat)[known]
    return sp.csr_matrix((values, (rows[known], places[known])), shape=(len(own), len(scorer.content_ids)))


def _numbers(values: pa.Array) -> Doubles:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _numbered(pairs: DataFrame, users: DataFrame, items: DataFrame) -> DataFrame:
    numbered = pairs.join(users.withColumnRenamed("id", "user"), "user_id", how="inner")
    numbered = numbered.join(items.withColumnRenamed("id", "item"), "content_id", how="inner")
    return numbered.select("user", "item", F.col("weight").cast("float").alias("weight"), "age_days")
