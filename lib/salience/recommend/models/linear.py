"""Scores that are sums over a person's own contents: `ease`, `similarity` and `svd` differ in the item weights only."""

from dataclasses import dataclass

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
        return np.asarray((own @ (self.vectors / self.scales[:, None])) @ self.vectors.T * self.scales)

    def contributions(self, own: pa.StructArray, wanted: Integers) -> Doubles:
        """Return the terms of the sum."""
        places = places_of(own.field("content_id"), self.content_ids)
        known = places >= 0
        told = np.zeros((len(own), len(wanted)))
        values = (self.weighing.values(own)[known] / self.scales[places[known]])[:, None]
        told[known] = (self.vectors[places[known]] * values) @ self.vectors[wanted].T * self.scales[wanted]
        return told
