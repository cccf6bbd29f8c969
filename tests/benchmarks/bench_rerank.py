"""What each setting of recommend.rank costs in nDCG, and what it gains, on logs of simulated people.

The jobs find and score candidates as of two days before the logs end, once; then lists are made by one setting at a
time, beside p_engage_24h alone, and judged on those two days: people of the personalised arm who found something new.
nDCG rewards what people met anyway; `planted` is what lists would truly earn: the mean probability that was simulated.
"""

import argparse
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import reduce
from math import sqrt
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table

import build_profiles
import clean_interactions
import find_candidates
import open_release
import score_engagement
import simulate_logs
import train_engagement
import train_recommender
from benchmarks.figures import FOLDER, Figures
from benchmarks.planted import probabilities
from salience.interactions.undone import without_undone
from salience.job import Job
from salience.progress import Progress
from salience.recommend.arms import PERSONALISED
from salience.recommend.availability import newest_versions, unavailable
from salience.recommend.confidence import preferences
from salience.recommend.frequency import frequency_caps
from salience.recommend.rank import rank
from salience.recommend.ranking import coverage, per_person
from salience.recommend.split import end_of, is_relevant, judged_people
from salience.recommend.variety import facts as variety_facts
from salience.recommend.variety import variety
from salience.recommend.worth import action_value, facts
from salience.session import build_session
from salience.settings import Settings, load_settings
from salience.settings.recommend import RankSettings
from salience.tables import engagement, recommendations, silver

PROJECT = Path(__file__).parent.parent.parent
CONF, DATA = PROJECT / "conf", FOLDER / "rerank"
LAST, DAYS, JUDGED_DAYS = date(2026, 11, 14), 14, 2
AS_OF = LAST - timedelta(days=JUDGED_DAYS)
PLATFORM = "feed"
VALUES = {"comment": 2.0, "share": 3.0, "cart": 4.0, "purchase": 10.0}
"""What an engagement is worth where values are tried."""

PLAIN: dict[str, Any] = {
    "action_values": {},
    "mmr_lambda": 1.0,
    "creator_cap": None,
    "freshness_boost": 0.0,
    "exploration_slots": 0,
}
BASE, BY_PLACE, DEFAULT = "p", "place", "default"
VARIANTS: dict[str, dict[str, Any]] = {
    BASE: {},
    "value": {"action_values": VALUES},
    **{f"mmr_{weight:g}": {"mmr_lambda": weight} for weight in (0.95, 0.9, 0.7, 0.5)},
    **{f"creator_cap_{cap}": {"creator_cap": cap} for cap in (3, 2, 1)},
    **{f"freshness_{boost:g}": {"freshness_boost": boost} for boost in (0.25, 1.0)},
    **{f"exploration_{slots}": {"exploration_slots": slots} for slots in (1, 2)},
}
SHOWN = {
    "ndcg": "nDCG",
    "planted": "probability of engaging",
    "intra_list_diversity": "1 - cosine",
    "creators": "a list",
    "age_days": "days",
    "value": "found a person",
}


@dataclass(frozen=True)
class Log:
    """What lists are made of, and what is told of them."""

    candidates: DataFrame
    scores: DataFrame
    interactions: DataFrame
    contents: DataFrame
    cut: datetime
    settings: Settings
    folder: Path


def prepared(spark: SparkSession, events: int, people: int, contents: int) -> Log:
    """Simulate and run the jobs, unless that was done before, and read what they made."""
    folder = DATA / f"{events}-{people}-{contents}"
    size = {"events": 2 * events, "users": people, "contents": contents, "days": DAYS, "partitions": 4}
    overrides = [f"logs={folder}/logs", f"simulate.truth={folder}/truth", f"warehouse={folder}/warehouse"]
    overrides += [f"platforms=[{PLATFORM}]", *(f"simulate.{name}={value}" for name, value in size.items())]
    settings = load_settings(CONF, "local", {}, overrides)
    first = LAST - timedelta(days=DAYS - 1)
    whole = Namespace(env="local", from_day=first, to_day=LAST, date=None, release=None)
    job = Job("bench_rerank", whole, CONF, settings, spark, Progress())
    done = folder / "release"
    if not done.exists():
        job.step(simulate_logs.main, from_day=LAST)
        job.step(clean_interactions.main)
        days = {"from_day": first, "to_day": AS_OF}
        release = job.step(open_release.main, **days).release
        for module in (build_profiles, train_recommender, find_candidates, train_engagement, score_engagement):
            job.step(module.main, **days, release=release)
        done.write_text(release, encoding="utf-8")
    release, here = done.read_text(encoding="utf-8"), F.col("platform") == PLATFORM

    def snapshot(table: Any) -> DataFrame:
        return job.warehouse.read(table).where(F.col("release_id") == release).drop("release_id")

    candidates = snapshot(recommendations.CANDIDATES).where(F.col("arm") == PERSONALISED)
    silvers = (job.read(table).where(here) for table in (silver.INTERACTIONS, silver.CONTENTS))
    return Log(candidates.cache(), snapshot(engagement.SCORES).cache(), *silvers, end_of(AS_OF), settings, folder)


def lists(log: Log, name: str, changes: Mapping[str, Any]) -> DataFrame:
    """Return everybody's list by one variant: user_id, model, top."""
    usual = log.settings.recommend.rank
    used = RankSettings(**{**usual.model_dump(), **({} if name == DEFAULT else PLAIN), **changes})
    settings = log.settings.recommend.model_copy(update={"rank": used})
    known = facts(log.interactions, log.contents, log.cut, settings).withColumn("platform", F.lit(PLATFORM))
    nothing = log.candidates.sparkSession.createDataFrame([], "platform string, suggested_frequency_cap int")
    scores = None if name == BY_PLACE else log.scores
    ranked = rank(log.candidates, scores, known, nothing, log.cut, settings)
    entries = F.array_sort(F.collect_list(F.struct("rank", "content_id", F.col("score"))))
    whole = ranked.groupBy("user_id").agg(entries.alias("entries"))
    top = F.transform(
        "entries", lambda one: F.struct(one["content_id"].alias("content_id"), one["score"].alias("score"))
    )
    return whole.select("user_id", F.lit(name).alias("model"), top.alias("top"))


def judged(log: Log, made: DataFrame, names: list[str]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return what was measured of each judged person (user_id, model, metrics), and coverage by model."""
    settings, cut = log.settings.recommend, log.cut
    known, end, k = newest_versions(log.contents, "content_id", cut), cut + timedelta(days=JUDGED_DAYS), settings.k
    served = log.candidates.select("user_id").distinct()
    people = judged_people(log.interactions, preferences(log.interactions, cut, settings), cut, end, settings)
    people = people.join(served, "user_id", how="left_semi").cache()
    mine = made.join(people.select("user_id"), "user_id", how="left_semi").cache()
    each = per_person(mine, people, names, k).select("user_id", "model", "ndcg")
    varied = variety(mine, variety_facts(log.interactions, known.select("content_id", "tags"), cut), k)
    entries = mine.select("user_id", "model", F.explode(F.slice("top.content_id", 1, k)).alias("content_id")).cache()
    pairs = entries.select(F.lit(PLATFORM).alias("platform"), "user_id", "model", "content_id").toPandas()
    truth = pairs.merge(probabilities(pairs.drop(columns="model").drop_duplicates(), log.folder))
    planted = truth.groupby(["user_id", "model"], as_index=False)["planted"].mean()
    person = ["user_id", "model"]
    whole = each.join(varied, person, how="left").join(described(log, entries, known), person, how="left")
    catalogue = known.join(unavailable(log.contents, cut), "content_id", how="left_anti").count()
    covered = {row["model"]: row["coverage"] for row in coverage(made, catalogue, k).collect()}
    return whole.toPandas().merge(planted, how="left"), covered


def described(log: Log, entries: DataFrame, known: DataFrame) -> DataFrame:
    """Return creators, age_days (mean, as of the cut) and value (found on the judged days) of lists.

    Args:
        log: what lists are made of.
        entries: user_id, model, content_id.
        known: contents as of the cut.
    """
    settings, end = log.settings.recommend, log.cut + timedelta(days=JUDGED_DAYS)
    age = (F.lit(log.cut).cast("double") - F.col("published_at").cast("double")) / 86400
    is_judged = (F.col("event_time") >= F.lit(log.cut)) & (F.col("event_time") < F.lit(end))
    found = without_undone(log.interactions.where(is_judged)).where(is_relevant(settings))
    value = action_value(settings.rank.model_copy(update={"action_values": VALUES}))
    worths = found.groupBy("user_id", "content_id").agg(F.sum(value).alias("value"))
    full = entries.join(known.select("content_id", "creator_id", age.alias("age_days")), "content_id", how="left")
    return (
        full.join(worths, ["user_id", "content_id"], how="left")
        .groupBy("user_id", "model")
        .agg(
            F.count_distinct("creator_id").alias("creators"),
            F.avg("age_days").alias("age_days"),
            F.coalesce(F.sum("value"), F.lit(0.0)).alias("value"),
        )
    )


def told(figures: Figures, measured: pd.DataFrame, covered: Mapping[str, float], k: int) -> None:
    """Take the figures in and print them, a row a variant: each value, and what it differs by from p's."""
    by = {name: rows.set_index("user_id").sort_index() for name, rows in measured.groupby("model")}
    table = Table("variant", *(f"{metric} (- {BASE}, s.e.)" for metric in SHOWN), "coverage")
    for name, share in covered.items():
        cells, less = [], by[name][list(SHOWN)] - by[BASE][list(SHOWN)]
        for metric, unit in SHOWN.items():
            value, change = by[name][metric].mean(), less[metric].mean()
            error = less[metric].std() / sqrt(less[metric].count())
            paired = f"{change:+.4f} beside {BASE}, standard error {error:.4f}, paired, {len(less):,} people"
            figures.add(f"rerank_{name}_{metric}", value, unit, paired)
            cells.append(f"{value:.4f} ({change:+.4f}, {error:.4f})")
        figures.add(f"rerank_{name}_coverage", share, "of the catalogue", f"{share - covered[BASE]:+.4f} beside {BASE}")
        table.add_row(name, *cells, f"{share:.3f}")
    print(f"of lists of {k}")
    Console(soft_wrap=True, width=180).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--people", type=int, default=3000)
    parser.add_argument("--contents", type=int, default=600)
    asked = parser.parse_args()
    spark = build_session("bench-rerank", CONF, "local")
    log = prepared(spark, asked.events, asked.people, asked.contents)
    figures, variants = Figures("rerank"), {BY_PLACE: {}, **VARIANTS, DEFAULT: {}}
    kept = str(DATA / "lists")
    reduce(DataFrame.union, (lists(log, *one) for one in variants.items())).write.mode("overwrite").parquet(kept)
    measured, covered = judged(log, spark.read.parquet(kept), list(variants))
    told(figures, measured, {name: covered[name] for name in variants}, log.settings.recommend.k)
    for row in frequency_caps(log.interactions, log.cut, log.settings.recommend).collect():
        figures.add("suggested_frequency_cap", row["suggested_frequency_cap"], "showings in 7 days", row["platform"])


if __name__ == "__main__":
    main()
