"""Chooses the configuration and reports how good it is, beside the baselines, by the time protocol of split.py."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.profiles.segments import EVERYONE
from salience.recommend import als, ranking
from salience.recommend.als import Point
from salience.recommend.availability import unavailable
from salience.recommend.averages import Group, means, replicates
from salience.recommend.caching import kept
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
from salience.recommend.scoring import Mix
from salience.recommend.search import ranked
from salience.recommend.split import Cuts, judged_people
from salience.recommend.topk import in_blocks, top_k
from salience.recommend.variety import VARIETY, facts, variety
from salience.settings.recommend import RecommendSettings
from salience.stats.bootstrap import percentiles

ALS, BLEND = "als", "blend"
SEGMENTS_AT_MOST = 20
"""So many segments of an attribute are judged, those of most people: each costs the driver a row a replicate."""
HISTORIES = ((1, 4), (5, 19), (20, None))
"""Segments of people by how many contents they had something to do with before the cut: from, to."""
_GROUP = ("segment", "model")
_NO_ENDS: dict[str, float | None] = {"ci_low": None, "ci_high": None}


@dataclass(frozen=True)
class Judged:
    """What was measured of each person.

    per_person: user_id, segment (EVERYONE, and the person's own: see `segments`), model, each metric; held.
    lists: user_id, model, top; held.
    contents: of all that is known of contents, what `variety` needs.
    available: content_id of those that could be shown.
    fitted_with: with which parameters each model was fitted.
    """

    per_person: DataFrame
    lists: DataFrame
    contents: DataFrame
    available: DataFrame
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
    groups: DataFrame | None = None,
    tell: Callable[[str], None] | None = None,
    blend: Mix | None = None,
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
        groups: user_id, segment: what people are judged apart by, beside those of `segments`; at most SEGMENTS_AT_MOST
            values of each attribute count.
        tell: takes why a model other than ALS cannot be fitted, which is left out then; None stops there.
        blend: the weights of a mix of the models that is judged, too, unless one of them is left out.

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
            lists, fitted, refused, mixes = [], dict[str, Fitted](), set[str](), dict[str, Mix]()
            if lives:
                popular = popularity(interactions, cut, lives, settings).join(gone, "content_id", how="left_anti")
                lists.append(_popular_lists(people, popular, lives, k, settings.block_mb))
            for name, (model, parameters) in models.items():
                try:
                    for point in [parameters] if parameters is not None else model.grid(trained)[:1]:
                        fitted[name] = model.fit(trained, point)
                except InputError as error:
                    if name == ALS or tell is None:
                        raise
                    tell(f"{name} is not judged: {error}")
                    refused.add(name)
            if fitted:
                asking = people.select("user_id", "seen").join(histories(weighted), "user_id", how="inner")
                mixes = {name: {name: 1.0} for name in fitted}
                if blend and fitted.keys() >= blend.keys():
                    mixes[BLEND] = blend
                lists.append(ranked(fitted, mixes, asking, k, hidden(contents, cut)))
            names = [*(name for name in models if name not in refused), *mixes.keys() - models.keys()]
            names += map(model_name, lives)
            of_segments = people.select("user_id", F.explode(segments(F.col("seen"))).alias("segment"))
            if groups is not None:
                of_segments = of_segments.union(_largest(groups.join(people, "user_id", how="left_semi")))
            known = facts(interactions, tags(contents, cut), cut)
            available = known.select("content_id").join(gone, "content_id", how="left_anti")
            with (
                kept(reduce(DataFrame.union, lists)) as listed,
                kept(ranking.per_person(listed, people, names, k).join(of_segments, "user_id")) as per_person,
            ):
                fitted_with = {name: one.settings for name, one in fitted.items()}
                fitted_with |= {name: {"weights": blend} for name in mixes.keys() - models.keys()}
                yield Judged(per_person, listed, known, available, fitted_with)


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
        told = means(found.per_person, _GROUP)
        reached = {name: told[EVERYONE, name]["ndcg"] for name in points}
    return Choice(points[max(points, key=lambda name: reached[name])], reached)


def report(
    interactions: DataFrame,
    contents: DataFrame,
    cuts: Cuts,
    choice: Choice,
    settings: RecommendSettings,
    groups: DataFrame | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Judge the choice, what it is compared with and the popularity baselines in the reporting window.

    Args:
        interactions, contents, settings, groups, tell: as `judged` takes them.
        cuts: of the windows.
        choice: what to judge.

    Returns:
        rows of gold.recommender_evaluation without release and platform; none where nobody can be judged.
    """
    window, lives = (cuts.choose_end, cuts.report_end), half_lives(settings)
    known = catalogue(settings, timed=False)
    blend = dict[str, float](settings.blend.items()) if BLEND in settings.compared else {}
    others = [name for name in dict.fromkeys([*settings.compared, *blend]) if name not in (ALS, BLEND)]
    models = {ALS: als_at(choice.point, settings.als)} | {name: (known[name], None) for name in others}
    with judged(interactions, contents, *window, models, lives, settings, groups, tell, blend) as found:
        if found is None:
            return []
        k, varied = settings.evaluation_k, variety(found.lists, found.contents, settings.evaluation_k)
        with kept(found.per_person.join(varied, ["user_id", "model"], how="left")) as per_person:
            values = means(per_person, _GROUP, VARIETY)
            drawn = replicates(per_person, _GROUP, settings.bootstrap_replicates, settings.als.seed, VARIETY)
        covered = ranking.coverage(found.lists, found.available.count(), k).collect()
        fitted_with = found.fitted_with
    weights = als.weight_settings(settings)
    used: dict[str, Any] = {name: {**fitted_with.get(name, {}), **weights} for name in [*models, *fitted_with]}
    used |= {model_name(life): popularity_settings(life, settings) for life in lives}
    used |= {f"{ALS} - {other}": {ALS: used[ALS], other: used[other]} for other in used if other != ALS}
    compared, samples = _with_differences(values), _with_differences(drawn)
    everyone = {segment: told["users"] for (segment, _), told in values.items()}
    measured = [
        (segment, name, metric, told[metric], ends, told.get(f"{metric}_users", everyone[segment]))
        for (segment, name), told in sorted(compared.items(), key=lambda one: one[0])
        for metric in (*ranking.METRICS, *VARIETY)
        if metric in told
        for ends in [_ends(samples.get((segment, name)), metric)]
    ]
    measured += [(EVERYONE, name, "coverage", share, _NO_ENDS, everyone[EVERYONE]) for name, share in sorted(covered)]
    return [
        {
            "model": name,
            "settings": json.dumps(used[name], sort_keys=True),
            "protocol": cuts.describe(),
            "segment": segment,
            "metric": metric,
            "k": k,
            "value": value,
            **ends,
            "users": users,
            "is_published": name == ALS or (name == BLEND and BLEND in settings.ladder),
        }
        for segment, name, metric, value, ends, users in measured
    ]


def segments(seen: Column) -> Column:
    """Return the segments that a person belongs to: EVERYONE, and `history=<from> to <to>`.

    Args:
        seen: array of the contents that they had something to do with.
    """
    named = F.lit(None).cast("string")
    for low, high in HISTORIES:
        name = f"history={low} to {high}" if high else f"history={low} and more"
        named = F.when(F.size(seen) >= low, F.lit(name)).otherwise(named)
    return F.array_compact(F.array(F.lit(EVERYONE), named))


def _largest(groups: DataFrame) -> DataFrame:
    """Keep the SEGMENTS_AT_MOST segments of each attribute that most people are in: user_id, segment."""
    of_attribute = Window.partitionBy(F.substring_index("segment", "=", 1)).orderBy(F.desc("count"), "segment")
    ranked = groups.groupBy("segment").count().withColumn("rank", F.row_number().over(of_attribute))
    return groups.join(ranked.where(F.col("rank") <= SEGMENTS_AT_MOST), "segment", how="left_semi").select(
        "user_id", "segment"
    )


def _with_differences(found: Mapping[Group, Mapping[str, Any]]) -> dict[Group, Mapping[str, Any]]:
    """Add the metrics of ALS less those of each other model, segment by segment; works on numbers and on arrays."""
    differences: dict[Group, Mapping[str, Any]] = {
        (segment, f"{ALS} - {other}"): {m: found[segment, ALS][m] - told[m] for m in ranking.METRICS}
        for (segment, other), told in found.items()
        if other != ALS
    }
    return {**found, **differences}


def _ends(samples: Mapping[str, Any] | None, metric: str) -> dict[str, float | None]:
    """Return the ends of a metric's interval; none where nobody was ever drawn of whom it is known."""
    known = samples[metric][~np.isnan(samples[metric])] if samples else np.empty(0)
    if not len(known):
        return _NO_ENDS
    low, high = percentiles(known)
    return {"ci_low": low, "ci_high": high}


def _popular_lists(
    people: DataFrame, popular: DataFrame, lives: Sequence[HalfLife], k: int, block_mb: float
) -> DataFrame:
    named = [F.struct(F.lit(name).alias("model"), F.lit(f).alias("features")) for name, f in one_model_each(lives)]
    asking = people.select("user_id", "seen", F.explode(F.array(*named)).alias("asked"))
    asking = asking.select("user_id", "seen", "asked.model", "asked.features")
    return top_k(asking, in_blocks(popular, block_mb), k).select("user_id", "model", "top")
