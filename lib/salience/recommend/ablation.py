"""Learns what an interaction weighs: changes of settings, judged on rolling time splits, adopted if surely better."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from statistics import NormalDist
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.recommend.als import grid
from salience.recommend.caching import kept
from salience.recommend.confidence import preferences
from salience.recommend.models.als import als_at
from salience.recommend.models.interface import histories, training
from salience.recommend.pairs import hidden, pairs
from salience.recommend.ranking import per_person
from salience.recommend.search import ranked
from salience.recommend.split import judged_people
from salience.settings.recommend import RecommendSettings
from salience.stats.bootstrap import percentiles, poisson_bootstrap

BASE = "as it is"
LEARNED = "learned"
WEIGHING = ("action_weights", "half_life_days", "watch_time_weight")


Say = Callable[[str], None]
Window = tuple[datetime, datetime]


@dataclass(frozen=True)
class Learned:
    """The settings that a search ended with, and rows of gold.confidence_ablation without release and platform."""

    settings: RecommendSettings
    rows: list[dict[str, Any]] = field(repr=False)


def changes(settings: RecommendSettings) -> dict[str, RecommendSettings]:
    """Return every change of one thing: each action's weight, the half-life, and what watching adds."""
    found: dict[str, RecommendSettings] = {}
    weights = settings.action_weights
    for action in sorted(action for action, weight in weights.items() if weight > 0):
        for factor in (0.0, *settings.confidence.factors):
            name = f"{action} x {factor:g}" if factor else f"without {action}"
            found[name] = settings.model_copy(update={"action_weights": _scaled(weights, action, factor)})
    for days in settings.confidence.half_lives_days:
        if days != settings.half_life_days:
            found[f"half-life {days:g} days"] = settings.model_copy(update={"half_life_days": days})
    for weight in (0.0, *settings.confidence.watch_time_weights):
        if weight != settings.watch_time_weight:
            found[f"watch time {weight:g}"] = settings.model_copy(update={"watch_time_weight": weight})
    return found


def as_settings(learned: Learned, before: RecommendSettings) -> str:
    """Return what to set from now on, for a person to read."""
    found = [
        f"--set 'recommend.{name}={json.dumps(getattr(learned.settings, name))}'"
        for name in WEIGHING
        if getattr(learned.settings, name) != getattr(before, name)
    ]
    if not found:
        return "no change is surely better than the settings in force"
    row = next(row for row in learned.rows if row["step"] == 0 and row["variant"] == LEARNED)
    low, high = row["difference_ci_low"], row["difference_ci_high"]
    judged_last = f"{row['difference']:+.4f} ({low:+.4f} to {high:+.4f}) ndcg@{row['k']} on the last window"
    if low <= 0:
        return f"keep the settings in force: {' '.join(found)} was better before, but {judged_last}"
    return f"use {' '.join(found)}: {judged_last}"


def windows(end: datetime, settings: RecommendSettings) -> list[Window]:
    """Return the windows that changes are judged on, and last the one that judges the outcome; all of one length."""
    length = timedelta(days=settings.evaluation_days)
    count = settings.confidence.windows + 1
    return [(end - (n + 1) * length, end - n * length) for n in reversed(range(count))]


def learn(
    interactions: DataFrame, contents: DataFrame, end: datetime, settings: RecommendSettings, say: Say
) -> Learned:
    """Adopt the best change as long as its paired difference of ndcg is surely above 0, then judge the outcome.

    Surely: with all that a round tries, an interval misses its difference in one round of twenty at most (Bonferroni).

    Models are ALS at the first point of its grid. What is adopted was the best of many, so its own difference is
    flattered: the last window, which no choice has seen, tells what it is worth.

    Args:
        interactions: rows of silver.interactions of one platform.
        contents: rows of silver.contents of that platform.
        end: what happened at this time or later is unknown; UTC.
        settings: what is in force.
        say: takes what is being done.

    Raises:
        InputError: in some window there is nobody to judge.
    """
    *choosing, reporting = windows(end, settings)
    now, rows, adopted = settings, [], []
    for step in range(1, settings.confidence.rounds + 1):
        tried = {BASE: now, **changes(now)}
        say(f"round {step}: tries {len(tried) - 1} changes")
        found = judged(interactions, contents, tried, choosing, settings)
        best = max(found, key=lambda row: row["value"])
        is_better = best["variant"] != BASE and best["difference_ci_low"] > 0
        rows += [{**row, "step": step, "is_adopted": is_better and row is best} for row in found]
        if not is_better:
            break
        now = tried[best["variant"]]
        adopted.append(best["variant"])
    say("judges the outcome: " + (", ".join(adopted) or "nothing is surely better than what is in force"))
    outcome = judged(interactions, contents, {BASE: settings, LEARNED: now}, [reporting], settings)
    return Learned(now, rows + [{**row, "step": 0, "is_adopted": row["difference_ci_low"] > 0} for row in outcome])


def _scaled(weights: Mapping[str, float], action: str, factor: float) -> dict[str, float]:
    changed = {**weights, action: weights[action] * factor}
    return {name: weight for name, weight in changed.items() if weight}


def judged(
    interactions: DataFrame,
    contents: DataFrame,
    tried: Mapping[str, RecommendSettings],
    judging: Sequence[Window],
    settings: RecommendSettings,
) -> list[dict[str, Any]]:
    """Fit each variant before each window and judge it within: the same people for all, those that BASE knows.

    Contents that could not be shown as of a window's start are in no list.

    Returns:
        for each variant, its mean ndcg over people and windows with its 95 % interval, and its difference from BASE
        with an interval that holds for all variants at once: as many standard errors to either side as 95 % among so
        many takes. Percentiles that far out would need very many replicates.
    """
    # Names of variants are for people; columns are numbered.
    columns = {name: f"v{n}" for n, name in enumerate(tried)}
    with ExitStack() as stack:
        parts = [
            stack.enter_context(_in_window(interactions, contents, tried, columns, window, settings))
            for window in judging
        ]
        wide = stack.enter_context(kept(reduce(DataFrame.union, parts)))
        averages = [F.avg(column).alias(column) for column in columns.values()]
        means = wide.agg(F.count_distinct("user_id").alias("users"), *averages).collect()[0]
        drawn = (list(columns.values()), settings.bootstrap_replicates, settings.als.seed)
        replicates = poisson_bootstrap(wide, ["user_id"], *drawn).toPandas()
    spans = ", ".join(f"[{start:%Y-%m-%dT%H:%M:%SZ}, {end:%Y-%m-%dT%H:%M:%SZ})" for start, end in judging)
    errors = NormalDist().inv_cdf(1 - 0.025 / max(1, len(tried) - 1))
    rows = []
    for name, variant in tried.items():
        own, base = columns[name], columns[BASE]
        low, high = percentiles(replicates[own].to_numpy())
        difference = means[own] - means[base]
        reach = errors * float((replicates[own] - replicates[base]).std(ddof=1))
        rows.append(
            {
                "variant": name,
                "settings": json.dumps(variant.model_dump(mode="json", include=set(WEIGHING)), sort_keys=True),
                "protocol": f"time splits: ALS fitted before each of {spans} and judged on it",
                "metric": "ndcg",
                "k": settings.evaluation_k,
                "value": means[own],
                "ci_low": low,
                "ci_high": high,
                "difference": difference,
                "difference_ci_low": difference - reach,
                "difference_ci_high": difference + reach,
                "users": means["users"],
            }
        )
    return rows


@contextmanager
def _in_window(
    interactions: DataFrame,
    contents: DataFrame,
    tried: Mapping[str, RecommendSettings],
    columns: Mapping[str, str],
    window: Window,
    settings: RecommendSettings,
) -> Iterator[DataFrame]:
    """Yield a row a person with a column of ndcg for each variant; 0 where the variant leaves nothing to learn from."""
    cut, end = window
    k = settings.evaluation_k
    known = preferences(interactions, cut, tried[BASE])
    with kept(judged_people(interactions, known, cut, end, settings)) as people, ExitStack() as stack:
        if people.isEmpty():
            raise InputError(
                f"nobody can be judged between {cut:%Y-%m-%d} and {end:%Y-%m-%d}: shorten recommend.evaluation_days, "
                "lower recommend.confidence.windows, or wait for more history"
            )
        lists, gone = [], hidden(contents, cut)
        for name, variant in tried.items():
            weighted = stack.enter_context(kept(pairs(interactions, cut, variant)))
            if weighted.isEmpty():
                continue
            made = stack.enter_context(training(weighted, variant.als.blocks))
            model, point = als_at(grid(variant.als)[0], variant.als)
            asking = people.select("user_id", "seen").join(histories(weighted), "user_id", how="inner")
            lists.append(ranked({name: model.fit(made, point)}, {name: {name: 1.0}}, asking, k, gone))
        told = per_person(reduce(DataFrame.union, lists), people, list(tried), k)
        each = [F.max(F.when(F.col("model") == name, F.col("ndcg"))).alias(columns[name]) for name in tried]
        with kept(told.groupBy("user_id").agg(*each)) as wide:
            wide.count()  # now, while what it is made of is held
            yield wide
