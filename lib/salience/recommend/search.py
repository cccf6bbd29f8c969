"""Chooses each model's parameters, and the weights of a blend of them, on inner splits of train."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations_with_replacement, permutations
from time import monotonic
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.recommend.models.interface import Fitted, Parameters, Recommender, Training
from salience.recommend.ranking import per_person
from salience.recommend.scoring import Mix, panel, top_lists

BLENDED = 5
"""At most so many models are blended: the best ones on the inner splits."""
COARSE, FINE = 5, 10
"""Weights of a blend are fifths first, then tenths around the best."""


@dataclass(frozen=True)
class Fold:
    """An inner split, and the training on its pairs."""

    training: Training
    people: DataFrame

    @cached_property
    def strangers(self) -> list[str]:
        """The contents that have tags, but that nobody in train had to do with: they are not ranked."""
        if self.training.tags is None:
            return []
        new = self.training.tags.join(self.training.item_ids, "content_id", how="left_anti").select("content_id")
        return [str(one) for one in new.toArrow()["content_id"].to_pylist()]


@dataclass
class Found:
    """What a search found of one model: its best parameters, the ndcg of each point tried, and how long that took."""

    parameters: Parameters
    tried: list[tuple[Parameters, float]]
    points: int
    """How many points the grid has."""
    seconds: float
    fitted: list[Fitted] = field(default_factory=list, repr=False)
    """The best point's fit on each fold."""

    @property
    def ndcg(self) -> float:
        """Mean over the folds of the best point's ndcg."""
        return max(ndcg for _, ndcg in self.tried)


@dataclass(frozen=True)
class Deadline:
    """A search's end; a step that is running then is finished."""

    at: float

    @classmethod
    def of(cls, budget_s: float | None) -> "Deadline":
        """Return the deadline that ends a budget from now on; None for no end."""
        return cls(float("inf") if budget_s is None else monotonic() + budget_s)

    def part(self, of: int) -> "Deadline":
        """Return the deadline of the first of so many steps that share what is left alike."""
        now = monotonic()
        return Deadline(now + max(0.0, self.at - now) / of)

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return monotonic() >= self.at


def search(model: Recommender, folds: Sequence[Fold], k: int, deadline: Deadline) -> Found | None:
    """Try a model's grid on every fold until the deadline; the first point always.

    Returns:
        what was found; None where the model has nothing to go on.
    """
    begun = monotonic()
    points = model.grid(folds[0].training)
    if not points:
        return None
    found = Found(points[0], [], len(points), 0.0)
    best = float("-inf")
    for point in points:
        if found.tried and deadline.is_over:
            break
        fitted = [model.fit(fold.training, point) for fold in folds]
        ndcg = _mean(reached([{"it": one} for one in fitted], {"it": {"it": 1.0}}, folds, k), "it")
        found.tried.append((point, ndcg))
        if ndcg > best:
            best, found.parameters, found.fitted = ndcg, point, fitted
        del fitted  # or a third point's fits would be made beside these and the best ones
    found.seconds = monotonic() - begun
    return found


def blended(models: Mapping[str, Found]) -> list[str]:
    """Return the models that a blend is made of, the best first."""
    return sorted(models, key=lambda name: -models[name].ndcg)[:BLENDED]


def blend(
    models: Mapping[str, Found], folds: Sequence[Fold], k: int, deadline: Deadline
) -> tuple[dict[str, float], Found]:
    """Choose the weights of a blend: the best of all mixes in fifths, then of those that move a tenth from it.

    Args:
        models: what `search` found of each; those of `blended` fitted on every fold.
        folds: the inner splits.
        k: places that count.
        deadline: after it, no finer mixes are tried.

    Returns:
        weight (> 0, sum 1) of each model, and what was found.
    """
    begun = monotonic()
    names = blended(models)
    fitted = [{name: models[name].fitted[fold] for name in names} for fold in range(len(folds))]
    tried: dict[tuple[int, ...], float] = {}
    coarse = [_counted(names, picks) for picks in combinations_with_replacement(names, COARSE)]
    for tenths in ([tuple(n * FINE // COARSE for n in mix) for mix in coarse], None):
        wanted = tenths or [mix for mix in _around(max(tried, key=lambda m: tried[m])) if mix not in tried]
        if tried and (deadline.is_over or not wanted):
            break
        mixes = {str(n): _weights(names, mix) for n, mix in enumerate(wanted)}
        by_fold = reached(fitted, mixes, folds, k)
        tried |= {mix: _mean(by_fold, str(n)) for n, mix in enumerate(wanted)}
    best = max(tried, key=lambda mix: tried[mix])
    points: list[tuple[Parameters, float]] = [({"weights": _weights(names, m)}, ndcg) for m, ndcg in tried.items()]
    weights = _weights(names, best)
    return weights, Found({"weights": weights}, points, len(points), monotonic() - begun)


def reached(
    fitted: Sequence[Mapping[str, Fitted]], mixes: Mapping[str, Mix], folds: Sequence[Fold], k: int
) -> list[dict[str, float]]:
    """Return, for each fold, the mean ndcg of each mix."""
    told = []
    for models, fold in zip(fitted, folds, strict=True):
        lists = ranked(models, mixes, fold.people, k, fold.strangers)
        judged = per_person(lists, fold.people, list(mixes), k).groupBy("model").agg(F.avg("ndcg").alias("ndcg"))
        told.append({row["model"]: row["ndcg"] for row in judged.collect()})
    return told


def ranked(
    models: Mapping[str, Fitted], mixes: Mapping[str, Mix], people: DataFrame, k: int, hidden: Collection[str] = ()
) -> DataFrame:
    """Return the k best contents of each person by each mix of models, but for hidden ones: user_id, model, top."""
    asking = people.select("user_id", "own", "seen")
    for model in models.values():
        asking = model.asked(asking)
    return top_lists(asking, panel({name: model.scorer() for name, model in models.items()}, mixes, hidden), k)


def told(found: Found) -> dict[str, Any]:
    """Return what a search found as JSON values."""
    return {
        "inner_ndcg": found.ndcg,
        "tried": [{"parameters": dict(point), "ndcg": ndcg} for point, ndcg in found.tried],
        "points_left_untried": found.points - len(found.tried),
    }


def _mean(by_fold: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(fold[name] for fold in by_fold) / len(by_fold)


def _counted(names: Sequence[str], picks: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(picks.count(name) for name in names)


def _weights(names: Sequence[str], tenths: Sequence[int]) -> dict[str, float]:
    return {name: n / FINE for name, n in zip(names, tenths, strict=True) if n}


def _around(tenths: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for giver, taker in permutations(range(len(tenths)), 2):
        if tenths[giver]:
            moved = list(tenths)
            moved[giver] -= 1
            moved[taker] += 1
            yield tuple(moved)
