"""Times the best 20 unseen contents of everyone, and ALS fits, against MLlib's own lists and the `implicit` package.

Everyone's lists, from Parquet to Delta: the product against MLlib's recommendForAllUsers with what a user would write
after it, in one session as conf/spark/local.conf makes it; `implicit` in a process of its own does the listing alone,
from arrays in memory. All have the same factors. Each ALS fit has a fresh Java, without and with a native BLAS.
"""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Timer
from time import monotonic

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.apart import CONF, measured
from benchmarks.crowd import Crowd, Integers, simulate
from benchmarks.figures import FOLDER, Figures
from benchmarks.ladder import by_ladder, models_of
from benchmarks.lists import (
    BLOCK_MB,
    K,
    asking,
    by_mllib,
    by_product,
    factors_of,
    lists_of_mllib,
    lists_of_product,
    mllib_model,
)
from benchmarks.native_blas import native_blas
from benchmarks.truth import by_hand, near_ties, objective
from salience.recommend.topk import in_blocks, top_k
from salience.session import build_session
from salience.settings import load_settings

DATA = FOLDER / "recommend"
RANK, ITERATIONS, CORES = 64, 5, 2
BLOCKS, CHOSEN = (1, 4, 8, 10), 2
"""Numbers of ALS blocks beside the one that is chosen for two cores (conf/local.yaml)."""
SAMPLE = 500
PATIENCE = 60
"""MLlib's lists are stopped after as many times as long as the product's."""
# A driver apart from its executors, and small: what it held too long would be seen.
APART = """
spark.master                local-cluster[2,1,3072]
spark.driver.memory         1g
spark.executor.memory       3g
"""


def fitted(crowd: Crowd, blocks: int, libraries: Path | None) -> tuple[float, str, Path]:
    """Return the seconds of a fit, the BLAS that it found, and where its factors lie."""
    factors = crowd.folder / f"factors-{blocks}-{'native' if libraries else 'java'}"
    env = {"LD_LIBRARY_PATH": str(libraries)} if libraries else None
    shape = ("--rank", RANK, "--iterations", ITERATIONS, "--blocks", blocks)
    told = measured("fit_als", crowd.folder, factors, *shape, env=env)
    return told["seconds"], told["blas"], factors


def of_fits(found: Figures, crowd: Crowd, pairs: int) -> Path:
    """Time fits, and return where the factors of the chosen one lie."""
    libraries = native_blas(DATA / "blas")
    ways = {"java": None} if libraries is None else {"java": None, "native": libraries}
    rounds = [{way: fitted(crowd, CHOSEN, path) for way, path in ways.items()} for _ in range(pairs)]
    for way in ways:
        solver = rounds[0][way][1]
        middle = median(one[way][0] for one in rounds)
        found.add(f"als_fit_{way}_s", middle, "s", f"{solver}, {CHOSEN} blocks, {ITERATIONS} iterations, rank {RANK}")
    chosen = rounds[0]["java"][2]
    if libraries is not None:
        ratio = median(one["java"][0] / one["native"][0] for one in rounds)
        found.add("als_native_speedup", ratio, "ratio", f"{pairs} pairs, a fresh Java each")
        apart = _largest_difference(chosen, rounds[0]["native"][2])
        found.add("als_native_difference", apart, "of the largest factor", "the same fit in Java", "<= 0.001")
    reached = _objective(crowd, chosen)
    for blocks in BLOCKS:
        seconds, solver, factors = fitted(crowd, blocks, None)
        worse = _objective(crowd, factors) / reached - 1
        against = f"{solver}, once; the objective is {worse:+.2%} beside {CHOSEN} blocks"
        found.add(f"als_fit_{blocks}_blocks_s", seconds, "s", against)
    return chosen


def _largest_difference(one: Path, other: Path) -> float:
    both = zip(factors_of(one), factors_of(other), strict=True)
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in both)


def _objective(crowd: Crowd, factors: Path) -> float:
    settings = load_settings(CONF, "local", {}, []).recommend.als
    return objective(*factors_of(factors), crowd.places(), settings.alphas[0], settings.regularisations[0])


def timed(work: Callable[[], object], target: Path) -> float:
    """Return the seconds that work takes that begins without its table."""
    shutil.rmtree(target, ignore_errors=True)
    begun = monotonic()
    work()
    return monotonic() - begun


def within(spark: SparkSession, patience: float, work: Callable[[], object], target: Path) -> float | None:
    """Return the seconds that work takes in Spark; None where it was stopped after `patience` seconds."""
    spark.sparkContext.setJobGroup("patience", "stopped when that is over", interruptOnCancel=True)
    begun = monotonic()
    stopping = Timer(patience, spark.sparkContext.cancelJobGroup, ["patience"])
    stopping.start()
    try:
        return timed(work, target)
    except Exception:
        if monotonic() - begun < patience:
            raise
        return None
    finally:
        stopping.cancel()
        spark.sparkContext.setJobGroup("", "")


def computed(frame: DataFrame) -> float:
    """Return the seconds that a frame takes that is written nowhere."""
    begun = monotonic()
    frame.write.format("noop").mode("overwrite").save()
    return monotonic() - begun


@dataclass(frozen=True)
class Round:
    """Seconds of one round."""

    ours: float
    mllib: float
    """As long as it was waited for where it did not end."""
    mllib_has_ended: bool
    implicit: float
    gathering: float
    """Reading, what everyone has seen, and the join, alone."""
    scoring: float
    """Reading, and scoring without anything seen, alone."""


class Contest:
    """The three ways to everyone's lists, from the same factors."""

    def __init__(self, spark: SparkSession, crowd: Crowd, factors: Path) -> None:
        self.spark, self.crowd, self.factors = spark, crowd, factors
        self.product, self.mllib, self.implicit = (DATA / name for name in ("product", "mllib", "implicit.npy"))
        self.model = mllib_model(spark, crowd, factors)
        self.longest = int(np.bincount(crowd.places()[0]).max())

    def round(self) -> Round:
        ours = timed(self.by_product, self.product)
        patience = PATIENCE * ours
        mllib = within(self.spark, patience, self.by_mllib, self.mllib)
        shape = ("--k", K, "--threads", CORES)
        implicit = measured("with_implicit", self.crowd.folder, self.factors, self.implicit, *shape)["seconds"]
        gathering = computed(asking(self.spark, self.crowd, self.factors))
        scoring = computed(self.unmasked())
        return Round(ours, mllib or patience, mllib is not None, implicit, gathering, scoring)

    def by_product(self) -> None:
        by_product(self.spark, self.crowd, self.factors, self.product)

    def by_mllib(self) -> None:
        by_mllib(self.spark, self.model, self.crowd, self.longest, self.mllib)

    def unmasked(self) -> DataFrame:
        users, items = (self.spark.read.parquet(str(self.factors / f"{name}_factors")) for name in ("user", "item"))
        nothing = F.array().cast("array<string>")
        return top_k(users.withColumn("seen", nothing), in_blocks(items, BLOCK_MB), K)


def of_lists(found: Figures, crowd: Crowd, factors: Path, pairs: int) -> None:
    """Time everyone's lists in turn, and compare them."""
    spark = build_session("bench-recommend", CONF, "local")
    contest = Contest(spark, crowd, factors)
    contest.by_product()  # what is compiled once is not measured
    rounds = [contest.round() for _ in range(pairs)]
    _tell(found, rounds, K + contest.longest)
    users = len(factors_of(factors)[0])
    peers = {"implicit": np.load(contest.implicit)}
    if rounds[-1].mllib_has_ended:
        peers["mllib"] = lists_of_mllib(spark, contest.mllib, users)
    compare(found, crowd, factors, lists_of_product(spark, contest.product, users), peers)
    of_ladder(found, spark, crowd, factors, median(one.ours for one in rounds))
    spark.stop()


def of_ladder(found: Figures, spark: SparkSession, crowd: Crowd, factors: Path, topk_s: float) -> None:
    """Time everyone's candidates by all rungs of the ladder, beside the best by ALS alone."""
    settings = load_settings(CONF, "local", {}, [f"recommend.als.rank={RANK}"]).recommend
    models = models_of(spark, crowd, factors, settings, DATA / "similarity")
    seconds = timed(lambda: by_ladder(spark, crowd, models, settings, DATA / "candidates"), DATA / "candidates")
    against = f"once; {settings.candidates} candidates by {', '.join(settings.ladder)}, from interactions to Delta"
    found.add("candidates_s", seconds, "s", against)
    found.add("candidates_over_topk", seconds / topk_s, "ratio", f"the best {K} by ALS alone")


def _tell(found: Figures, rounds: list[Round], asked_of_mllib: int) -> None:
    speedup = median(one.mllib / one.ours for one in rounds)
    against = f"recommendForAllUsers({asked_of_mllib}), anti-join, cut; {len(rounds)} pairs"
    if not all(one.mllib_has_ended for one in rounds):
        against += f"; at least: stopped after {PATIENCE} times as long"
    found.add("topk_speedup_over_mllib", speedup, "ratio", against, ">= 5")
    over = median(one.ours / one.implicit for one in rounds)
    against = f"its recommend alone, from arrays in memory, {CORES} threads; {len(rounds)} pairs"
    found.add("topk_over_implicit", over, "ratio", against, "<= 2.5")
    whats = {
        "topk_s": ([one.ours for one in rounds], "from Parquet to Delta"),
        "mllib_topk_s": ([one.mllib for one in rounds], "factors in memory, to Delta"),
        "implicit_topk_s": ([one.implicit for one in rounds], "nothing read or written"),
        "topk_gather_s": ([one.gathering for one in rounds], "of it, alone: reading, and what everyone has seen"),
        "topk_score_s": ([one.scoring for one in rounds], "of it, alone: reading, and scoring with nothing seen"),
    }
    for figure, (seconds, what) in whats.items():
        found.add(figure, median(seconds), "s", f"median, {min(seconds):.1f} to {max(seconds):.1f}; {what}")


def compare(found: Figures, crowd: Crowd, factors: Path, listed: Integers, peers: dict[str, Integers]) -> None:
    """Compare lists with a full sort, and with those of the peers."""
    users, items = factors_of(factors)
    user, item = crowd.places()
    sample = np.random.default_rng(1).choice(len(users), min(SAMPLE, len(users)), replace=False)
    seen = [item[user == one] for one in sample]
    equal = float((by_hand(users[sample], items, seen) == listed[sample]).all(axis=1).mean())
    found.add("topk_equal_to_full_sort", equal, "of the lists", f"in double precision, {len(sample)} people", "= 1")
    for name, theirs in peers.items():
        share, apart = near_ties(users, items, listed, theirs)
        found.add(f"topk_equal_to_{name}", share, "of the lists", "which scores in single precision")
        found.add(f"topk_apart_from_{name}", apart, "of what rounding can do", "scores of unlike places", "<= 1")


def of_memory(found: Figures, crowd: Crowd, factors: Path) -> None:
    """Compare what the driver holds at most for a quarter of the people and for all."""
    conf = _conf_apart(DATA / "conf")
    users = len(factors_of(factors)[0])
    quarter = ("--below", crowd.user_id(users // 4))
    held = [measured("driver_memory", conf, crowd.folder, factors, DATA / "apart", *more) for more in (quarter, ())]
    few, all_ = (told["java_mb"] + told["python_mb"] for told in held)
    against = f"{users:,} people beside {users // 4:,}, executors apart"
    found.add("driver_memory_growth", all_ - few, "MB", against, "<= 20")
    for part in ("java", "python"):
        small, large = (told[f"{part}_mb"] for told in held)
        what = "live heap" if part == "java" else "resident"
        found.add(f"driver_{part}_mb", large, "MB", f"{what} at most; {small:.0f} MB for {users // 4:,} people")


def _conf_apart(folder: Path) -> Path:
    """Return a copy of conf/ whose local session has executors of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(CONF, folder)
    with (folder / "spark" / "local.conf").open("a", encoding="utf-8") as file:
        file.write(APART)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=3)
    asked = parser.parse_args()
    found = Figures("recommend")
    crowd = simulate(DATA, asked.users, asked.items)
    found.add("pairs", len(crowd.places()[0]), "pairs", f"{asked.users:,} people, {asked.items:,} contents")
    factors = of_fits(found, crowd, asked.pairs)
    of_memory(found, crowd, factors)
    of_lists(found, crowd, factors, asked.pairs)
    found.report()


if __name__ == "__main__":
    main()
