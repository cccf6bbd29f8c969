import numpy as np
import pytest
from pyspark.sql import functions as F

from salience.simulate import draws

N = 20_000


def drawn(spark, **columns):
    pairs = spark.range(0, N, 1, 2).select(*[column.alias(name) for name, column in columns.items()])
    return {name: np.array([row[name] for row in pairs.collect()]) for name in columns}


def test_draws_are_uniform_normal_and_independent_of_one_another(spark):
    found = drawn(
        spark,
        a=draws.uniform(1, "a", "id"),
        b=draws.uniform(1, "b", "id"),
        other_seed=draws.uniform(2, "a", "id"),
        z=draws.normal(1, "z", "id"),
    )
    # 4 standard errors: 1 / sqrt(12 N) for a mean of uniforms, 1 / sqrt(N) for correlations and normal means.
    assert found["a"].min() >= 0 and found["a"].max() < 1
    assert found["a"].mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * N))
    counts = np.bincount((found["a"] * 20).astype(int), minlength=20)
    assert ((counts - N / 20) ** 2 / (N / 20)).sum() < 50  # chi-squared, 19 degrees of freedom: p = 1e-4
    assert abs(np.corrcoef(found["a"], found["b"])[0, 1]) < 4 / np.sqrt(N)
    assert abs(np.corrcoef(found["a"], found["other_seed"])[0, 1]) < 4 / np.sqrt(N)
    assert abs(np.corrcoef(found["a"][1:], found["a"][:-1])[0, 1]) < 4 / np.sqrt(N)
    assert found["z"].mean() == pytest.approx(0, abs=4 / np.sqrt(N))
    assert found["z"].std() == pytest.approx(1, abs=4 / np.sqrt(2 * N))


def test_a_draw_does_not_depend_on_the_width_of_its_ids(spark):
    row = spark.sql("SELECT 7 AS narrow, 7L AS wide").select(
        draws.uniform(1, "a", "narrow").alias("x"), draws.uniform(1, "a", "wide").alias("y")
    )
    assert row.head()["x"] == row.head()["y"]


def test_ranks_follow_the_power_law_and_words_their_shares(spark):
    u = draws.uniform(1, "u", "id")
    found = drawn(spark, rank=draws.zipf_rank(u, 5, 0.5), word=draws.pick(u, {"a": 0.5, "b": 0.2, "c": 0.3}))
    # The integral of x^-0.5 over [r, r + 1), as a share of that over [1, 6).
    edges = np.sqrt(np.arange(1, 7))
    expected = np.diff(edges) / (edges[-1] - edges[0])
    assert np.bincount(found["rank"]) / N == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(N))
    shares = [(found["word"] == word).mean() for word in "abc"]
    assert shares == pytest.approx([0.5, 0.2, 0.3], abs=4 * 0.5 / np.sqrt(N))


@pytest.mark.parametrize("n", [1, 2, 10, 600])
def test_a_permutation_reaches_every_place_once(spark, n):
    places = [row[0] for row in spark.range(n).select(draws.permuted(F.col("id"), n, 42)).collect()]
    assert sorted(places) == list(range(n))
