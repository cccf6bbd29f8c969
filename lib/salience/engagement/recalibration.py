"""The straight line that would put predicted log odds right: its slope and intercept, for many histograms at once.

Arrays are those of `measures.Histogram`: (replicates + 1, bins), bins in ascending order of p.
"""

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_MOST_STEPS = 100
_CLOSE = 1e-8
"""A Newton step below this, in standard deviations of the log odds, is the last: the next would be its square."""
_AT_ONCE = 64
"""Replicates that the logistic regressions are fitted for at once: their arrays stay in the processor's cache."""


def calibration(rows: Doubles, positives: Doubles, log_odds: Doubles) -> tuple[Doubles, Doubles]:
    """Return slope and intercept of the logistic regression of the outcome on the log odds of p.

    1 and 0 are perfect, a slope below 1 tells of predictions too extreme (Cox 1958, Biometrika 45). By Newton's method.
    There is none where a value of p parts the positives from the negatives (Albert and Anderson 1984, Biometrika 71).

    Args:
        rows: (replicates + 1, bins).
        positives: (replicates + 1, bins).
        log_odds: mean log odds, ascending, (bins,).
    """
    scale = rows[0] / rows[0].sum()
    centre = float(scale @ log_odds)
    spread = float(np.sqrt(scale @ (log_odds - centre) ** 2))
    if not spread > 0:
        nothing = np.full(len(rows), np.nan)
        return nothing, nothing
    x = (log_odds - centre) / spread
    fits = _logistic(rows[:1], positives[:1], x, np.zeros(2))
    # Replicates are like the sample: from its solution they have few steps to go.
    start = np.nan_to_num(fits[0])
    blocks = (slice(at, at + _AT_ONCE) for at in range(1, len(rows), _AT_ONCE))
    fits = np.concatenate([fits, *(_logistic(rows[block], positives[block], x, start) for block in blocks)])
    slope = fits[:, 1] / spread
    return slope, fits[:, 0] - slope * centre


def _logistic(rows: Doubles, positives: Doubles, x: Doubles, start: Doubles) -> Doubles:
    """Return intercept and slope of each replicate's regression on x, (replicates, 2); nan where there is none."""
    at = np.tile(start, (len(rows), 1))
    fits, step, best = np.full_like(at, np.nan), np.zeros_like(at), np.full(len(rows), -np.inf)
    still = np.flatnonzero(_overlap(rows - positives, positives, x))
    for _ in range(_MOST_STEPS):
        if not len(still):
            break
        trial = at[still] + step[still]
        likelihood, newton = _newton(rows[still], positives[still], x, trial)
        # A step too far is taken by half; rounding is no loss.
        is_better = likelihood >= best[still] - 1e-12 * np.abs(likelihood)
        best[still] = np.where(is_better, likelihood, best[still])
        at[still] = np.where(is_better[:, None], trial, at[still])
        step[still] = np.where(is_better[:, None], newton, step[still] / 2)
        is_done = is_better & (np.abs(newton).max(axis=1) < _CLOSE)
        fits[still[is_done]] = (trial + newton)[is_done]
        still = still[~is_done]
    return fits


def _newton(rows: Doubles, positives: Doubles, x: Doubles, at: Doubles) -> tuple[Doubles, Doubles]:
    """Return the log-likelihood at intercepts and slopes, (replicates, 2), and Newton's step from there."""
    eta = at[:, :1] + at[:, 1:] * x
    small = np.exp(-np.abs(eta))
    expected = rows * np.where(eta >= 0, 1.0, small) / (1 + small)
    likelihood = (positives * eta - rows * (np.maximum(eta, 0.0) + np.log1p(small))).sum(axis=1)
    weight = rows * small / (1 + small) ** 2
    a, b, c = weight.sum(axis=1), weight @ x, weight @ (x * x)
    surplus = positives - expected
    u, v = surplus.sum(axis=1), surplus @ x
    with np.errstate(divide="ignore", invalid="ignore"):  # where it is flat no step helps, and there will be no fit
        step = np.stack([c * u - b * v, a * v - b * u], axis=1) / (a * c - b * b)[:, None]
    return likelihood, step


def _overlap(negatives: Doubles, positives: Doubles, x: Doubles) -> npt.NDArray[np.bool_]:
    """Return whether the positives begin below the negatives' end and the negatives below the positives'."""
    (first, last), (first_positive, last_positive) = (
        (x[(counts > 0).argmax(axis=1)], x[counts.shape[1] - 1 - (counts[:, ::-1] > 0).argmax(axis=1)])
        for counts in (negatives, positives)
    )
    both = (negatives.sum(axis=1) > 0) & (positives.sum(axis=1) > 0)
    overlap: npt.NDArray[np.bool_] = both & (first_positive < last) & (first < last_positive)
    return overlap
