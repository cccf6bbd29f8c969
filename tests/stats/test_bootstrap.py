from math import exp, factorial

import numpy as np
import pytest
from pyspark.sql import functions as F

from salience.stats.bootstrap import (
    percentile_interval,
    percentiles,
    poisson_bootstrap,
    poisson_weight,
    poisson_weights,
)

ROWS = "user_id string, a double, b double"


def people(spark, count, seed=1):
    random = np.random.default_rng(seed)
    values = random.normal([1.0, 1.2], [1.0, 2.0], size=(count, 2))
    return values, spark.createDataFrame([(f"u{n}", *map(float, v)) for n, v in enumerate(values)], ROWS)


def test_weights_follow_poisson_with_mean_one(spark):
    drawn = spark.range(200_000).select(poisson_weight(["id"], F.lit(3), 42).alias("w"))
    shares = {r["w"]: r["count"] / 200_000 for r in drawn.groupBy("w").count().collect()}
    # Four standard errors of a share are at most 4 x sqrt(.368 x .632 / 200,000) = .0043.
    for weight, expected in enumerate([0.36788, 0.36788, 0.18394, 0.06131, 0.01533]):
        assert shares[weight] == pytest.approx(expected, abs=0.0043)


def test_weights_of_different_replicates_units_and_seeds_are_uncorrelated(spark):
    w = [poisson_weight(["id"], F.lit(r), s).alias(f"w{r}{s}") for r, s in ((0, 1), (1, 1), (0, 2))]
    neighbour = poisson_weight(["next"], F.lit(0), 1).alias("other")
    drawn = spark.range(40_000).withColumn("next", F.col("id") + 1).select(*w, neighbour)
    correlations = np.corrcoef(np.array(drawn.collect()).T)
    assert np.abs(correlations[0, 1:]).max() < 4 / np.sqrt(40_000)


def test_means_equal_numpys_with_the_same_weights(spark):
    values, frame = people(spark, 40)
    numbered = frame.crossJoin(spark.range(5).select(F.col("id").cast("int").alias("r")))
    drawn = numbered.select("user_id", "r", poisson_weight(["user_id"], F.col("r"), 9).alias("w")).collect()
    weights = np.zeros((5, 40))
    for row in drawn:
        weights[row["r"], int(row["user_id"][1:])] = row["w"]
    expected = weights @ values / weights.sum(axis=1, keepdims=True)
    found = poisson_bootstrap(frame, ["user_id"], ["a", "b"], 5, 9).orderBy("replicate").collect()
    assert [r["replicate"] for r in found] == [0, 1, 2, 3, 4]
    assert np.allclose([(r["a"], r["b"]) for r in found], expected, rtol=0, atol=1e-9)


def test_replicates_do_not_depend_on_the_partitioning_to_the_last_bit(spark):
    _, frame = people(spark, 50)
    runs = [
        poisson_bootstrap(frame.repartition(n), ["user_id"], ["a", "b"], 20, 9).orderBy("replicate").collect()
        for n in (1, 5)
    ]
    assert runs[0] == runs[1]


def test_groups_have_means_of_their_own(spark):
    frame = spark.createDataFrame(
        [("x", "u", 1.0), ("x", "v", 1.0), ("y", "u", 7.0)], "g string, user_id string, a double"
    )
    found = poisson_bootstrap(frame, ["user_id"], ["a"], 30, 4, by=["g"])
    ends = {r["g"]: r[1:] for r in found.groupBy("g").agg(F.min("a"), F.max("a")).collect()}
    assert ends == {"x": (1.0, 1.0), "y": (7.0, 7.0)}


def test_the_interval_of_a_mean_has_the_width_that_theory_gives(spark):
    values, frame = people(spark, 400)
    found = poisson_bootstrap(frame, ["user_id"], ["a", "b"], 1000, 5)
    row = found.agg(
        percentile_interval(F.col("a")).alias("a"), percentile_interval(F.col("b") - F.col("a")).alias("d")
    ).head()
    difference = values[:, 1] - values[:, 0]
    for interval, sample in ((row["a"], values[:, 0]), (row["d"], difference)):
        error = sample.std() / np.sqrt(400)
        # The ends of 1,000 replicates vary by about .09 standard errors.
        assert interval["low"] == pytest.approx(sample.mean() - 1.96 * error, abs=0.3 * error)
        assert interval["high"] == pytest.approx(sample.mean() + 1.96 * error, abs=0.3 * error)


def test_percentiles_on_the_driver_equal_sparks(spark):
    values = np.random.default_rng(3).normal(size=997)
    frame = spark.createDataFrame([(float(v),) for v in values], "value double")
    row = frame.agg(percentile_interval(F.col("value")).alias("i")).head()["i"]
    assert percentiles(values) == pytest.approx((row["low"], row["high"]), abs=1e-12)


def test_weights_in_tasks_follow_poisson_with_mean_one():
    drawn = poisson_weights(np.arange(2_000, dtype=np.uint64), 1_000, 42)
    shares = np.bincount(drawn.ravel(), minlength=7) / drawn.size
    for weight in range(7):
        expected = exp(-1) / factorial(weight)
        # Four standard errors of a share.
        assert shares[weight] == pytest.approx(expected, abs=4 * np.sqrt(expected / drawn.size))


def test_weights_in_tasks_invert_the_distribution_at_splitmix64s_numbers():
    def mixed(state):
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        return state ^ state >> 31

    gamma = 0x9E3779B97F4A7C15
    # The generator's well-known numbers from seed 1234567 on.
    assert [mixed(1234567 + n * gamma & 2**64 - 1) for n in (1, 2)] == [6457827717110365317, 3203168211198807973]
    units = np.random.default_rng(1).integers(0, 2**64, 300, dtype=np.uint64)
    found = poisson_weights(units, 200, 7)
    shares = [exp(-1) / factorial(n) for n in range(12)]
    for unit, weights in zip(units.tolist(), found.tolist(), strict=True):
        start = mixed(unit ^ mixed(7 + gamma & 2**64 - 1))
        for replicate, weight in enumerate(weights, start=1):
            draw = mixed(start + replicate * gamma & 2**64 - 1) / 2**64
            assert sum(shares[:weight]) <= draw < sum(shares[: weight + 1])


def test_weights_in_tasks_are_a_units_own_and_differ_by_replicate_unit_and_seed():
    units = np.arange(40_000, dtype=np.uint64)
    drawn = poisson_weights(units, 2, 1).astype(float)
    apart = [drawn[:-1, 0], drawn[:-1, 1], drawn[1:, 0], poisson_weights(units[:-1], 1, 2)[:, 0]]
    assert np.abs(np.corrcoef(apart)[0, 1:]).max() < 4 / np.sqrt(40_000)
    assert (poisson_weights(units[[7, 5]], 2, 1) == drawn[[7, 5]]).all()
    assert units[7] == 7  # what was passed in stays
