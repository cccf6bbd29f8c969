import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import functions as F
from scipy.stats import binomtest

from salience.stats.intervals import difference_high, difference_low, ratio_high, ratio_low, wilson_high, wilson_low

few_examples = hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def wilson(spark, counts):
    frame = spark.createDataFrame(counts, "successes bigint, trials bigint")
    low, high = wilson_low(F.col("successes"), F.col("trials")), wilson_high(F.col("successes"), F.col("trials"))
    return [tuple(row) for row in frame.select(low, high).collect()]


def ratio(spark, x, y):
    people = spark.createDataFrame(list(zip(x, y, strict=True)), "x bigint, y bigint")
    sums = people.agg(
        F.count("*").alias("clusters"),
        *(F.sum(F.col(a) * F.col(b)).alias(a + b) for a, b in (("x", "x"), ("y", "y"), ("x", "y"))),
        F.sum("x").alias("x"),
        F.sum("y").alias("y"),
    )
    columns = {name: F.col(name) for name in ("clusters", "x", "y", "xx", "yy", "xy")}
    return tuple(sums.select(ratio_low(**columns), ratio_high(**columns)).head())


def test_wilson_is_scipys(spark):
    counts = [(0, 1), (1, 1), (0, 30), (30, 30), (3, 10), (81, 263), (1, 5_000_000), (4_999_999, 5_000_000)]
    expected = [binomtest(k, n).proportion_ci(0.95, method="wilson") for k, n in counts]
    for found, wanted in zip(wilson(spark, counts), expected, strict=True):
        assert found == pytest.approx((wanted.low, wanted.high), rel=1e-12, abs=1e-15)


def test_wilson_without_trials_is_null(spark):
    assert wilson(spark, [(0, 0), (None, None), (0, None)]) == [(None, None)] * 3


def test_wilson_stays_within_0_and_1_at_the_edges(spark):
    assert wilson(spark, [(0, 7)])[0][0] == 0.0
    assert wilson(spark, [(7, 7)])[0][1] == 1.0


def test_ratio_by_hand(spark):
    # R = 3/6; residuals y - R x: 0.5, -1, 0.5; their squares sum to 1.5; var = 3/2 * 1.5 / 36 = 0.0625.
    low, high = ratio(spark, x=[1, 4, 1], y=[1, 1, 1])
    assert (low, high) == pytest.approx((0.5 - 1.959963984540054 * 0.25, 0.5 + 1.959963984540054 * 0.25), rel=1e-12)


@few_examples
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=20))
def test_ratio_is_the_regression_estimate_from_residuals(spark, people):
    x, y = (np.array(side, dtype=float) for side in zip(*people, strict=True))
    low, high = ratio(spark, *zip(*people, strict=True))
    residuals = y - x * (y.sum() / x.sum()) if x.sum() else np.zeros(len(x))
    if np.allclose(residuals, 0):
        assert (low, high) == (None, None)
    else:
        error = np.sqrt(len(x) * np.var(residuals, ddof=1)) / x.sum()
        assert high - low == pytest.approx(2 * 1.959963984540054 * error, rel=1e-9)
        assert (high + low) / 2 == pytest.approx(y.sum() / x.sum(), rel=1e-9, abs=1e-12)


def test_ratio_is_null_where_there_is_nothing_to_learn_the_spread_from(spark):
    assert ratio(spark, x=[5], y=[2]) == (None, None)  # one person
    assert ratio(spark, x=[0, 0], y=[1, 2]) == (None, None)  # no denominator
    assert ratio(spark, x=[3, 5], y=[0, 0]) == (None, None)  # no engagement at all
    assert ratio(spark, x=[1, 3], y=[1, 3]) == (None, None)  # everybody alike


def test_ratio_covers_the_true_ratio_of_correlated_people_95_times_in_100(spark):
    # 1,000 worlds of 300 people whose own rates differ: an interval that ignores the clustering covers far less.
    draw = np.random.default_rng(42)
    exposures = 1 + draw.poisson(6, (1000, 300))
    engaged = draw.binomial(exposures, draw.beta(0.5, 2, (1000, 300)))
    rows = [
        [300, *(int(v) for v in (x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()))]
        for x, y in zip(exposures, engaged, strict=True)
    ]
    names = ("clusters", "x", "y", "xx", "yy", "xy")
    frame = spark.createDataFrame(rows, ", ".join(f"{name} bigint" for name in names))
    columns = {name: F.col(name) for name in names}
    covered = frame.where(F.lit(0.2).between(ratio_low(**columns), ratio_high(**columns))).count()
    assert 930 <= covered <= 970  # 95 % with three Monte Carlo errors


def test_the_difference_of_two_shares_is_as_published(spark):
    # Newcombe 1998, Statistics in Medicine 17, table II, method 10.
    published = {(56, 70, 48, 80): (0.0524, 0.3339), (9, 10, 3, 10): (0.1705, 0.8090)}
    published |= {(6, 7, 2, 7): (0.0582, 0.8062), (5, 56, 0, 29): (-0.0381, 0.1926)}
    counts = spark.createDataFrame(list(published), "a int, m int, b int, n int")
    (a_low, a_high), (b_low, b_high) = (
        (wilson_low(F.col(x), F.col(of)), wilson_high(F.col(x), F.col(of))) for x, of in ("am", "bn")
    )
    p, q = F.col("a") / F.col("m"), F.col("b") / F.col("n")
    found = counts.select(*counts.columns, difference_low(p, a_low, q, b_high), difference_high(p, a_high, q, b_low))
    for *of, low, high in found.collect():
        assert (low, high) == pytest.approx(published[tuple(of)], abs=5e-5)
