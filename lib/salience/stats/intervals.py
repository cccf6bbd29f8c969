"""Closed-form 95 % intervals as column expressions."""

from pyspark.sql import Column
from pyspark.sql import functions as F

Z_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""

_NO_SPREAD = 1e-12
"""A residual sum of squares below this share of sum(y^2) is rounding, not spread."""


def wilson_low(successes: Column, trials: Column) -> Column:
    """Return the lower end of the 95 % Wilson score interval of the share `successes` / `trials`.

    (p + z^2/2n -+ z sqrt(p (1-p)/n + z^2/4n^2)) / (1 + z^2/n), without continuity correction (Wilson 1927, JASA 22).
    The trials are taken as independent: count people, not their repeated actions.

    Args:
        successes: how many trials succeeded, 0 to `trials`.
        trials: how many there were; the interval is null where this is 0 or null.
    """
    p, n, denominator, half = _wilson_parts(successes, trials)
    low = (p + F.lit(Z_95**2 / 2) / n - half) / denominator
    # Rounding would leave a few 1e-18 at the very edge.
    return F.when(successes == 0, p).otherwise(low)


def wilson_high(successes: Column, trials: Column) -> Column:
    """Return the upper end of the interval that `wilson_low` describes."""
    p, n, denominator, half = _wilson_parts(successes, trials)
    high = (p + F.lit(Z_95**2 / 2) / n + half) / denominator
    return F.when(successes == trials, p).otherwise(high)


def ratio_low(*, clusters: Column, x: Column, y: Column, xx: Column, yy: Column, xy: Column) -> Column:
    """Return the lower end of the 95 % interval of the ratio sum(y) / sum(x) over independent clusters.

    With R = sum(y)/sum(x), the residuals y_i - R x_i of the n clusters sum to 0 and
    var(R) = n/(n-1) * (sum(y^2) - 2 R sum(xy) + R^2 sum(x^2)) / sum(x)^2; the interval is R -+ 1.96 sqrt(var(R)).
    This is the delta method (Cochran 1977, Sampling Techniques, 6.4; Deng, Knoblich and Lu 2018, KDD, section 3).

    Args:
        clusters: number of clusters, such as people, that contribute to `x` or `y`.
        x: sum of the denominators of all clusters.
        y: sum of the numerators of all clusters.
        xx: sum over the clusters of the squared denominator.
        yy: sum over the clusters of the squared numerator.
        xy: sum over the clusters of denominator x numerator.

    The interval is null for fewer than 2 clusters, for x = 0, and where all clusters show the same ratio (as when
    y = 0): without spread the method would claim certainty.
    """
    ratio, half = _ratio_parts(clusters=clusters, x=x, y=y, xx=xx, yy=yy, xy=xy)
    return ratio - half


def ratio_high(*, clusters: Column, x: Column, y: Column, xx: Column, yy: Column, xy: Column) -> Column:
    """Return the upper end of the interval that `ratio_low` describes."""
    ratio, half = _ratio_parts(clusters=clusters, x=x, y=y, xx=xx, yy=yy, xy=xy)
    return ratio + half


def difference_low(a: Column, a_low: Column, b: Column, b_high: Column) -> Column:
    """Return the lower end of the 95 % interval of `a` - `b`, two independent estimates, out of their own intervals.

    a - b - sqrt((a - a_low)^2 + (b_high - b)^2): variances are recovered from the ends of the intervals that lie
    towards the wanted one (Zou and Donner 2008, Statistics in Medicine 27; with Wilson's intervals of two shares it is
    method 10 of Newcombe 1998, Statistics in Medicine 17). Null where one of the ends is.
    """
    return a - b - F.sqrt((a - a_low) ** 2 + (b_high - b) ** 2)


def difference_high(a: Column, a_high: Column, b: Column, b_low: Column) -> Column:
    """Return the upper end of the interval that `difference_low` describes."""
    return a - b + F.sqrt((a_high - a) ** 2 + (b - b_low) ** 2)


def _wilson_parts(successes: Column, trials: Column) -> tuple[Column, Column, Column, Column]:
    n = _positive(trials)
    p = successes.cast("double") / n
    half = F.lit(Z_95) * F.sqrt(p * (1 - p) / n + F.lit(Z_95**2 / 4) / (n * n))
    return p, n, F.lit(Z_95**2) / n + 1, half


def _ratio_parts(
    *, clusters: Column, x: Column, y: Column, xx: Column, yy: Column, xy: Column
) -> tuple[Column, Column]:
    n, total, squares = clusters.cast("double"), _positive(x), yy.cast("double")
    ratio = y.cast("double") / total
    residual = squares - 2 * ratio * xy.cast("double") + ratio * ratio * xx.cast("double")
    spread = F.when(residual > squares * _NO_SPREAD, residual)
    return ratio, F.lit(Z_95) * F.sqrt(n / _positive(n - 1) * spread) / total


def _positive(value: Column) -> Column:
    """Return the value as double, null where it is not above 0, so that no division by it can fail."""
    return F.when(value > 0, value.cast("double"))
