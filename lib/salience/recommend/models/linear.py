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

    def contributions(self, person: int, wanted: Integers) -> Doubles:
        """Return (own, wanted) terms."""
        own = self.people[person]
        return own.spread(_dense(self.scorer.weights[own.places][:, wanted]) * own.weights[:, None])

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
        return _dense((own @ self._scaled) @ self._across) * self.scales

    def explainer(self, asking: pa.RecordBatch) -> "VectorTerms":
        """Return the terms of the sums."""
        return VectorTerms(self, owned(asking.column("own"), self.places, self.weighing))

    @cached_property
    def _scaled(self) -> Doubles | sp.csr_array:
        return _times(self.vectors, 1 / self.scales)

    @cached_property
    def _across(self) -> Doubles | sp.csr_array:
        return self.vectors.T.tocsr() if sp.issparse(self.vectors) else self.vectors.T

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
        return own.spread(_dense(self._weighed(own) @ self.scorer.vectors[wanted].T) * self.scorer.scales[wanted])

    def means(self, person: int) -> Doubles:
        """Return (own,) mean terms."""
        own = self.people[person]
        return own.spread(self._weighed(own) @ self.scorer.mean_vector)

    def _weighed(self, own: Own) -> Doubles | sp.csr_array:
        return _times(self.scorer.vectors[own.places], own.weights / self.scorer.scales[own.places])


def _times(rows: Doubles | sp.csr_array, factors: Doubles) -> Doubles | sp.csr_array:
    """Return each row times its factor."""
    return rows.multiply(factors[:, None]).tocsr() if sp.issparse(rows) else rows * factors[:, None]


def _dense(matrix: Doubles | sp.sparray | sp.spmatrix) -> Doubles:
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix)
