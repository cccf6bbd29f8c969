"""Random draws as Spark expressions: a hash of the seed, the draw's name and the ids that it belongs to.

A draw depends on nothing else, so the rows are the same however Spark splits the work, and no draw moves another.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

from pyspark.sql import Column
from pyspark.sql import functions as F

_GOLDEN = (math.sqrt(5) - 1) / 2


def uniform(seed: int, name: str, *ids: str) -> Column:
    """Return a double, uniform in [0, 1), with 53 random bits.

    Args:
        seed: another seed gives other draws.
        name: another name gives draws that are independent of these; words and slashes.
        ids: names of integer columns; equal ids give equal draws.
    """
    return F.expr(_uniform(seed, name, ids))


def normal(seed: int, name: str, *ids: str) -> Column:
    """Return a standard normal double, from two uniform draws by the Box-Muller transform."""
    radius, angle = _uniform(seed, f"{name}/radius", ids), _uniform(seed, f"{name}/angle", ids)
    return F.expr(f"sqrt(-2 * ln(1 - {radius})) * cos({2 * math.pi}D * {angle})")


def index_below(u: Column, n: int | Column) -> Column:
    """Return a bigint in 0..n-1, equally likely, from a uniform draw."""
    return F.floor(u * n).cast("bigint")


def pick(u: Column, shares: Mapping[str, float]) -> Column:
    """Return one of the words with the given probabilities (they sum to 1), from a uniform draw."""
    words = list(shares)
    bounds = list(accumulate(shares.values()))
    chosen = F.lit(words[-1])
    for word, bound in reversed(list(zip(words[:-1], bounds[:-1], strict=True))):
        chosen = F.when(u < bound, F.lit(word)).otherwise(chosen)
    return chosen


def permuted(index: Column, n: int, seed: int) -> Column:
    """Return the place of 0..n-1 in a fixed permutation of 0..n-1 that scatters neighbours.

    It is index x step + shift modulo n, where step is the number next to n x golden ratio that has no factor in common
    with n.
    """
    step = max(1, round(n * _GOLDEN))
    while math.gcd(step, n) != 1:
        step += 1
    return F.pmod(index * step + seed % n, F.lit(n)).cast("bigint")


def zipf_rank(u: Column, n: int | Column, exponent: float) -> Column:
    """Return a bigint rank in 0..n-1 with a density that falls like (rank + 1)^-exponent, from a uniform draw.

    It inverts the distribution of the continuous power law on [1, n + 1), for 0 < exponent < 1.
    """
    size = F.lit(n) if isinstance(n, int) else n
    top = F.pow(size + 1.0, F.lit(1.0 - exponent)) - 1.0
    rank = F.floor(F.pow(u * top + 1.0, F.lit(1.0 / (1.0 - exponent)))) - 1
    return F.least(rank, size - 1).cast("bigint")


def sigmoid(x: Column) -> Column:
    """Return 1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + F.exp(-x))


def _uniform(seed: int, name: str, ids: Sequence[str]) -> str:
    # As SQL text, because a simulation has some hundred draws and a Column takes ten calls to build.
    values = ", ".join(f"CAST({column} AS BIGINT)" for column in ids)
    return f"(shiftrightunsigned(xxhash64({seed}L, '{name}', {values}), 11) * {2.0**-53}D)"
