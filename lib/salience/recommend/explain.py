"""Which own contents raised a score, exactly.

With the normal equation A x = b of foldin.py the score of content i is a sum over a person's own contents j (Hu, Koren
and Volinsky, 2008, section 5):

    y_i' x = sum_j y_i' A^-1 (1 + alpha w_j) y_j
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from salience.recommend.best import Doubles, Integers
from salience.recommend.foldin import Equation, Model, known_of, slices
from salience.recommend.models.interface import Own
from salience.recommend.topk import lists_of

REASONS = 3
"""At most this many own contents explain a recommendation."""

T_REASON = pa.struct([("content_id", pa.string()), ("contribution", pa.float64()), ("share", pa.float64())])
"""An own content that raised a score, by how much, and as a share of all that raised it."""

EXPLAINED = (
    "array<struct<content_id:string,score:double,"
    "because:array<struct<content_id:string,contribution:double,share:double>>>>"
)


def explain(lists: DataFrame, model: Model) -> DataFrame:
    """Say for each recommended content which own contents raised its score most.

    Args:
        lists: own (array of (content_id, weight), sorted), top (array of (content_id, score), contents that the model
            knows); other columns are passed through.
        model: from `foldin.model_of`.

    Returns:
        the columns passed through, own among them, top: array of (content_id, score, because), because being the
        largest positive contributions (at most REASONS), largest first, with their share of all positive contributions.
    """
    kept = [field for field in lists.schema if field.name != "top"]
    schema = T.StructType([*kept, T.StructField("top", T.DataType.fromDDL(EXPLAINED), False)])
    return lists.mapInArrow(_explainer(model, [field.name for field in kept]), schema)


def contributions(equation: Equation, mine: Doubles, weights: Doubles, wanted: Doubles) -> Doubles:
    """Return what each own content adds to the score of each wanted item, (own contents, wanted).

    A column adds up to its item's score.

    Args:
        equation: of the model.
        mine, weights: factors, (own contents, rank), and weights of the own contents.
        wanted: factors of the wanted items, (wanted, rank).
    """
    matrix, terms = equation.of(mine, weights)
    return np.asarray(terms @ np.linalg.solve(matrix, wanted.T))


@dataclass(frozen=True)
class Reasons:
    """The reasons of several contents one after the other, and how many each content has.

    places: which of the own contents they are.
    """

    places: Integers
    values: Doubles
    shares: Doubles
    counts: Integers


NO_REASONS = Reasons(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.int64))
"""Those of no content."""


def strongest(contribution: Doubles) -> Reasons:
    """Pick the largest positive contributions to each wanted item; ties go to the first of the own contents.

    Args:
        contribution: (own contents, wanted).
    """
    order = np.argsort(-contribution, axis=0, kind="stable")[:REASONS]
    values = np.take_along_axis(contribution, order, axis=0).T
    positive = values > 0
    total = np.where(contribution > 0, contribution, 0.0).sum(axis=0)
    shares = values / np.where(total > 0, total, 1.0)[:, None]
    return Reasons(order.T[positive], values[positive], shares[positive], positive.sum(axis=1))


def _explainer(model: Model, kept: list[str]) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def explain_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in (part for whole in filter(len, batches) for part in slices(whole, model)):
            own, top = batch.column("own"), batch.column("top")
            factors, people = known_of(own, model)
            flat, lengths = top.flatten(), pc.list_value_length(top).to_numpy(zero_copy_only=False)
            _, of_top = model.items.factors_of(flat.field("content_id"))
            wanted = np.split(of_top, np.cumsum(lengths))[:-1]
            reasons = [_reasons_of(model.equation, factors, *one) for one in zip(people, wanted, strict=True)]
            told = because(reasons, own.flatten().field("content_id"))
            columns = [flat.field("content_id"), flat.field("score"), told]
            explained = pa.StructArray.from_arrays(columns, ["content_id", "score", "because"])
            yield pa.RecordBatch.from_arrays(
                [*(batch.column(name) for name in kept), lists_of(explained, lengths)], [*kept, "top"]
            )

    return explain_batches


def _reasons_of(equation: Equation, factors: Doubles, own: Own, wanted: Doubles) -> Reasons:
    if not len(wanted):
        return NO_REASONS
    found = strongest(contributions(equation, factors[own.places], own.weights, wanted))
    return replace(found, places=own.places[found.places])


def because(reasons: Sequence[Reasons], content_ids: pa.Array) -> pa.ListArray:
    """Return the reasons of each content as a list.

    Args:
        reasons: one after the other.
        content_ids: what their places count.
    """
    told = [NO_REASONS, *reasons]
    places, values, shares, counts = (
        np.concatenate([getattr(one, name) for one in told]) for name in ("places", "values", "shares", "counts")
    )
    columns = [content_ids.take(pa.array(places)), pa.array(values), pa.array(shares)]
    return lists_of(pa.StructArray.from_arrays(columns, fields=list(T_REASON)), counts)
