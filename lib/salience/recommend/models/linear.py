"""Scores that are sums over a person's own contents: `ease`, `similarity`, `svd` and `tags` weigh items differently."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from salience.recommend.models.interface import (
    Doubles,
    Explainer,
    Integers,
    Own,
    Scorer,
    Weighing,
    history_matrix,
    owned,
)


@dataclass(frozen=True)
class ItemWeights(Scorer):
    """score of i = sum over own contents j of weight(j) x weights[j, i]."""

    content_ids: pa.Array
    weights: Doubles | sp.csr_matrix
    weighing: Weighing

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores."""
        return _dense(history_matrix(asking.column("own"), self, self.weighing) @ self.weights)

    def explainer(self, asking: pa.RecordBatch) -> "WeightTerms":
        """Return the terms of the sums."""
        return WeightTerms(self, owned(asking.column("own"), self.places, self.weighing))

    @cached_property
    def mean_weights(self) -> Doubles:
        """What each content adds to others on average, for a weight of 1."""
        return np.asarray(self.weights.mean(axis=1)).ravel()


@dataclass(frozen=True)
class WeightTerms(Explainer):
    """weight(j) x weights[j, i]."""

    scorer: ItemWeights
    people: Sequence[Own]

    @cached_property
    def _columns(self) -> Integers:
        return np.full(len(self.scorer.content_ids), -1)

    def contributions(self, person: int, wanted: Integers) -> Doubles:
        """Return (own, wanted) terms."""
        own = self.people[person]
        return own.spread(_picked(self.scorer.weights, own.places, wanted, self._columns) * own.weights[:, None])

    def means(self, person: int) -> Doubles:
        """Return (own,) mean terms."""
        own = self.people[person]
        return own.spread(self.scorer.mean_weights[own.places] * own.weights)


@dataclass(frozen=True)
class ItemVectors(Scorer):
    """The same with weights[j, i] = vectors[j] . vectors[i] x scales[i] / scales[j], never all held at once."""

    content_ids: pa.Array
    vectors: Doubles | sp.csr_array
    scales: Doubles
    weighing: Weighing

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores."""
        own = history_matrix(asking.column("own"), self, self.weighing)
        # Few numbers, most of them not 0: as a dense matrix they are multiplied several times as fast.
        return np.asarray(_dense(own @ self._scaled) @ self._across * self.scales)

    def explainer(self, asking: pa.RecordBatch) -> "VectorTerms":
        """Return the terms of the sums."""
        return VectorTerms(self, owned(asking.column("own"), self.places, self.weighing))

    @cached_property
    def _scaled(self) -> Doubles | sp.csr_array:
        if isinstance(self.vectors, np.ndarray):
            return self.vectors / self.scales[:, None]
        return sp.csr_array(self.vectors.multiply(1 / self.scales[:, None]))

    @cached_property
    def _across(self) -> Doubles | sp.csr_array:
        return self.vectors.T if isinstance(self.vectors, np.ndarray) else self.vectors.T.tocsr()

    @cached_property
    def mean_vector(self) -> Doubles:
        """The mean of what a vector is multiplied by."""
        return np.asarray(self.vectors.T @ self.scales / len(self.scales))


@dataclass(frozen=True)
class VectorTerms(Explainer):
    """weight(j) x vectors[j] . vectors[i] x scales[i] / scales[j]."""

    scorer: ItemVectors
    people: Sequence[Own]

    def contributions(self, person: int, wanted: Integers) -> Doubles:
        """Return (own, wanted) terms."""
        own = self.people[person]
        return own.spread(self._weighed(own) @ _rows(self.scorer.vectors, wanted).T * self.scorer.scales[wanted])

    def means(self, person: int) -> Doubles:
        """Return (own,) mean terms."""
        own = self.people[person]
        return own.spread(self._weighed(own) @ self.scorer.mean_vector)

    def _weighed(self, own: Own) -> Doubles:
        return _rows(self.scorer.vectors, own.places) * (own.weights / self.scorer.scales[own.places])[:, None]


def _rows(matrix: Doubles | sp.csr_array, rows: Integers) -> Doubles:
    """Return some rows, dense."""
    if isinstance(matrix, np.ndarray):
        return matrix[rows]
    row, place = _stored(matrix, rows)
    found = np.zeros((len(rows), matrix.shape[1]))
    found[row, matrix.indices[place]] = matrix.data[place]
    return found


def _picked(matrix: Doubles | sp.csr_matrix, rows: Integers, columns: Integers, work: Integers) -> Doubles:
    """Return some rows of some columns, dense.

    Args:
        matrix: (all rows, all columns).
        rows, columns: places; columns come once each.
        work: (all columns,) -1, and again afterwards.
    """
    if isinstance(matrix, np.ndarray):
        return matrix[np.ix_(rows, columns)]
    work[columns] = np.arange(len(columns))
    row, place = _stored(matrix, rows)
    column = work[matrix.indices[place]]
    wanted = column >= 0
    work[columns] = -1
    found = np.zeros((len(rows), len(columns)))
    found[row[wanted], column[wanted]] = matrix.data[place[wanted]]
    return found


def _stored(matrix: sp.csr_array | sp.csr_matrix, rows: Integers) -> tuple[Integers, Integers]:
    """Return of each number that is stored in some rows which of them it is in, and its place among all."""
    begins = matrix.indptr[rows].astype(np.int64)
    lengths = matrix.indptr[rows + 1] - begins
    ends = np.cumsum(lengths)
    row = np.repeat(np.arange(len(rows)), lengths)
    return row, np.arange(len(row)) + np.repeat(begins - ends + lengths, lengths)


def _dense(matrix: Doubles | sp.sparray | sp.spmatrix) -> Doubles:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())
