"""Chooses the configuration and reports how good it is, beside the baselines, by the time protocol of split.py."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.recommend import als, ranking
from salience.recommend.als import Point
from salience.recommend.availability import unavailable
from salience.recommend.caching import kept
from salience.recommend.confidence import exact_sum
from salience.recommend.models.als import als_at
from salience.recommend.models.catalogue import catalogue
from salience.recommend.models.interface import Fitted, Parameters, Recommender, histories, training
from salience.recommend.pairs import hidden, pairs, tags
from salience.recommend.popularity import (
    ALL_TIME,
    HalfLife,
    model_name,
    one_model_each,
    popularity,
    popularity_settings,
)
from salience.recommend.search import ranked
from salience.recommend.split import Cuts, judged_people
from salience.recommend.topk import collect_items, top_k
from salience.settings import RecommendSettings
from salience.stats.bootstrap import percentiles, poisson_bootstrap

ALS = "als"


@dataclass(frozen=True)
class Judged:
    """Each person's metrics (columns `<metric>:<model>`), their means over people, how many people there are, and with
    which parameters each model was fitted."""

    per_person: DataFrame
    means: Mapping[str, float]
    users: int
    fitted_with: Mapping[str, Parameters]


@dataclass(frozen=True)
class Choice:
    """The chosen grid point, and the ndcg of every point in the choosing window, where there was a choice."""

    point: Point
    tried: Mapping[str, float]


def half_lives(settings: RecommendSettings) -> list[HalfLife]:
    """Return the half-lives of the popularity baselines, all time first."""
    return [ALL_TIME, *settings.popularity_half_lives_days]


@contextmanager
def judged(
    interactions: DataFrame,
    contents: DataFrame,
    cut: datetime,
    end: datetime,
    models: Mapping[str, tuple[Recommender, Parameters | None]],
    lives: Sequence[HalfLife],
    settings: RecommendSettings,
) -> Iterator[Judged | None]:
    """Fit each model on what lies before `cut`, and judge it and popularity baselines on [cut, end).

    Args:
        interactions: rows of silver.interactions of one platform.
        contents: rows of silver.contents of that platform.
        cut, end: the judging window.
        models: name -> a model and its parameters, None for the first point of its grid. A model without a grid has
            nothing to go on, and nobody a list of it.
        lives: half-lives of the baselines, if any.
        settings: everything else.

    Yields:
        what was measured; None where nobody can be judged.
    """
    with (
        kept(pairs(interactions, cut, settings)) as weighted,
        kept(judged_people(interactions, weighted, cut, end, settings)) as people,
        kept(unavailable(contents, cut)) as gone,
    ):
        if people.isEmpty():
            yield None
            return
        k = settings.evaluation_k
        with training(weighted, settings.als.blocks, tags(contents, cut)) as trained:
            lists, fitted = [], dict[str, Fitted]()
            if lives:
                popular = popularity(interactions, cut, lives, settings).join(gone, "content_id", how="left_anti")
                lists.append(_popular_lists(people, popular, lives, k))
            for name, (model, parameters) in models.items():
                for point in [parameters] if parameters is not None else model.grid(trained)[:1]:
                    fitted[name] = model.fit(trained, point)
            if fitted:
                asking = people.select("user_id", "seen").join(histories(weighted), "user_id", how="inner")
                each = {name: {name: 1.0} for name in fitted}
                lists.append(ranked(fitted, each, asking, k, hidden(contents, cut)))
            names = [*models, *map(model_name, lives)]
            with kept(_wide(ranking.per_person(reduce(DataFrame.union, lists), people, names, k), names)) as per_person:
                yield _summed_up(per_person, {name: one.settings for name, one in fitted.items()})


def choose(interactions: DataFrame, contents: DataFrame, cuts: Cuts, settings: RecommendSettings) -> Choice:
    """Pick the grid point with the best ndcg in the choosing window.

    Where nobody can be judged, or there is only one point, it is the first, and nothing was tried.
    """
    points = {str(point): point for point in als.grid(settings.als)}
    first = next(iter(points.values()))
    if len(points) == 1:
        return Choice(first, {})
    models = {name: als_at(point, settings.als) for name, point in points.items()}
    with judged(interactions, contents, cuts.train_end, cuts.choose_end, models, [], settings) as found:
        if found is None:
            return Choice(first, {})
        reached = {name: found.means[f"ndcg:{name}"] for name in points}
    return Choice(points[max(points, key=lambda name: reached[name])], reached)


def report(
    interactions: DataFrame, contents: DataFrame, cuts: Cuts, choice: Choice, settings: RecommendSettings
) -> list[dict[str, Any]]:
    """Judge the choice, what it is compared with and the popularity baselines in the reporting window.

    Returns:
        rows of gold.recommender_evaluation without release and platform; none where nobody can be judged.
    """
    window, lives = (cuts.choose_end, cuts.report_end), half_lives(settings)
    known = catalogue(settings, timed=False)
    models = {ALS: als_at(choice.point, settings.als)} | {name: (known[name], None) for name in settings.compared}
    with judged(interactions, contents, *window, models, lives, settings) as found:
        if found is None:
            return []
        compared = [(ALS, name) for name in (*settings.compared, *map(model_name, lives))]
        values = _with_differences(found.means, compared)
        intervals = _intervals(found.per_person, compared, settings)
        weights = als.weight_settings(settings)
        used = {name: {**found.fitted_with.get(name, {}), **weights} for name in models}
        used |= {model_name(life): popularity_settings(life, settings) for life in lives}
        used |= {f"{a} - {b}": {a: used[a], b: used[b]} for a, b in compared}
        return [
            {
                "model": name,
                "settings": json.dumps(used[name], sort_keys=True),
                "protocol": cuts.describe(),
                "segment": "all",
                "metric": metric,
                "k": settings.evaluation_k,
                "value": values[f"{metric}:{name}"],
                "ci_low": intervals[f"{metric}:{name}"][0],
                "ci_high": intervals[f"{metric}:{name}"][1],
                "users": found.users,
                "is_published": name == ALS,
            }
            for name in used
            for metric in ranking.METRICS
        ]


def _popular_lists(people: DataFrame, popular: DataFrame, lives: Sequence[HalfLife], k: int) -> DataFrame:
    named = [F.struct(F.lit(name).alias("model"), F.lit(f).alias("features")) for name, f in one_model_each(lives)]
    asking = people.select("user_id", "seen", F.explode(F.array(*named)).alias("asked"))
    asking = asking.select("user_id", "seen", "asked.model", "asked.features")
    return top_k(asking, collect_items(popular), k).select("user_id", "model", "top")


def _wide(per_person: DataFrame, models: Sequence[str]) -> DataFrame:
    """Return a row a person with a column `<metric>:<model>` each."""
    columns = [
        F.max(F.when(F.col("model") == model, F.col(metric))).alias(f"{metric}:{model}")
        for metric in ranking.METRICS
        for model in models
    ]
    return per_person.groupBy("user_id").agg(*columns)


def _summed_up(per_person: DataFrame, fitted_with: Mapping[str, Parameters]) -> Judged:
    columns = [name for name in per_person.columns if name != "user_id"]
    users = F.count("*")
    means = [(exact_sum(F.col(f"`{name}`")) / users).alias(name) for name in columns]
    row = per_person.agg(users.alias("users"), *means).head()
    assert row is not None
    return Judged(per_person, {name: row[name] for name in columns}, row["users"], fitted_with)


def _with_differences(values: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Add to `<metric>:<model>` the differences `<metric>:<a> - <b>`; works on numbers and on Spark columns."""
    differences = {
        f"{metric}:{a} - {b}": values[f"{metric}:{a}"] - values[f"{metric}:{b}"]
        for metric in ranking.METRICS
        for a, b in pairs
    }
    return {**values, **differences}


def _intervals(
    per_person: DataFrame, pairs: Sequence[tuple[str, str]], settings: RecommendSettings
) -> dict[str, tuple[float, float]]:
    columns = [name for name in per_person.columns if name != "user_id"]
    replicates = poisson_bootstrap(per_person, ["user_id"], columns, settings.bootstrap_replicates, settings.als.seed)
    # A row a replicate, however many people there are.
    arrived = replicates.toPandas()
    resampled = _with_differences({name: arrived[name] for name in columns}, pairs)
    return {name: percentiles(values.to_numpy()) for name, values in resampled.items()}
