"""What the engagement model claims: oracles, calibration, coverage, distance to what was planted; and its speed.

--part picks one of: proofs (oracles, calibration, coverage), planted (a simulated platform from its logs to the
evaluation), openbandit (a report without claims), speed.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Callable
from datetime import date, timedelta
from statistics import median

import numpy as np
import pandas as pd
from deltalake import DeltaTable
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

import clean_interactions
import open_release
import simulate_logs
import train_engagement
import train_recommender
from benchmarks import exposure_log
from benchmarks.apart import CONF, PROJECT, measured
from benchmarks.figures import FOLDER, Figures
from benchmarks.informed import informed
from salience.engagement import pipeline
from salience.engagement.evaluate import evaluation, measure
from salience.engagement.pipeline import FEATURES, Inputs, Penalty
from salience.engagement.tasks import Task
from salience.engagement.train import LOGISTIC, MLP, predictions, train
from salience.engagement.windows import windows
from salience.job import run_job
from salience.session import build_session
from salience.settings import load_settings
from tests.engagement import coverage

DATA = FOLDER / "engagement"
AS_OF = date(2026, 11, 14)
ROWS_A_DAY, DAYS = 100_000, 25
WORLDS = 1_000
SIZES = {"200k": 200_000, "1m": 1_000_000, "5m": 5_000_000}
PLANTED = (
    "simulate.users=3000",
    "simulate.contents=2000",
    "simulate.days=60",
    "simulate.events=2000000",
    "clean.thresholds.volume.min_ratio=0",
)
AUC_GOAL = "at most .01"
OPEN_BANDIT = (
    "platforms=[openbandit]",
    "engagement.positive_actions=[click]",
    "engagement.label_hours=1",
    "engagement.validation_days=2",
    "engagement.test_days=2",
)
"""A click comes at the very time of its impression."""


def exposures(spark: SparkSession) -> DataFrame:
    """Return labelled exposures whose probability is logistic in what is known of them, ROWS_A_DAY a day."""
    first = AS_OF - timedelta(days=DAYS - 1)
    drawn = spark.range(ROWS_A_DAY * DAYS).select(
        F.lit("feed").alias("platform"),
        F.concat(F.lit("e"), "id").alias("event_id"),
        (F.col("id") % 20_000).cast("string").alias("user_id"),
        (
            F.lit(first).cast("timestamp")
            + F.make_dt_interval(secs=(F.col("id") / ROWS_A_DAY * 86_400).cast("decimal(18,6)"))
        ).alias("event_time"),
        F.randn(1).alias("a"),
        F.randn(2).alias("b"),
        F.when(F.rand(3) < 0.4, "photo").otherwise("text").alias("media"),
    )
    z = -3 + 0.8 * F.col("a") - 0.5 * F.col("b") + F.when(F.col("media") == "photo", 0.6).otherwise(0.0)
    p = 1 / (1 + F.exp(-z))
    return drawn.withColumn("planted", p).withColumn("engage_24h", (F.rand(4) < F.col("planted")).cast("int"))


def oracles(spark: SparkSession, figures: Figures) -> None:
    """Compare the regression with scikit-learn's on the same matrix."""
    rows = exposures(spark).where("rand(5) < 0.02").persist()
    inputs = Inputs("engage_24h", ("a", "b"), ("media",))
    settings = load_settings(CONF, "local", {}).engagement
    prepared = pipeline.prepare(rows, inputs, settings)
    matrix = prepared.transform(rows).withColumn("engage_24h", F.col("engage_24h").cast("double")).persist()
    gaps: dict[str, list[float]] = {"coefficient": [], "log_loss": [], "roc_auc": []}
    for penalty, solver in ((Penalty(0.001, 0.0), "newton-cholesky"), (Penalty(0.0001, 0.0), "newton-cholesky")):
        model = pipeline.fit(matrix, "engage_24h", penalty, 1.0)
        found = matrix.select(vector_to_array(F.col(FEATURES)).alias("x"), "engage_24h").toPandas()
        x, y = np.stack(found["x"]), found["engage_24h"].to_numpy()
        peer = LogisticRegression(C=1 / (len(y) * penalty.regularisation), solver=solver, tol=1e-10).fit(x, y)
        ours = model.coefficients.toArray()
        large = np.abs(peer.coef_[0]) > 1e-3
        gaps["coefficient"].append(float(np.max(np.abs(ours[large] / peer.coef_[0][large] - 1))))
        p, theirs = 1 / (1 + np.exp(-(x @ ours + model.intercept))), peer.predict_proba(x)[:, 1]
        gaps["log_loss"].append(abs(log_loss(y, p) - log_loss(y, theirs)))
        gaps["roc_auc"].append(abs(roc_auc_score(y, p) - roc_auc_score(y, theirs)))
    against = f"scikit-learn, C = 1 / (n x regularisation), {len(y):,} rows, two penalties"
    figures.add("oracle_coefficient_gap", max(gaps["coefficient"]), "relative", against, "at most 1e-4")
    figures.add("oracle_log_loss_gap", max(gaps["log_loss"]), "", against, "at most 1e-6")
    figures.add("oracle_auc_gap", max(gaps["roc_auc"]), "", against, "at most 1e-6")
    rows.unpersist()
    matrix.unpersist()


def calibration(spark: SparkSession, figures: Figures) -> None:
    """Judge the whole procedure, sampled negatives and calibration included, on a million exposures it never saw."""
    changes = [f"engagement.window_days={DAYS}", "engagement.test_days=10", "engagement.validation_days=2"]
    changes.append("engagement.negatives_per_positive=3")
    settings = load_settings(CONF, "local", {}, changes).engagement
    every = F.array(F.lit("all"))
    inputs = Inputs("engage_24h", ("a", "b"), ("media",))
    task = Task(
        inputs, lambda rows, _: rows, F.to_date("event_time"), timedelta(days=1), "event_id", "exposures", every, ("a",)
    )
    split = windows(AS_OF, task.label_window, settings)
    rows = exposures(spark).persist()
    trained = train(rows, "feed", task, split, settings, print)
    figures.add("share_of_negatives", trained.about["share_of_negatives"], "", "kept by lot for training")
    told = predictions(rows, trained, task, split).persist()
    found = {
        (row["model"], row["metric"]): row
        for row in evaluation(measure(told, 1, 10, settings.bootstrap_replicates)).collect()
    }
    for model in (LOGISTIC, MLP):
        for metric, goal in (("calibration_slope", "1 +- .05"), ("calibration_intercept", "0 +- .05"), ("ece", None)):
            row = found[model, metric]
            against = f"{row['rows']:,} later exposures; interval {row['ci_low']:.4f} to {row['ci_high']:.4f}"
            figures.add(f"{metric}_{model}", row["value"], "", against, goal)
    best = rows.where(split.in_test).select("planted", "engage_24h").toPandas()
    oracle = roc_auc_score(best["engage_24h"], best["planted"])
    gap = oracle - found[LOGISTIC, "roc_auc"]["value"]
    figures.add("auc_gap_to_logistic_truth", gap, "", f"the planted probabilities' AUC, {oracle:.4f}", AUC_GOAL)
    told.unpersist()
    rows.unpersist()


def covered(spark: SparkSession, figures: Figures) -> None:
    """Count how often intervals of coefficients hold the truth."""
    for name, of in coverage.coverage(coverage.simulated(spark, WORLDS), WORLDS).items():
        against = f"{WORLDS:,} worlds of {coverage.PEOPLE} people, Monte Carlo error {of.error:.4f}"
        figures.add(f"coverage_{name.strip('()')}", of.share, "", against, ".935 to .965")


def proofs(figures: Figures) -> None:
    spark = build_session("bench-engagement", CONF, "local")
    for part in (oracles, calibration, covered):
        part(spark, figures)


def planted(figures: Figures) -> None:
    """Train on the logs of a simulated platform, and compare AUCs with that of the planted probabilities."""
    places = {"logs": "logs", "warehouse": "warehouse", "simulate.truth": "truth"}
    changes = ["platforms=[feed]", *PLANTED, *(f"{key}={DATA / 'planted' / name}" for key, name in places.items())]
    arguments = ["--env", "local", *(word for change in changes for word in ("--set", change))]
    first = AS_OF - timedelta(days=59)
    day = ("--date", AS_OF.isoformat())
    _run(simulate_logs.main, *arguments, *day)
    _run(clean_interactions.main, *arguments, "--from", first.isoformat(), "--to", AS_OF.isoformat())
    earlier = ",".join((first + timedelta(days=n)).isoformat() for n in range(13, 58, 7))
    for weeks in ("", earlier):
        _run(open_release.main, *arguments, *day)
        opened = DeltaTable(DATA / "planted" / "warehouse" / "ops" / "opened_releases").to_pandas()
        release = opened.sort_values("opened_at")["release_id"].iloc[-1]
        if weeks:
            _run(train_recommender.main, *arguments, *day, "--release", release, "--as-of", weeks)
        _run(train_engagement.main, *arguments, *day, "--release", release)
        _tell_planted(figures, release, "with_interest" if weeks else "without_interest")


def _tell_planted(figures: Figures, release: str, name: str) -> None:
    told = DeltaTable(DATA / "planted" / "warehouse" / "gold" / "engagement_evaluation").to_pandas()
    aucs = told[(told["release_id"] == release) & (told["metric"] == "roc_auc") & (told["segment"] == "all")]
    engaged = aucs[aucs["label"] == "engage_24h"]
    for oracle, best in _best(engaged["protocol"].iloc[0]).items():
        for row in engaged.itertuples():
            against = f"{best:.4f} - {row.value:.4f}; {row.rows:,.0f} later exposures, {row.positives:,.0f} engaged"
            goal = AUC_GOAL if row.model == LOGISTIC else None
            figures.add(f"auc_gap_to_{oracle}_{row.model}_{name}", best - row.value, "", against, goal)
    for row in aucs[aucs["label"] == "return_7d"].itertuples():
        figures.add(f"auc_of_return_{row.model}_{name}", row.value, "", f"{row.rows:,.0f} later days of people")


def openbandit(figures: Figures) -> None:
    """Train on Open Bandit's sample, made into logs as the README shows: a report, for so few clicks prove nothing."""
    source, folder = PROJECT.parent / "shared" / "data" / "openbandit", DATA / "openbandit"
    if not source.is_dir():
        print(f"Open Bandit is not at {source}: left out")
        return
    snippets = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (recipe,) = (snippet for snippet in snippets if '"openbandit"' in snippet)
    shutil.rmtree(folder, ignore_errors=True)
    exec(compile(recipe, "README.md", "exec"), {"source": source, "logs": folder / "logs"})
    changes = [*OPEN_BANDIT, f"logs={folder / 'logs'}", f"warehouse={folder / 'warehouse'}"]
    arguments = ["--env", "local", *(word for change in changes for word in ("--set", change))]
    _run(clean_interactions.main, *arguments, "--from", "2019-11-24", "--to", "2019-11-30")
    _run(train_engagement.main, *arguments, "--date", "2019-11-30")
    told = DeltaTable(folder / "warehouse" / "gold" / "engagement_evaluation").to_pandas()
    for row in told[(told["segment"] == "all") & told["metric"].isin(["roc_auc", "log_loss"])].itertuples():
        against = (
            f"{row.rows:,.0f} later impressions, {row.positives:.0f} clicks; {row.ci_low:.3f} to {row.ci_high:.3f}"
        )
        figures.add(f"openbandit_{row.metric}_{row.model}", row.value, "", against)


def _best(protocol: str) -> dict[str, float]:
    """Return the AUCs of those who know more, on the test window that a protocol names.

    `planted` are the probabilities that were drawn from; `informed` has to learn from the outcomes before the window,
    as a model does, but knows the simulator's formula and priors.
    """
    start, end = (pd.Timestamp(text) for text in re.findall(r"test \[(.*?), (.*?)\)", protocol)[0])
    silver = DeltaTable(DATA / "planted" / "warehouse" / "silver" / "interactions").to_pandas(
        columns=["event_id", "event_time", "user_id", "content_id", "position"], filters=[("action", "=", "impression")]
    )
    truth = pd.read_parquet(DATA / "planted" / "truth" / "exposures", columns=["event_id", "p_engage", "engaged"])
    contents = pd.read_parquet(DATA / "planted" / "truth" / "contents", filters=[("platform", "==", "feed")])
    shown = silver[silver["event_time"] < end].merge(truth, on="event_id").rename(columns={"position": "slot"})
    p = informed(shown, contents.set_index("content_id")["topics"], shown["event_time"] < start)
    tested = (shown["event_time"] >= start).to_numpy()
    outcome = shown["engaged"][tested]
    return {
        "planted": float(roc_auc_score(outcome, shown["p_engage"][tested])),
        "informed": float(roc_auc_score(outcome, p[tested])),
    }


def _run(main: Callable, *argv: str) -> None:
    assert run_job(main, list(argv), extra=getattr(sys.modules[main.__module__], "extra", None)) == 0, argv


def speed(figures: Figures) -> None:
    spark = build_session("bench-engagement", CONF, "local")
    for name, size in SIZES.items():
        if not (DATA / name / "contents" / "_SUCCESS").exists():
            exposure_log.write(spark, size, DATA / name)
    spark.stop()
    found = measured("build_features", 3, *(DATA / name for name in SIZES))
    runs = found["runs"]
    seconds = {name: median(run[name]["s"] for run in runs) for name in SIZES}
    large, middle, small = (SIZES[name] for name in ("5m", "1m", "200k"))
    of_three = "median of 3 runs, labels included"
    figures.add("features_rows_per_s", large / seconds["5m"], "exposures/s", f"{large:,} exposures, {of_three}")
    growths = [
        ((run["5m"]["s"] - run["1m"]["s"]) / (large - middle))
        / ((run["1m"]["s"] - run["200k"]["s"]) / (middle - small))
        for run in runs
    ]
    against = f"marginal cost from 1 to 5 million over .2 to 1 million; {', '.join(f'{g:.2f}' for g in growths)}"
    figures.add("features_cost_growth", median(growths), "", against, "at most 1.15")
    moved = runs[0]["5m"]["moved_bytes"] / large
    figures.add("features_shuffled_bytes_per_exposure", moved, "bytes", "written by all shuffles, compressed")
    peers = [measured("with_pandas", DATA / "1m") for _ in runs]
    told = ", ".join(f"{run['1m']['s']:.1f} / {peer['s']:.1f} s" for run, peer in zip(runs, peers, strict=True))
    ratio = median(run["1m"]["s"] / peer["s"] for run, peer in zip(runs, peers, strict=True))
    against = f"pandas, 4 of 5 kinds of counters and nothing else, one process, 1 million: {told}"
    figures.add("features_over_pandas", ratio, "times", against)
    days = [f"{half_life:g}d" for half_life in load_settings(CONF, "local", {}).engagement.half_lives_days]
    apart = max(
        abs(found["sums"][f"{key}_exposures_{label}"] / peers[0]["sums"][f"{key}_exposed_{n}"] - 1)
        for key in ("content", "user", "user_creator", "user_tag")
        for n, label in enumerate(days)
    )
    figures.add(
        "features_apart_from_pandas", apart, "relative", "sums of 12 counters over 1 million exposures", "at most 1e-9"
    )
    both = [*zip(found["fits_s"], (peer["fit_s"] for peer in peers), strict=True)]
    told = ", ".join(f"{ours:.1f} / {theirs:.1f} s" for ours, theirs in both)
    against = f"scikit-learn, standard scores and one regression on 24 counters of 1 million: {told}"
    figures.add("fit_over_scikit_learn", median(ours / theirs for ours, theirs in both), "times", against)


PARTS = {"proofs": proofs, "planted": planted, "openbandit": openbandit, "speed": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="all of them by default")
    asked = parser.parse_args()
    figures = Figures("engagement")
    DATA.mkdir(parents=True, exist_ok=True)
    for name in asked.part or PARTS:
        PARTS[name](figures)
    figures.report()


if __name__ == "__main__":
    main()
