"""Fits every model with parameters chosen inside train and judges them all on test, which is read once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from rich.table import Table

from salience.errors import InputError
from salience.recommend import ranking
from salience.recommend.averages import means, replicates
from salience.recommend.caching import kept
from salience.recommend.models.interface import Fitted, Recommender, training
from salience.recommend.public import Split, held
from salience.recommend.scoring import Mix
from salience.recommend.search import Deadline, Fold, Found, blend, blended, ranked, search, told
from salience.stats.bootstrap import percentiles

BLEND = "blend"
_MORE_TO_CHOOSE_ON = "give --train more rows, or hide more of it (recommend.search.share)"
_MORE_TO_JUDGE_ON = "check that both files write ids alike, and --relevant-weight"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Terms:
    """How models are compared."""

    k: int
    replicates: int
    seed: int
    blocks: int
    budget_s: float | None
    folds: int
    """So many of the inner splits choose each model's parameters; all of them choose the weights of the blend."""

    def __post_init__(self) -> None:
        """Refuse terms under which nothing can be compared.

        Raises:
            InputError: k is less than 1.
        """
        if self.k < 1:
            raise InputError(f"--k {self.k}: must be at least 1")


def compare(
    models: Mapping[str, Recommender],
    wanted: Sequence[str],
    outer: Split,
    inner: Sequence[Split],
    extra: Mapping[str, DataFrame | None],
    terms: Terms,
    say: Say,
) -> dict[str, dict[str, Any]]:
    """Choose, fit and judge.

    Args:
        models: every model there is; a blend is made of the wanted ones, or of all where it alone is wanted.
        wanted: the models to report, in order; BLEND among them or not.
        outer: train and test.
        inner: the splits of train that parameters are chosen on.
        extra: `tags` and `segments`, see Training.
        terms: everything else.
        say: takes what is being done.

    Returns:
        model -> its metrics at k with their 95 % intervals, its parameters and the seconds it took. A model that has
        nothing to go on, or takes too much memory, is left out, and said so.

    Raises:
        InputError: no model is left, or there is nobody to judge.
    """
    parts = [name for name in wanted if name != BLEND] or list(models)
    deadline, found, weights, refused = Deadline.of(terms.budget_s), dict[str, Found](), None, list[InputError]()
    with _folds(inner[: terms.folds], extra, terms.blocks) as folds:
        for place, name in enumerate(parts):
            say(f"{name}: tries settings")
            steps_left = len(parts) - place + (BLEND in wanted)
            try:
                one = search(models[name], folds, terms.k, deadline.part(steps_left))
            except InputError as error:
                say(f"{name}: left out: {error}")
                refused.append(error)
                continue
            if one is None:
                say(f"{name}: left out: it needs {'--contents' if name == 'tags' else '--users'}")
                continue
            found[name] = one
        if not found and refused:
            raise refused[0]
        if not found:
            raise InputError("no model is left to judge: give it what it needs, or ask for another with --models")
        if BLEND in wanted:
            say("blend: tries mixes")
            with _more_folds(models, found, inner[terms.folds :], extra, terms.blocks, deadline) as more:
                weights, found[BLEND] = blend(found, [*folds, *more], terms.k, deadline)
    for one in found.values():
        one.fitted.clear()  # a model may be as large as the driver's memory allows
    say("fits the chosen settings on all of train, and judges them")
    return _judged(models, [name for name in wanted if name in found], outer, found, weights, extra, terms)


@contextmanager
def _folds(splits: Sequence[Split], extra: Mapping[str, DataFrame | None], blocks: int) -> Iterator[list[Fold]]:
    with ExitStack() as stack:
        kept_splits = stack.enter_context(held(splits, "the inner split of train", _MORE_TO_CHOOSE_ON))
        yield [Fold(stack.enter_context(training(s.pairs, blocks, **extra)), s.people) for s in kept_splits]


@contextmanager
def _more_folds(
    models: Mapping[str, Recommender],
    found: Mapping[str, Found],
    splits: Sequence[Split],
    extra: Mapping[str, DataFrame | None],
    blocks: int,
    deadline: Deadline,
) -> Iterator[list[Fold]]:
    """Fit the models that are blended on splits that no search has used, one split after the other until the deadline.

    Yields:
        the folds that they were fitted on; each fit is added to what was found.
    """
    with ExitStack() as stack:
        folds: list[Fold] = []
        for split in splits:
            if deadline.is_over:
                break
            folds += stack.enter_context(_folds([split], extra, blocks))
            for name in blended(found):
                found[name].fitted.append(models[name].fit(folds[-1].training, found[name].parameters))
        yield folds


def _judged(
    models: Mapping[str, Recommender],
    wanted: Sequence[str],
    outer: Split,
    found: Mapping[str, Found],
    weights: Mix | None,
    extra: Mapping[str, DataFrame | None],
    terms: Terms,
) -> dict[str, dict[str, Any]]:
    mixes: dict[str, Mix] = {name: {name: 1.0} for name in wanted if name != BLEND}
    if weights is not None:
        mixes[BLEND] = weights
    needed = {model for mix in mixes.values() for model in mix}
    with (
        held([outer], "--test", _MORE_TO_JUDGE_ON) as (split,),
        training(split.pairs, terms.blocks, **extra) as trained,
    ):
        fitted, seconds = {}, {}
        for name in sorted(needed):
            begun = monotonic()
            fitted[name] = models[name].fit(trained, found[name].parameters)
            seconds[name] = monotonic() - begun
        seconds[BLEND] = sum(seconds[name] for name in weights or ())
        with (
            kept(ranked(fitted, mixes, split.people, terms.k, Fold(trained, split.people).strangers)) as lists,
            kept(ranking.per_person(lists, split.people, list(mixes), terms.k)) as per_person,
        ):
            values = {name: told for (name,), told in means(per_person, ["model"]).items()}
            shares = {r["model"]: r["coverage"] for r in ranking.coverage(lists, trained.items, terms.k).collect()}
            drawn = replicates(per_person, ["model"], terms.replicates, terms.seed)
            samples = {name: told for (name,), told in drawn.items()}
            users = split.people.count()
    answer: dict[str, dict[str, Any]] = {}
    for name in wanted:
        told_of = {metric: values[name][metric] for metric in ranking.METRICS} | {"coverage": shares.get(name, 0.0)}
        chosen = _of_blend(weights or {}, fitted) if name == BLEND else dict(fitted[name].settings)
        ends = {metric: list(percentiles(samples[name][metric])) for metric in ranking.METRICS}
        answer[name] = {
            **told_of,
            "k": terms.k,
            "users": users,
            "intervals_95": ends,
            "std_errors": {metric: float(np.std(samples[name][metric], ddof=1)) for metric in ranking.METRICS},
            "ndcg_differences": {other: _difference(values, samples, name, other) for other in wanted if other != name},
            "parameters": chosen,
            "search": told(found[name]),
            "seconds": {"search": found[name].seconds, "fit": seconds[name]},
        }
    return answer


def _of_blend(weights: Mix, fitted: Mapping[str, Fitted]) -> dict[str, Any]:
    """Return what tells a blend, as models/blend.py takes it."""
    return {"weights": dict(weights), "parts": {name: dict(fitted[name].settings) for name in weights}}


def _difference(
    values: Mapping[str, Mapping[str, float]], samples: Mapping[str, Mapping[str, Any]], a: str, b: str
) -> dict[str, float]:
    low, high = percentiles(samples[a]["ndcg"] - samples[b]["ndcg"])
    return {"value": values[a]["ndcg"] - values[b]["ndcg"], "ci_low": low, "ci_high": high}


def as_table(found: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the comparison as a table for a person, with the 95 % interval of ndcg."""
    names = (*ranking.METRICS, "coverage")
    k = next(iter(found.values()))["k"]
    table = Table("model", f"ndcg@{k} (95%)", *(f"{name}@{k}" for name in names[1:]), "users", "seconds")
    for model, figures in found.items():
        low, high = figures["intervals_95"]["ndcg"]
        seconds = sum(figures["seconds"].values())
        values = [f"{figures[name]:.4f}" for name in names[1:]]
        ndcg = f"{figures['ndcg']:.4f} ({low:.4f} to {high:.4f})"
        table.add_row(model, ndcg, *values, f"{figures['users']:,}", f"{seconds:.0f}")
    return table
