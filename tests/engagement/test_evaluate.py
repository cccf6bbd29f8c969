import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from scipy.stats import norm
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from salience.engagement.evaluate import FINE_BINS, calibration, evaluation, measure
from salience.engagement.measures import METRICS
from salience.stats.bootstrap import poisson_weights
from salience.tables import engagement as tables
from salience.tables.conform import conform

pytestmark = pytest.mark.integration  # many resamplings: make check would take too long

COST, VALUE = 1.0, 4.0
BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"


def predictions(spark, frame):
    """Return rows as `measure` takes them; what the frame does not name has a harmless default."""
    users = [f"u{n}" for n in range(len(frame))]
    defaults = {"platform": "feed", "label": "engage_24h", "model": "logistic", "segment": "all", "user_id": users}
    rows = spark.createDataFrame(frame.assign(**{k: v for k, v in defaults.items() if k not in frame}))
    return rows.withColumn("outcome", F.col("outcome").cast("int"))


def drawn(seed, rows, distinct=None, people=None):
    """Return probabilities, of a few values or all different, and outcomes that follow them loosely."""
    draw = np.random.default_rng(seed)
    p = draw.random(rows) ** 2
    p = draw.choice(p[:distinct], rows) if distinct else p
    frame = pd.DataFrame({"p": p, "outcome": (draw.random(rows) < 0.1 + 0.6 * p).astype(int)})
    return frame.assign(user_id=[f"u{n}" for n in draw.integers(people, size=rows)]) if people else frame


def measured(rows, replicates=20):
    """Return what `measure` finds of one group: {metric: row}, and all of it."""
    (row,) = measure(rows, COST, VALUE, replicates).collect()
    return {one["metric"]: one for one in row["metrics"]}, row


def figures(row):
    """Return every number of a row in order, nan for null."""
    flat = [part for one in (*row["metrics"], *row["bins"]) for part in one]
    return [np.nan if part is None else part for part in flat if not isinstance(part, str)]


def of_sklearn(frame, weights=None):
    y, p = frame["outcome"], frame["p"]
    scores = {"roc_auc": roc_auc_score, "pr_auc": average_precision_score}
    scores |= {"log_loss": log_loss, "brier": brier_score_loss}
    return {name: score(y, p, sample_weight=weights) for name, score in scores.items()}


def test_each_group_has_the_metrics_and_numbers_of_its_own_rows(spark):
    cases = {("feed", "logistic", "all"): drawn(1, 300), ("feed", "base_rate", "all"): drawn(2, 300, 1)}
    cases |= {("feed", "logistic", "age=18-24"): drawn(3, 90, 7, 30), ("video", "logistic", "all"): drawn(4, 200, 90)}
    parts = [f.assign(platform=p, model=m, segment=s) for (p, m, s), f in cases.items()]
    parts[2:2] = [parts.pop()]
    frames = [
        part.assign(user_id=part.get("user_id", pd.Series([f"u{n}" for n in range(len(part))]))) for part in parts
    ]
    found = measure(predictions(spark, pd.concat(frames)), COST, VALUE, 20).collect()
    assert {(row["platform"], row["model"], row["segment"]) for row in found} == set(cases)
    for row in found:
        frame = cases[row["platform"], row["model"], row["segment"]]
        values = {one["metric"]: one["value"] for one in row["metrics"]}
        expected = of_sklearn(frame)
        assert tuple(values) == METRICS
        assert {name: values[name] for name in expected} == pytest.approx(expected, rel=1e-9)
        assert (row["rows"], row["positives"]) == (len(frame), frame["outcome"].sum())
        users = frame.get("user_id", pd.Series(frame.index))
        people = {"everyone": users.nunique()}
        people |= {name: users[frame["outcome"] == y].nunique() for name, y in (("engaged", 1), ("unengaged", 0))}
        assert row["people"] == people


def test_areas_over_more_probabilities_than_bins_are_scikit_learns_to_five_digits(spark):
    frame = drawn(5, 50_000)
    assert frame["p"].nunique() > 20 * FINE_BINS
    found, row = measured(predictions(spark, frame), 2)
    expected = of_sklearn(frame)
    for name in ("roc_auc", "pr_auc"):
        assert found[name]["value"] == pytest.approx(expected[name], abs=1e-5)
    for name in ("log_loss", "brier"):
        assert found[name]["value"] == pytest.approx(expected[name], rel=1e-9)
    # The threshold parts rows, not bins; lifts are of 5,000 rows each.
    shown = frame["p"] >= COST / VALUE
    assert found["precision@threshold"]["value"] == pytest.approx(frame["outcome"][shown].mean(), rel=1e-12)
    top = frame.nlargest(5_000, "p")["outcome"].mean() / frame["outcome"].mean()
    assert found["lift@1"]["value"] == pytest.approx(top, rel=0.002)
    assert [one["rows"] for one in row["bins"]] == pytest.approx([50_000 / 15] * 15, abs=50)


def test_the_threshold_parts_rows_whatever_bins_they_would_be_in(spark):
    # More distinct probabilities than bins; the threshold is one of them.
    frame = drawn(6, 5_000)
    cost = float(frame["p"][17])
    (row,) = measure(predictions(spark, frame), cost, 1.0, 1).collect()
    found = {one["metric"]: one["value"] for one in row["metrics"]}
    shown = frame["p"] >= cost
    assert found["recall@threshold"] == frame["outcome"][shown].sum() / frame["outcome"].sum()
    profit = (frame["outcome"][shown].sum() - cost * shown.sum()) / 5_000
    assert found["profit_per_exposure@threshold"] == pytest.approx(profit, rel=1e-12)


def test_intervals_are_those_of_a_bootstrap_with_the_same_weights_row_by_row(spark):
    frame = drawn(7, 600, 50, people=80)
    rows = predictions(spark, frame)
    found, row = measured(rows, 60)
    hashes = {r["user_id"]: r["unit"] for r in rows.select("user_id", F.xxhash64("user_id").alias("unit")).collect()}
    units = np.array([hashes[user] for user in frame["user_id"]]).view(np.uint64)
    weights = poisson_weights(units, 60, 42).T.astype(float)
    replicates = pd.DataFrame([of_sklearn(frame, one) for one in weights])
    for name in replicates:
        expected = np.percentile(replicates[name], [2.5, 97.5])
        assert (found[name]["ci_low"], found[name]["ci_high"]) == pytest.approx(tuple(expected), rel=1e-9)
    shares = np.array(
        [np.average(frame["outcome"], weights=one * frame["p"].le(row["bins"][0]["high"])) for one in weights]
    )
    first = row["bins"][0]
    assert (first["ci_low"], first["ci_high"]) == pytest.approx(tuple(np.percentile(shares, [2.5, 97.5])), rel=1e-9)


def test_rows_that_people_repeat_five_times_leave_values_and_intervals_as_they_were(spark):
    frame = drawn(8, 400, 60, people=70)
    once, row = measured(predictions(spark, frame), 50)
    often, _ = measured(predictions(spark, pd.concat([frame] * 5)), 50)
    for name, one in once.items():
        ends = [(its["value"], its["ci_low"], its["ci_high"]) for its in (often[name], one)]
        assert ends[0] == pytest.approx(ends[1], rel=1e-9), name
    assert row["people"]["everyone"] == frame["user_id"].nunique()


def test_intervals_have_the_width_that_theory_gives_clusters(spark):
    draw = np.random.default_rng(9)
    people, each = 250, draw.integers(1, 40, 250)
    # Whoever is badly predicted is so all the time: exposures of one person tell about as much as one of them.
    p = np.repeat(draw.choice([0.1, 0.6], people), each)
    outcome = np.repeat(draw.random(people) < 0.3, each).astype(int)
    users = np.repeat([f"u{n}" for n in range(people)], each)
    found, _ = measured(predictions(spark, pd.DataFrame({"user_id": users, "p": p, "outcome": outcome})), 1_000)
    for name, loss in (("brier", (p - outcome) ** 2), ("log_loss", -np.log(np.where(outcome == 1, p, 1 - p)))):
        sums = pd.DataFrame({"user": users, "loss": loss}).groupby("user")["loss"].agg(["sum", "size"])
        residuals = sums["sum"] - loss.mean() * sums["size"]
        error = np.sqrt((residuals**2).sum() * people / (people - 1)) / len(loss)
        assert error > 3 * loss.std(ddof=1) / np.sqrt(len(loss))
        width = 2 * norm.ppf(0.975) * error
        # Percentiles of 1,000 replicates: their own error is about 5 % of the width.
        assert found[name]["ci_high"] - found[name]["ci_low"] == pytest.approx(width, rel=0.12)


def test_neither_batches_nor_partitions_nor_the_order_of_rows_change_a_figure(spark):
    frame = pd.concat([drawn(10, 3_000, people=200), drawn(11, 1_500, 4, people=200)])
    first = figures(measured(predictions(spark, frame))[1])
    again = figures(measured(predictions(spark, frame.sample(frac=1, random_state=1)).repartition(5))[1])
    assert again == first
    usual, parts = spark.conf.get(BATCH), spark.conf.get("spark.sql.shuffle.partitions")
    try:
        spark.conf.set(BATCH, "70")
        spark.conf.set("spark.sql.shuffle.partitions", "3")
        in_small_batches = figures(measured(predictions(spark, frame))[1])
    finally:
        spark.conf.set(BATCH, usual)
        spark.conf.set("spark.sql.shuffle.partitions", parts)
    assert in_small_batches == pytest.approx(first, rel=1e-12, abs=1e-12, nan_ok=True)


def test_what_a_group_does_not_define_is_null(spark):
    cases = {"one outcome": [(0.2, 1), (0.6, 1)], "one row": [(0.8, 0)], "constant": [(0.1, 1), (0.1, 0), (0.1, 0)]}
    cases |= {"certain": [(0.0, 0), (0.0, 1), (1.0, 1), (1.0, 0)]}
    rows = pd.DataFrame(
        [(model, *row) for model, each in cases.items() for row in each], columns=["model", "p", "outcome"]
    )
    found = {}
    for row in measure(predictions(spark, rows), COST, VALUE, 20).collect():
        found[row["model"]] = {one["metric"]: one["value"] for one in row["metrics"]}
        flat = [part for one in (*row["metrics"], *row["bins"]) for part in one]
        assert not any(isinstance(part, float) and np.isnan(part) for part in flat)
        assert [one["bin"] for one in row["bins"]] == [1]
    assert found["one outcome"]["roc_auc"] is None and found["one outcome"]["brier"] == pytest.approx(0.4, rel=1e-12)
    assert found["one row"]["pr_auc"] is None and found["one row"]["profit_per_exposure@threshold"] == -COST
    assert found["constant"]["calibration_slope"] is None and found["constant"]["precision@threshold"] is None
    assert found["certain"]["log_loss"] == pytest.approx(-np.log(1e-15) / 2, rel=1e-12)
    assert found["certain"]["calibration_slope"] == pytest.approx(0, abs=1e-12)


def test_the_evaluation_is_one_row_for_each_metric_and_fits_its_table(spark):
    rows = predictions(spark, drawn(12, 200, 9, people=20))
    found = evaluation(measure(rows, COST, VALUE, 20))
    stamped = found.selectExpr("*", "'r' AS release_id", "now() AS trained_at", "'p' AS protocol")
    table = conform(tables.EVALUATION, stamped).collect()
    assert {row["metric"] for row in table} == set(METRICS) and len(table) == len(METRICS)
    assert {(row["rows"], row["suppressed_cells"]) for row in table} == {(200, None)}
    of, _ = measured(rows, 20)
    assert {row["metric"]: (row["value"], row["ci_low"], row["ci_high"]) for row in table} == {
        name: (one["value"], one["ci_low"], one["ci_high"]) for name, one in of.items()
    }


def test_the_calibration_counts_the_people_of_each_bin_and_fits_its_table(spark):
    frame = drawn(13, 400, people=50)
    rows = predictions(spark, pd.concat([frame, frame.head(90).assign(segment="age=18-24")]).fillna({"segment": "all"}))
    each = measure(rows, COST, VALUE, 20)
    table = conform(tables.CALIBRATION, calibration(each, rows).withColumn("release_id", F.lit("r"))).collect()
    bins = next(row["bins"] for row in each.collect() if row["segment"] == "all")
    assert len(bins) > 3
    found = {row["bin"]: row for row in table}
    assert len(table) == len(found) == len(bins)
    for one in bins:
        row, its = found[one["bin"]], frame[frame["p"].between(one["low"], one["high"])]
        assert (row["rows"], row["positives"]) == (len(its), its["outcome"].sum()) == (one["rows"], one["positives"])
        assert (row["predicted"], row["observed"]) == pytest.approx((its["p"].mean(), its["outcome"].mean()), rel=1e-12)
        assert (row["ci_low"], row["ci_high"]) == (one["ci_low"], one["ci_high"])
        users = its.groupby("user_id")["outcome"]
        people = {"everyone": users.ngroups, "engaged": (users.max() == 1).sum(), "unengaged": (users.min() == 0).sum()}
        assert row["people"] == people
