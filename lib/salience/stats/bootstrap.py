"""Poisson bootstrap: intervals of means over users, computed in one pass by Spark.

Each replicate gives each unit an independent Poisson(1) weight, which approximates drawing as many units with
replacement (Chamandy et al., 2012). The weight is a hash of unit, replicate and seed, so it does not depend on where or
when a row is computed, and all values of a unit share it: differences of two values are paired.
"""

from collections.abc import Sequence
from itertools import accumulate
from math import exp, factorial

import numpy as np
import numpy.typing as npt
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.stats.draws import uniform

_LARGEST_WEIGHT = 12
"""A Poisson(1) number is larger with a probability of 6e-11."""
_CUMULATIVE = list(accumulate(exp(-1) / factorial(n) for n in range(_LARGEST_WEIGHT)))
_SCALE = 10**9
"""Values are summed as whole multiples of 1e-9: exactly, in any order."""

_GAMMA = 0x9E3779B97F4A7C15
"""By how much splitmix64's state grows from one number to the next: 2^64 / golden ratio, made odd."""
_EDGES = np.array([round(share * 2**64) for share in _CUMULATIVE], dtype=np.uint64)
"""The weight of a hash is how many of these it reaches."""
_UNCLEAR = 255
_CELLS = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)


def _weights_of_cells() -> npt.NDArray[np.uint8]:
    """Return the weight of all hashes with the same 16 leading bits, or _UNCLEAR where they have not all the same."""
    lowest, highest = (np.searchsorted(_EDGES, ends, side="right") for ends in (_CELLS, _CELLS + np.uint64(2**48 - 1)))
    return np.where(lowest == highest, lowest, _UNCLEAR).astype(np.uint8)


_WEIGHT_OF_CELL = _weights_of_cells()


def poisson_weight(unit: Sequence[str], replicate: Column, seed: int) -> Column:
    """Return the Poisson(1) weight of a unit in a replicate, by inverting the distribution function at a hash.

    Args:
        unit: columns that identify the resampled unit.
        replicate: number of the replicate.
        seed: other seeds give independent weights.
    """
    # xxHash64 alone keeps traces of small differences in its input; a second round with the rest mixed in removes them.
    mixed = F.xxhash64(F.xxhash64(*unit, F.lit(seed)), replicate, F.lit(seed))
    draw = uniform(mixed)
    weight = F.lit(_LARGEST_WEIGHT)
    for n in reversed(range(_LARGEST_WEIGHT)):
        weight = F.when(draw < F.lit(_CUMULATIVE[n]), F.lit(n)).otherwise(weight)
    return weight


def poisson_bootstrap(
    per_unit: DataFrame, unit: Sequence[str], values: Sequence[str], replicates: int, seed: int, by: Sequence[str] = ()
) -> DataFrame:
    """Return the weighted mean of each value in each replicate.

    A ratio of two means (events per exposure, say) is resampled by dividing their two columns replicate by replicate.

    Args:
        per_unit: one row for each unit (and group), values not null.
        unit: columns that identify the resampled unit, like ("user_id",).
        values: columns to average; they are rounded to 1e-9.
        replicates: how many.
        seed: of the weights.
        by: columns that part the rows into groups with means of their own.

    Returns:
        by, replicate (int, from 0), and one column (double) for each value. A replicate that gives every unit weight 0
        is missing.
    """
    scaled = [F.round(F.col(value) * F.lit(_SCALE)).cast("bigint").alias(value) for value in values]
    drawn = per_unit.select(*by, *unit, *scaled)
    numbers = F.explode(F.sequence(F.lit(0), F.lit(replicates - 1))).alias("replicate")
    drawn = drawn.select("*", numbers).withColumn("_weight", poisson_weight(unit, F.col("replicate"), seed))
    total = F.sum("_weight")
    means = [(F.sum(F.col("_weight") * F.col(v)).cast("double") / total / F.lit(_SCALE)).alias(v) for v in values]
    return drawn.where(F.col("_weight") > 0).groupBy(*by, "replicate").agg(*means)


def percentile_interval(value: Column, level: float = 0.95) -> Column:
    """Return the aggregate (low, high): the percentiles of a value's replicates that hold `level` of them."""
    tail = (1 - level) / 2
    ends = F.percentile(value, F.array(F.lit(tail), F.lit(1 - tail)))
    return F.struct(ends[0].alias("low"), ends[1].alias("high"))


def percentiles(replicates: npt.NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Return what `percentile_interval` returns, of replicates that were brought to the driver."""
    tail = (1 - level) / 2
    low, high = np.percentile(replicates, [100 * tail, 100 * (1 - tail)])
    return float(low), float(high)


def poisson_weights(units: npt.NDArray[np.uint64], replicates: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return Poisson(1) weights for tasks that resample by themselves.

    A unit's weights invert the distribution function at the numbers of a splitmix64 generator that starts at its hash
    (Steele, Lea and Flood 2014, OOPSLA). Nothing else goes into them: the same unit gets the same weight in every
    group, task and call, so that differences of two groups' values are paired. `poisson_weight` gives others.

    Args:
        units: a 64-bit hash of each resampled unit.
        replicates: how many.
        seed: from 0; other seeds give independent weights.

    Returns:
        (units, replicates).
    """
    # Hashes that are near one another, and seeds, would else begin the same sequence a few numbers apart.
    start = _mixed(units ^ _mixed(np.array([seed], dtype=np.uint64) + np.uint64(_GAMMA)))
    steps = np.arange(1, replicates + 1, dtype=np.uint64) * np.uint64(_GAMMA)
    hashes = _mixed(start[:, None] + steps)
    weights: npt.NDArray[np.uint8] = _WEIGHT_OF_CELL[hashes >> np.uint64(48)]
    unclear = np.nonzero(weights == _UNCLEAR)
    weights[unclear] = np.searchsorted(_EDGES, hashes[unclear], side="right")
    return weights


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return splitmix64's output for each state, which is overwritten."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state ^= state >> np.uint64(shift)
        state *= np.uint64(factor)
    state ^= state >> np.uint64(31)
    return state
