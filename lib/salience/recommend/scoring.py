"""One pass over people that scores every content by several models, mixes them and keeps the k best of each mix."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame

from salience.recommend.best import best
from salience.recommend.models.interface import Doubles, Integers, Scorer
from salience.recommend.topk import TOP, lists_of, places_of, seen_places

Mix = Mapping[str, float]
"""Weight of each model in a blend; a single model is a mix of its own."""

_SCORES_AT_ONCE = 2_000_000
"""Scores of one model that a task holds at a time: 16 MB of doubles."""


@dataclass(frozen=True)
class Panel:
    """Models over one catalogue, and the mixes of them that are wanted."""

    content_ids: pa.Array
    scorers: Mapping[str, Scorer]
    places: Mapping[str, Integers | None]
    """Where each scorer's contents lie in `content_ids`; None where they are the same."""
    mixes: Mapping[str, Mix]
    hidden: Integers
    """Places that nobody is shown."""


def panel(scorers: Mapping[str, Scorer], mixes: Mapping[str, Mix], hidden: Collection[str] = ()) -> Panel:
    """Put models over the union of what they know.

    Args:
        scorers: by name.
        mixes: what lists are wanted of.
        hidden: contents that nobody is shown; models learn from them all the same.
    """
    known = sorted(set().union(*(scorer.content_ids.to_pylist() for scorer in scorers.values())))
    ids = pa.array(known, pa.string())
    places = {
        name: None if len(scorer.content_ids) == len(ids) else places_of(scorer.content_ids, ids)
        for name, scorer in scorers.items()
    }
    unseen = places_of(pa.array(sorted(hidden), pa.string()), ids)
    return Panel(ids, scorers, places, mixes, unseen[unseen >= 0])


def top_lists(asking: DataFrame, wanted: Panel, k: int) -> DataFrame:
    """Keep the k best contents of each person by each mix, without those that they have seen.

    A mix of one model ranks what that model knows, by its own scores. A mix of several ranks by the weighted sum of
    their standard scores: each model's scores of a person less their mean, over their standard deviation, over all
    that the model knows; what it does not know counts as average. Ties go to the smaller content_id.

    Args:
        asking: user_id, own (HISTORY), seen (array of content_id), and what the models' `asked` added.
        wanted: from `panel`.
        k: length of the lists; they are shorter where there is no more.

    Returns:
        user_id, model (the mix's name), top: array of (content_id, score), best first.
    """
    schema = f"user_id string, model string, top {TOP}"
    return asking.mapInArrow(_lister(asking.sparkSession.sparkContext.broadcast(wanted), k), schema)


def _lister(shared: Broadcast[Panel], k: int) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def list_best(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        wanted = shared.value
        rows_at_once = max(1, _SCORES_AT_ONCE // max(1, len(wanted.content_ids)))
        for whole in batches:
            for start in range(0, whole.num_rows, rows_at_once):
                batch = whole.slice(start, rows_at_once)
                seen = seen_places(batch.column("seen"), wanted.content_ids)
                for name, told, _ in mixed(batch, wanted):
                    scores = told.copy() if len(wanted.hidden) else told  # other mixes are made of them too
                    scores[:, wanted.hidden] = -np.inf
                    columns, picked, lengths = best(scores, *seen, k)
                    found = [wanted.content_ids.take(pa.array(columns)), pa.array(picked)]
                    top = lists_of(pa.StructArray.from_arrays(found, ["content_id", "score"]), lengths)
                    model = pa.repeat(pa.scalar(name), len(batch))
                    arrays = [batch.column("user_id"), model, top]
                    yield pa.RecordBatch.from_arrays(arrays, ["user_id", "model", "top"])

    return list_best


def mixed(asking: pa.RecordBatch, wanted: Panel) -> Iterator[tuple[str, Doubles, Mapping[str, Doubles]]]:
    """Yield each mix, its (people, contents) scores, -inf where it has none, and its models' deviations if several."""
    raw = {name: scorer.scores(asking) for name, scorer in wanted.scorers.items()}
    shape = (len(asking), len(wanted.content_ids))
    standard, spreads = dict[str, Doubles](), dict[str, Doubles]()
    for name, mix in wanted.mixes.items():
        if len(mix) == 1:
            (model,) = mix
            yield name, _spread(raw[model], wanted.places[model], shape, -np.inf), {}
            continue
        for model in mix.keys() - standard.keys():
            told, spreads[model] = standard_scores(raw[model])
            standard[model] = _spread(told, wanted.places[model], shape, 0.0)
        total = np.zeros(shape)
        for model, weight in mix.items():
            total += weight * standard[model]
        yield name, total, spreads


def standard_scores(scores: Doubles) -> tuple[Doubles, Doubles]:
    """Return each row less its mean over its standard deviation, and that, (rows,).

    The deviation of a row without a spread is infinite: over that, anything is 0.
    """
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("ij,ij->i", centred, centred) / max(1, scores.shape[1]))
    # What rounding leaves of equal scores is no spread.
    largest = np.maximum(scores.max(axis=1, initial=0.0), -scores.min(axis=1, initial=0.0))
    deviations = np.where(spread > 1e-9 * largest, spread, np.inf)
    centred /= deviations[:, None]
    return centred, deviations


def _spread(scores: Doubles, places: Integers | None, shape: tuple[int, int], missing: float) -> Doubles:
    if places is None:
        return scores
    whole = np.full(shape, missing)
    whole[:, places] = scores
    return whole
