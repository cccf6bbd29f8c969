import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from salience.engagement.evaluate import evaluate, roc_auc

pytestmark = pytest.mark.integration  # many resamplings: make check would take too long

REPLICATES = 400


def predictions(spark, frame):
    """Return rows as `evaluate` takes them; what the frame does not name has a harmless default."""
    users = [f"u{n}" for n in range(len(frame))]
    defaults = {"platform": "feed", "model": "logistic", "user_id": users}
    return spark.createDataFrame(frame.assign(**{k: v for k, v in defaults.items() if k not in frame}))


def drawn(seed, rows, scores=None):
    """Return probabilities, from a few scores or from anywhere, and labels that follow them loosely."""
    draw = np.random.default_rng(seed)
    p = draw.choice(scores, rows) if scores else draw.random(rows) ** 2
    return pd.DataFrame({"p_engage_24h": p, "engage_24h": (draw.random(rows) < 0.2 + 0.5 * p).astype(int)})


def test_the_auc_is_scikit_learns_with_few_many_and_only_ties(spark):
    # Scores 1e-7 apart fall into one bucket of the ranking, the others into many.
    cases = {
        "few": drawn(1, 500, [0.0, 0.25, 0.250001, 1.0]),
        "many": drawn(2, 700),
        "close": drawn(3, 500, [0.3 + n * 1e-7 for n in range(300)]),
        "ties": drawn(4, 60, [0.5]),
    }
    rows = pd.concat([frame.assign(model=name) for name, frame in cases.items()])
    found = {row["model"]: row["roc_auc"] for row in roc_auc(predictions(spark, rows), "model").collect()}
    expected = {name: roc_auc_score(frame["engage_24h"], frame["p_engage_24h"]) for name, frame in cases.items()}
    assert found == pytest.approx(expected, rel=1e-12)
    assert found["ties"] == 0.5


def test_the_auc_of_four_rows_by_hand_and_none_where_only_one_label_occurs(spark):
    # Of the pairs (.8, .6), (.8, .2), (.6, .6), (.6, .2) the positive wins three and ties one.
    rows = [("a", 0.8, 1), ("a", 0.6, 1), ("a", 0.6, 0), ("a", 0.2, 0), ("b", 0.8, 1), ("c", 0.8, 0), ("c", 0.1, 0)]
    frame = spark.createDataFrame(rows, "model string, p_engage_24h double, engage_24h int")
    found = {row["model"]: row["roc_auc"] for row in roc_auc(frame, "model").collect()}
    assert found == {"a": 3.5 / 4, "b": None, "c": None}


def test_metrics_are_scikit_learns_for_each_platform_and_model(spark):
    cases = {("feed", "logistic"): drawn(5, 300), ("feed", "base_rate"): drawn(6, 300, [0.3])}
    cases |= {("video", "logistic"): drawn(7, 200)}
    rows = pd.concat([frame.assign(platform=p, model=m) for (p, m), frame in cases.items()])
    found = evaluate(predictions(spark, rows), REPLICATES).collect()
    values = {(row["platform"], row["model"], row["metric"]): row["value"] for row in found}
    expected, sizes = {}, {}
    for key, frame in cases.items():
        label, p = frame["engage_24h"], frame["p_engage_24h"]
        expected[*key, "roc_auc"] = roc_auc_score(label, p)
        expected[*key, "log_loss"] = log_loss(label, p)
        expected[*key, "brier"] = brier_score_loss(label, p)
        sizes[key] = (len(frame), label.sum())
    assert values == pytest.approx(expected, rel=1e-12)
    assert {(row["platform"], row["model"]): (row["rows"], row["positives"]) for row in found} == sizes
    for row in found:
        if row["metric"] == "roc_auc":
            assert (row["ci_low"], row["ci_high"]) == (None, None)
        else:
            assert row["ci_low"] < row["value"] < row["ci_high"]


def test_certainty_that_was_wrong_costs_a_finite_log_loss(spark):
    rows = pd.DataFrame({"p_engage_24h": [1.0, 1.0, 0.0, 0.5], "engage_24h": [0, 1, 0, 1]})
    found = {row["metric"]: row["value"] for row in evaluate(predictions(spark, rows), REPLICATES).collect()}
    assert found["log_loss"] == pytest.approx((-np.log(1e-15) + 0 + 0 + np.log(2)) / 4, rel=1e-12)
    assert found["brier"] == (1 + 0 + 0 + 0.25) / 4


def test_intervals_are_those_of_people_and_not_of_exposures(spark):
    draw = np.random.default_rng(8)
    people, each = 250, draw.integers(1, 40, 250)
    # Whoever is badly predicted is so all the time: exposures of one person tell about as much as one of them.
    p = np.repeat(draw.choice([0.1, 0.6], people), each)
    label = np.repeat(draw.random(people) < 0.3, each).astype(int)
    rows = pd.DataFrame({"user_id": np.repeat([f"u{n}" for n in range(people)], each), "p_engage_24h": p})
    found = evaluate(predictions(spark, rows.assign(engage_24h=label)), 1000).collect()
    losses = {"brier": (p - label) ** 2, "log_loss": -np.log(np.where(label == 1, p, 1 - p))}
    for row in found:
        if row["metric"] in losses:
            loss = losses[row["metric"]]
            sums = pd.DataFrame({"user": rows["user_id"], "loss": loss}).groupby("user")["loss"].agg(["sum", "size"])
            residuals = sums["sum"] - loss.mean() * sums["size"]
            error = np.sqrt((residuals**2).sum() * people / (people - 1)) / len(loss)
            naive = loss.std(ddof=1) / np.sqrt(len(loss))
            assert error > 3 * naive
            # Percentiles of 1,000 replicates: their own error is about 5 % of the width.
            width = 2 * norm.ppf(0.975) * error
            assert row["ci_high"] - row["ci_low"] == pytest.approx(width, rel=0.12)
            assert row["ci_low"] == pytest.approx(loss.mean() - width / 2, abs=0.1 * width)


def test_the_same_predictions_in_another_order_give_the_same_figures(spark):
    frame = drawn(9, 200).assign(user_id=[f"u{n % 30}" for n in range(200)])
    first, other = (
        {row["metric"]: tuple(row) for row in evaluate(some, REPLICATES).collect()}
        for some in (predictions(spark, frame), predictions(spark, frame.sample(frac=1, random_state=1)).repartition(5))
    )
    assert first == other
