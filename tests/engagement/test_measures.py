"""Every metric against scikit-learn, or counted by hand, on a histogram that this test makes row by row."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from salience.engagement.measures import (
    METRICS,
    Histogram,
    ece,
    estimates,
    interval,
    lifts,
    pr_auc,
    reliability,
    roc_auc,
)
from salience.engagement.recalibration import calibration

COST, VALUE = 1.0, 4.0


@pytest.fixture(autouse=True)
def _no_warning_is_printed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def drawn(seed, rows, distinct=40):
    """Return probabilities with ties, and outcomes that follow them loosely."""
    draw = np.random.default_rng(seed)
    p = draw.choice(draw.random(distinct) ** 2, rows)
    return p, (draw.random(rows) < 0.1 + 0.6 * p).astype(int)


def histogram(p, outcome, weights=None):
    """Return a histogram with a bin for each distinct p; weights are (replicates, rows)."""
    p, outcome = np.asarray(p, float), np.asarray(outcome)
    values, place = np.unique(p, return_inverse=True)
    weights = np.vstack([np.ones(len(p)), *([] if weights is None else [weights])])
    is_in = place[:, None] == np.arange(len(values))
    given = np.where(outcome == 1, p, 1 - p).clip(1e-15)
    return Histogram(
        rows=weights @ is_in,
        positives=(weights * outcome) @ is_in,
        low=values,
        high=values,
        p=values,
        log_odds=np.log(values.clip(1e-15)) - np.log((1 - values).clip(1e-15)),
        log_losses=weights @ -np.log(given),
        squared_errors=weights @ (p - outcome) ** 2,
    )


def values(p, outcome, cost=COST, value=VALUE):
    return {one.metric: one.value for one in estimates(histogram(p, outcome), cost, value)}


def regression(p, outcome, weights=None):
    """Return slope and intercept by scikit-learn."""
    x = np.log(p / (1 - p))[:, None]
    fit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    fit.fit(x, outcome, sample_weight=weights)
    return fit.coef_[0, 0], fit.intercept_[0]


def test_metrics_are_scikit_learns_on_random_rows_with_ties():
    for seed, rows, distinct in ((1, 300, 5), (2, 2_000, 400), (3, 60, 60)):
        p, outcome = drawn(seed, rows, distinct)
        slope, intercept = regression(p, outcome)
        share = outcome.mean()
        expected = {
            "roc_auc": roc_auc_score(outcome, p),
            "pr_auc": average_precision_score(outcome, p),
            "log_loss": log_loss(outcome, p),
            "normalised_entropy": log_loss(outcome, p) / log_loss(outcome, np.full(rows, share)),
            "brier": brier_score_loss(outcome, p),
            "calibration_slope": slope,
            "calibration_intercept": intercept,
            "precision@threshold": outcome[p >= 0.25].mean(),
            "recall@threshold": outcome[p >= 0.25].sum() / outcome.sum(),
            "profit_per_exposure@threshold": np.where(p >= 0.25, VALUE * outcome - COST, 0.0).mean(),
        }
        found = values(p, outcome)
        assert tuple(found) == METRICS
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_the_worked_examples_of_the_areas_hold():
    rows, positives = np.array([[2.0, 1.0, 1.0]]), np.array([[1.0, 0.0, 1.0]])
    assert roc_auc(rows, positives) == [2.5 / 4]
    assert pr_auc(rows, positives, np.array([True] * 3)) == [0.75]


def test_the_average_precision_of_rows_whose_order_is_unknown_is_the_mean_over_all_orders():
    # From the top: one row, positive; then a bin of five with two positives; then one of three that tie.
    rows, positives = np.array([[3.0, 5.0, 1.0]]), np.array([[1.0, 2.0, 1.0]])
    of_orders = []
    for places in combinations(range(5), 2):
        outcome = [1, *(int(place in places) for place in range(5)), 1, 0, 0]
        of_orders.append(average_precision_score(outcome, [9, 8, 7, 6, 5, 4, 1, 1, 1]))
    found = pr_auc(rows, positives, np.array([True, False, True]))
    assert found == pytest.approx([np.mean(of_orders)], rel=1e-12)
    empty = pr_auc(np.array([[3.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 1.0]]), np.array([True, False, True]))
    assert empty == pytest.approx([(1 + 2 / 4) / 2], rel=1e-12)


def test_the_calibration_error_is_that_of_fifteen_bins_of_as_many_rows():
    draw = np.random.default_rng(4)
    p = np.sort(draw.random(1_500))
    outcome = (draw.random(1_500) < p**1.5).astype(int)
    expected = np.mean([abs(p[at : at + 100].mean() - outcome[at : at + 100].mean()) for at in range(0, 1_500, 100)])
    assert values(p, outcome)["ece"] == pytest.approx(expected, rel=1e-9)


def test_the_calibration_error_of_two_probabilities_by_hand():
    rows, positives = np.array([[50.0, 50.0]]), np.array([[10.0, 25.0]])
    assert ece(rows, positives, np.array([0.1, 0.6])) == pytest.approx([0.1], rel=1e-12)


def test_equal_probabilities_stay_in_one_bin_of_the_calibration_error():
    # Four of five rows tie: parted at any fifteenth, their errors could not cancel out.
    assert values([0.2] * 8 + [0.9, 0.9], [0] * 6 + [1] * 4)["ece"] == pytest.approx(0.8 * 0.05 + 0.2 * 0.1, rel=1e-12)


def test_lifts_are_those_of_the_tenths_of_rows_by_descending_probability():
    draw = np.random.default_rng(5)
    p = draw.permutation(np.linspace(0.01, 0.99, 500))
    outcome = (draw.random(500) < p).astype(int)
    by_tenth = outcome[np.argsort(-p)].reshape(10, 50).mean(axis=1) / outcome.mean()
    found = values(p, outcome)
    assert [found[f"lift@{n}"] for n in range(1, 11)] == pytest.approx(by_tenth.tolist(), rel=1e-9)


def test_a_bin_across_a_border_of_tenths_counts_in_proportion():
    # From the top: 15 rows with 9 positives, then 85 with 17. Tenth 2 has a third of the 9 and 5/85 of the 17.
    found = lifts(np.array([[85.0, 15.0]]), np.array([[17.0, 9.0]]))[:, 0] * 0.26
    assert found == pytest.approx([0.6, (3 + 1) / 10, *[0.2] * 8], rel=1e-12)


def test_a_probability_at_the_threshold_is_shown_and_the_next_one_below_is_not():
    p, outcome = [0.25, np.nextafter(0.25, 0), 0.7, 0.1], [1, 1, 0, 1]
    found = values(p, outcome)
    assert found["precision@threshold"] == 1 / 2
    assert found["recall@threshold"] == 1 / 3
    assert found["profit_per_exposure@threshold"] == (4 - 2) / 4


def test_slopes_and_intercepts_of_replicates_are_scikit_learns_with_their_weights():
    p, outcome = drawn(6, 400)
    weights = np.random.default_rng(7).poisson(1.0, (130, 400))
    of = histogram(p, outcome, weights)
    slope, intercept = calibration(of.rows, of.positives, of.log_odds)
    expected = np.array([regression(p, outcome, one) for one in (np.ones(400), *weights)])
    assert np.column_stack([slope, intercept]) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_the_slope_of_probabilities_that_were_sharpened_is_their_sharpening_undone():
    # In each of three classes exactly the share q engages, but ln(q / (1 - q)) was doubled and raised by 1.
    q = np.array([0.1, 0.3, 0.6])
    p = 1 / (1 + np.exp(-(2 * np.log(q / (1 - q)) + 1)))
    outcome = np.concatenate([np.arange(10) < 10 * share for share in q]).astype(int)
    found = values(np.repeat(p, 10), outcome)
    assert found["calibration_slope"] == pytest.approx(0.5, rel=1e-9)
    assert found["calibration_intercept"] == pytest.approx(-0.5, rel=1e-9)


def test_a_regression_that_has_no_maximum_is_none():
    separated = values([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1])
    touching = values([0.1, 0.2, 0.2, 0.4], [0, 0, 1, 1])
    reversed_ = values([0.1, 0.2, 0.3, 0.4], [1, 1, 0, 0])
    overlapping = values([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1])
    assert [found["calibration_slope"] for found in (separated, touching, reversed_)] == [None] * 3
    assert overlapping["calibration_slope"] > 0


def test_certainty_that_was_wrong_costs_a_finite_loss_and_leaves_a_finite_slope():
    p, outcome = [1.0, 1.0, 0.0, 0.0, 0.5], [1, 0, 0, 1, 1]
    found = values(p, outcome)
    assert found["log_loss"] == pytest.approx((-2 * np.log(1e-15) + np.log(2)) / 5, rel=1e-12)
    assert found["brier"] == (2 + 0.25) / 5
    # At log odds of -+34.5 half of two rows engage, and the middle one does: the intercept tells of it, no slope does.
    assert found["calibration_slope"] == pytest.approx(0, abs=1e-12)
    assert found["calibration_intercept"] == pytest.approx(np.log(3 / 2), rel=1e-6)


def test_what_one_outcome_only_does_not_define_is_null():
    ratios = {"roc_auc", "normalised_entropy", "calibration_slope", "calibration_intercept"}
    positive_only = {name for name, value in values([0.2, 0.6], [1, 1]).items() if value is None}
    negative_only = {name for name, value in values([0.2, 0.6], [0, 0]).items() if value is None}
    assert positive_only == ratios
    lift = {f"lift@{n}" for n in range(1, 11)}
    assert negative_only == ratios | lift | {"pr_auc", "recall@threshold"}


def test_one_row_has_a_loss_and_a_profit():
    found = values([0.8], [1])
    assert found["log_loss"] == pytest.approx(-np.log(0.8), rel=1e-12)
    assert found["ece"] == pytest.approx(0.2, rel=1e-12)
    assert found["profit_per_exposure@threshold"] == VALUE - COST
    assert [found["lift@1"], found["lift@10"]] == pytest.approx([1.0, 1.0], rel=1e-12)


def test_a_constant_probability_ranks_nothing_and_has_no_slope():
    found = values([0.1] * 10, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    assert (found["roc_auc"], found["pr_auc"], found["normalised_entropy"]) == pytest.approx((0.5, 0.1, 1.0), rel=1e-12)
    assert (found["calibration_slope"], found["calibration_intercept"]) == (None, None)
    # Nothing is worth showing: no precision, no positive reached, no profit and no loss.
    shown = [found[f"{name}@threshold"] for name in ("precision", "recall", "profit_per_exposure")]
    assert shown == [None, 0.0, 0.0]


def test_replicates_of_which_nothing_is_left_or_nothing_is_defined_do_not_count():
    p, outcome = [0.2, 0.4, 0.6, 0.3], [0, 1, 1, 0]
    none, positives_only = np.zeros((40, 4)), np.tile([0, 1, 2, 0], (30, 1))
    found = {
        one.metric: (one.ci_low, one.ci_high)
        for one in estimates(histogram(p, outcome, np.vstack([none, positives_only, np.ones((30, 4))])), COST, VALUE)
    }
    # 60 of 100 replicates have a loss, and 30 an AUC.
    assert None not in found["log_loss"] and None not in found["pr_auc"]
    assert found["roc_auc"] == (None, None)


def test_an_interval_takes_at_least_half_of_the_replicates():
    half, fewer = np.array([1.0, np.nan, 2.0, np.nan]), np.array([1.0, np.nan, np.nan, 2.0, np.nan])
    assert interval(half) == pytest.approx((1.025, 1.975), rel=1e-12)
    assert interval(fewer) == interval(np.array([])) == (None, None)


def test_reliability_bins_are_merged_until_each_has_twenty_positives():
    p = np.repeat(np.arange(1, 16) / 20, 20)
    positives = [2, 3, 5, 6, 4, 10, 15, 20, 19, 1, 20, 20, 10, 5, 4]  # 20, 25, 20, 20, 20, 20, and 19 left over
    outcome = np.concatenate([np.arange(20) < n for n in positives]).astype(int)
    found = reliability(histogram(p, outcome, np.ones((10, len(p)))))
    assert [one.bin for one in found] == [1, 2, 3, 4, 5, 6]
    assert [one.positives for one in found] == [20, 25, 20, 20, 20, 39]
    assert [(one.low, one.high) for one in found[:2]] == [(0.05, 0.25), (0.3, 0.35)]
    assert [one.rows for one in found] == [100, 40, 20, 40, 20, 80]
    last = found[-1]
    assert (last.low, last.high, last.observed) == (0.6, 0.75, 39 / 80)
    assert last.predicted == pytest.approx((0.6 + 0.65 + 0.7 + 0.75) / 4, rel=1e-12)
    assert (last.ci_low, last.ci_high) == (39 / 80, 39 / 80)


def test_fewer_than_twenty_positives_make_one_reliability_bin():
    (found,) = reliability(histogram(np.linspace(0.1, 0.9, 100), np.arange(100) < 19))
    assert (found.rows, found.positives, found.low, found.high) == (100, 19, 0.1, 0.9)
    assert (found.ci_low, found.ci_high) == (None, None)
