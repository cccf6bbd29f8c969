"""Scores that are sums over a person's own contents: `ease`, `similarity` and `svd` differ in the item weights only."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from salience.recommend.models.interface import Doubles, Integers, Scorer, Weighing, history_matrix, places_of


@dataclass(frozen=True)
class ItemWeights(Scorer):
    """score of i = sum over own contents j of weight(j) x weights[j, i]."""

    content_ids: pa.Array
    weights: Doubles | sp.csr_matrix
    weighing: Weighing

    @cached_property
    def _mean_weights(self) -> Doubles:
        """What each content adds to others on average, for a weight of 1."""
        return np.asarray(self.weights.mean(axis=1)).ravel()

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores."""
        product = history_matrix(asking.column("own"), self.content_ids, self.weighing) @ self.weights
        return product.toarray() if sp.issparse(product) else np.asarray(product)

    def contributions(self, own: pa.StructArray, wanted: Integers) -> Doubles:
        """Return the terms of the sum."""
        places = places_of(own.field("content_id"), self.content_ids)
        known = places >= 0
        rows = self.weights[places[known]][:, wanted]
        whole = np.asarray(rows) if isinstance(rows, np.ndarray) else rows.toarray()
        told = np.zeros((len(own), len(wanted)))
        told[known] = whole * self.weighing.values(own)[known][:, None]
        return told

    def mean_contributions(self, own: pa.StructArray) -> Doubles:
        """Return the means of the terms."""
        places = places_of(own.field("content_id"), self.content_ids)
        return np.where(places >= 0, self._mean_weights[places] * self.weighing.values(own), 0.0)


@dataclass(frozen=True)
class ItemVectors(Scorer):
    """The same with weights[j, i] = vectors[j] . vectors[i] x scales[i] / scales[j], never all held at once."""

    content_ids: pa.Array
    vectors: Doubles
    scales: Doubles
    weighing: Weighing

    @cached_property
    def _mean_vector(self) -> Doubles:
        """The mean of what a vector is multiplied by."""
        return np.asarray((self.vectors * self.scales[:, None]).mean(axis=0))

    def scores(self, asking: pa.RecordBatch) -> Doubles:
        """Return (people, contents) scores."""
        own = history_matrix(asking.column("own"), self.content_ids, self.weighing)
        return np.asarray((own @ (self.vectors / self.scales[:, None])) @ self.vectors.T * self.scales)

    def contributions(self, own: pa.StructArray, wanted: Integers) -> Doubles:
        """Return the terms of the sum."""
        places = places_of(own.field("content_id"), self.content_ids)
        known = places >= 0
        told = np.zeros((len(own), len(wanted)))
        values = (self.weighing.values(own)[known] / self.scales[places[known]])[:, None]
        told[known] = (self.vectors[places[known]] * values) @ self.vectors[wanted].T * self.scales[wanted]
        return told

    def mean_contributions(self, own: pa.StructArray) -> Doubles:
        """Return the means of the terms."""
        places = places_of(own.field("content_id"), self.content_ids)
        means = self.vectors[places] @ self._mean_vector * self.weighing.values(own) / self.scales[places]
        return np.where(places >= 0, means, 0.0)
