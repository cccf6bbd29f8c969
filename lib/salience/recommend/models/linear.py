"""Scores that are sums over a person's own contents: `ease`, `similarity` and `svd` differ in the item weights only."""

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
        product = history_matrix(asking.column("own"), self.content_ids, self.weighing) @ self.weights
        return product.toarray() if sp.issparse(product) else np.asarray(product)

    def explainer(self, asking: pa.RecordBatch) -> "WeightTerms":
        """Return the terms of the sums."""
        return WeightTerms(self, owned(asking.column("own"), self.content_ids, self.weighing))

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
        rows = self.scorer.weights[own.places][:, wanted]
        return own.spread((np.asarray(rows) if isinstance(rows, np.ndarray) else rows.toarray()) * own.weights[:, None])

    def means(self, person: int) -> Doubles:
        """Return (own,) mean terms."""
        own = self.people[person]
        return own.spread(self.scorer.mean_weights[own.places] * own.weights)


@dataclass(frozen=True)
class ItemVectors(Scorer):
    """The same with weights[j, i] = vectors[j] . vectors[i] x scales[i] / scales[j], never all held at once."""

    content_ids: pa.Array
    vectors: Doubles
    scales: Doubles
    weighing: Weighing

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores."""
        own = history_matrix(asking.column("own"), self.content_ids, self.weighing)
        return np.asarray((own @ self._scaled) @ self.vectors.T * self.scales)

    def explainer(self, asking: pa.RecordBatch) -> "VectorTerms":
        """Return the terms of the sums."""
        return VectorTerms(self, owned(asking.column("own"), self.content_ids, self.weighing))

    @cached_property
    def _scaled(self) -> Doubles:
        return np.asarray(self.vectors / self.scales[:, None])

    @cached_property
    def mean_vector(self) -> Doubles:
        """The mean of what a vector is multiplied by."""
        return np.asarray((self.vectors * self.scales[:, None]).mean(axis=0))


@dataclass(frozen=True)
class VectorTerms(Explainer):
    """weight(j) x vectors[j] . vectors[i] x scales[i] / scales[j]."""

    scorer: ItemVectors
    people: Sequence[Own]

    def contributions(self, person: int, wanted: Integers) -> Doubles:
        """Return (own, wanted) terms."""
        own = self.people[person]
        return own.spread(self._weighed(own) @ self.scorer.vectors[wanted].T * self.scorer.scales[wanted])

    def means(self, person: int) -> Doubles:
        """Return (own,) mean terms."""
        own = self.people[person]
        return own.spread(self._weighed(own) @ self.scorer.mean_vector)

    def _weighed(self, own: Own) -> Doubles:
        return np.asarray(self.scorer.vectors[own.places] * (own.weights / self.scorer.scales[own.places])[:, None])
