"""How good predicted probabilities are: metrics of a histogram of their rows, for all bootstrap replicates at once.

A histogram counts rows and positives in fine bins of p, in ascending order, apart for each replicate: arrays of shape
(replicates + 1, bins), of which row 0 is the sample itself. What is not defined (the ROC AUC of rows that are all
positive, say) is nan. Where a bin is one distinct p all metrics are exact. Where it holds several, what depends on the
order of its rows is not: they count as tied, but for the average precision, which would not bear it. Log-loss and Brier
score are added up row by row, and a threshold is a border of the bins.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import digamma

from salience.engagement.recalibration import Doubles, calibration
from salience.stats.bootstrap import percentiles

Places = npt.NDArray[np.int64]

CLIP = 1e-15
"""No outcome is taken to have been less probable than this."""
EQUAL_BINS = 15
"""Bins of equal numbers of rows that the calibration error is of, and that the reliability bins start from."""
FEWEST_POSITIVES = 20
"""What a reliability bin needs."""
TENTHS = 10

METRICS = (
    "roc_auc",
    "pr_auc",
    "log_loss",
    "normalised_entropy",
    "brier",
    "ece",
    "calibration_slope",
    "calibration_intercept",
    *(f"lift@{tenth}" for tenth in range(1, TENTHS + 1)),
    "precision@threshold",
    "recall@threshold",
    "profit_per_exposure@threshold",
)


@dataclass(frozen=True)
class Histogram:
    """Rows by p: counts of shape (replicates + 1, bins), what is known of a bin (bins,), losses (replicates + 1,)."""

    rows: Doubles
    positives: Doubles
    low: Doubles
    high: Doubles
    p: Doubles
    """Mean p of the bin's rows in the sample."""
    log_odds: Doubles
    """Mean log odds of p of the bin's rows in the sample."""
    log_losses: Doubles
    """Sum over the rows of -ln(probability given to what happened)."""
    squared_errors: Doubles


@dataclass(frozen=True)
class Estimate:
    """A metric's value and 95 % interval; null where it is not defined."""

    metric: str
    value: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows of similar p: the mean of p and the share of positives, with its 95 % interval."""

    bin: int
    low: float
    high: float
    predicted: float
    observed: float
    rows: int
    positives: int
    ci_low: float | None
    ci_high: float | None


def log_odds(p: Doubles) -> Doubles:
    """Return ln(p / (1 - p)), both probabilities taken as at least CLIP."""
    odds: Doubles = np.log(np.maximum(p, CLIP)) - np.log(np.maximum(1 - p, CLIP))
    return odds


def estimates(histogram: Histogram, cost: float, value: float) -> list[Estimate]:
    """Return METRICS with their percentile intervals.

    Args:
        histogram: of the predictions; the threshold cost / value is a border of its bins.
        cost: of showing something.
        value: of an engagement.
    """
    rows, positives = histogram.rows, histogram.positives
    size = rows.sum(axis=1)
    log_loss = _ratio(histogram.log_losses, size)
    shown = int(np.searchsorted(histogram.low, cost / value, side="left"))
    found = (
        roc_auc(rows, positives),
        pr_auc(rows, positives, histogram.low == histogram.high),
        log_loss,
        normalised_entropy(log_loss, rows, positives),
        _ratio(histogram.squared_errors, size),
        ece(rows, positives, histogram.p),
        *calibration(rows, positives, histogram.log_odds),
        *lifts(rows, positives),
        precision(rows, positives, shown),
        recall(positives, shown),
        profit_per_exposure(rows, positives, shown, cost, value),
    )
    return [Estimate(name, _known(each[0]), *interval(each[1:])) for name, each in zip(METRICS, found, strict=True)]


def reliability(histogram: Histogram) -> list[ReliabilityBin]:
    """Return the reliability diagram: EQUAL_BINS bins, neighbours merged until each has FEWEST_POSITIVES.

    Args:
        histogram: of the predictions.
    """
    starts = _merged(_equal_bins(histogram.rows[0]), histogram.positives[0])
    rows, positives = (np.add.reduceat(counts, starts, axis=1) for counts in (histogram.rows, histogram.positives))
    predicted = np.add.reduceat(histogram.rows[0] * histogram.p, starts) / rows[0]
    observed = _ratio(positives, rows)
    ends = np.append(starts[1:], len(histogram.p)) - 1
    intervals = [interval(column) for column in observed[1:].T]
    return [
        ReliabilityBin(
            bin=place + 1,
            low=float(histogram.low[start]),
            high=float(histogram.high[end]),
            predicted=float(predicted[place]),
            observed=float(observed[0, place]),
            rows=int(rows[0, place]),
            positives=int(positives[0, place]),
            ci_low=ci_low,
            ci_high=ci_high,
        )
        for place, (start, end, (ci_low, ci_high)) in enumerate(zip(starts, ends, intervals, strict=True))
    ]


def interval(replicates: Doubles) -> tuple[float | None, float | None]:
    """Return the percentile interval of what replicates give; null where fewer than half of them give anything."""
    known = replicates[~np.isnan(replicates)]
    return percentiles(known) if 0 < len(replicates) <= 2 * len(known) else (None, None)


def roc_auc(rows: Doubles, positives: Doubles) -> Doubles:
    """Return the chance that a positive is scored above a negative, ties counting half.

    AUC = sum over the bins of positives x (negatives below + half of the negatives in it) / (P x N), the Mann-Whitney
    form (Hanley and McNeil 1982, Radiology 143). Positives at .2 and .8, negatives at .2 and .5: (.5 + 2) / 4.
    """
    negatives = rows - positives
    below = np.cumsum(negatives, axis=1) - negatives / 2
    return _ratio((positives * below).sum(axis=1), positives.sum(axis=1) * negatives.sum(axis=1))


def pr_auc(rows: Doubles, positives: Doubles, is_tied: npt.NDArray[np.bool_]) -> Doubles:
    """Return the average precision: sum over the thresholds of (gain of recall) x precision.

    Without interpolation, as scikit-learn has it. Positives at .2 and .8, negatives at .2 and .5: at .8 half of the
    recall is won at precision 1, at .2 the other half at 2/4; .75.

    Of a bin with several p the order of rows is not known, and the expectation over all orders is taken. With m
    positives among n rows, T and N of them above, the i-th row from the top is positive with probability m/n, and then
    T + 1 + (i - 1) (m - 1)/(n - 1) of the N + i rows so far are. Over i that adds up by differences of the digamma
    function; to count the rows as tied instead would take the precision of the last of them for all.

    Args:
        rows: (replicates + 1, bins).
        positives: (replicates + 1, bins).
        is_tied: whether all rows of the bin have the same p, (bins,).
    """
    shown, found = (np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] for counts in (rows, positives))
    won = positives * np.nan_to_num(_ratio(found, shown))
    loose = np.flatnonzero(~is_tied)
    if len(loose):
        n, m = rows[:, loose], positives[:, loose]
        above, found_above = shown[:, loose] - n, found[:, loose] - m
        each = np.where(n > 1, (m - 1) / np.maximum(n - 1, 1), 0.0)
        reciprocals = digamma(shown[:, loose] + 1) - digamma(above + 1)
        precisions = each * n + (found_above + 1 - each * (above + 1)) * reciprocals
        won[:, loose] = m * np.nan_to_num(_ratio(precisions, n))
    return _ratio(won.sum(axis=1), positives.sum(axis=1))


def normalised_entropy(log_loss: Doubles, rows: Doubles, positives: Doubles) -> Doubles:
    """Return the log-loss over that of always saying the rows' own share of positives (He et al. 2014, ADKDD).

    Below 1 the model knows more than the share. A log-loss of .35 where half of the rows are positive: .35 / ln 2.

    Args:
        log_loss: mean over the rows, (replicates + 1,).
        rows: (replicates + 1, bins).
        positives: (replicates + 1, bins).
    """
    share = _ratio(positives.sum(axis=1), rows.sum(axis=1))
    is_mixed = (share > 0) & (share < 1)
    inside = np.where(is_mixed, share, 0.5)
    entropy = -inside * np.log(inside) - (1 - inside) * np.log(1 - inside)
    return np.where(is_mixed, log_loss / entropy, np.nan)


def ece(rows: Doubles, positives: Doubles, p: Doubles) -> Doubles:
    """Return the expected calibration error: the mean over the rows of |mean p - share of positives| of their bin.

    sum over the bins of n/N |mean p - share| (Guo et al. 2017, ICML), in EQUAL_BINS bins of about equal numbers of the
    sample's rows, the same in all replicates. Two bins of 50 that say .1 and .6 where .2 and .5 engage: .1.

    Args:
        rows: (replicates + 1, fine bins).
        positives: (replicates + 1, fine bins).
        p: mean p, (fine bins,).
    """
    surplus = np.add.reduceat(rows * p - positives, _equal_bins(rows[0]), axis=1)
    return _ratio(np.abs(surplus).sum(axis=1), rows.sum(axis=1))


def lifts(rows: Doubles, positives: Doubles) -> Doubles:
    """Return the share of positives in each tenth of the rows, those of highest p first, over the overall share.

    A bin that lies across a border counts in proportion. Where all of 10 % positives are in the first tenth: 10, 0, ...

    Returns:
        (TENTHS, replicates + 1).
    """
    tenths = np.empty((TENTHS, len(rows)))
    for replicate, (seen, found) in enumerate(zip(rows[:, ::-1], positives[:, ::-1], strict=True)):
        above = np.concatenate([[0.0], np.cumsum(seen)])
        borders = above[-1] / TENTHS * np.arange(TENTHS + 1)
        tenths[:, replicate] = np.diff(np.interp(borders, above, np.concatenate([[0.0], np.cumsum(found)])))
    return _ratio(tenths * TENTHS, np.broadcast_to(positives.sum(axis=1), tenths.shape))


def precision(rows: Doubles, positives: Doubles, shown: int) -> Doubles:
    """Return the share of positives among the rows of the bins from `shown` on."""
    return _ratio(positives[:, shown:].sum(axis=1), rows[:, shown:].sum(axis=1))


def recall(positives: Doubles, shown: int) -> Doubles:
    """Return the share of the positives that is in the bins from `shown` on."""
    return _ratio(positives[:, shown:].sum(axis=1), positives.sum(axis=1))


def profit_per_exposure(rows: Doubles, positives: Doubles, shown: int, cost: float, value: float) -> Doubles:
    """Return (value x positives shown - cost x rows shown) / all rows.

    Where probabilities are right, showing what has p >= cost / value earns the most (Elkan 2001, IJCAI). Of 4 rows 2
    shown, 1 of them positive, at cost 1 and value 10: (10 - 2) / 4.

    Args:
        rows: (replicates + 1, bins).
        positives: (replicates + 1, bins).
        shown: the first bin that is shown.
        cost: of showing a row.
        value: of a positive.
    """
    earned = value * positives[:, shown:].sum(axis=1) - cost * rows[:, shown:].sum(axis=1)
    return _ratio(earned, rows.sum(axis=1))


def _equal_bins(rows: Doubles) -> Places:
    """Return where EQUAL_BINS bins begin; a fine bin goes where the middle of its rows lies."""
    middles = np.cumsum(rows) - rows / 2
    coarse = np.floor(middles * EQUAL_BINS / rows.sum())
    return np.flatnonzero(np.diff(coarse, prepend=-1.0))


def _merged(starts: Places, positives: Doubles) -> Places:
    """Return the starts that are left when each bin takes in its next until it has FEWEST_POSITIVES."""
    kept, found = [0], 0.0
    for start, more in zip(starts.tolist(), np.add.reduceat(positives, starts).tolist(), strict=True):
        if found >= FEWEST_POSITIVES:
            kept, found = [*kept, start], 0.0
        found += more
    # What is left over at the end is too little for a bin of its own.
    return np.array(kept if found >= FEWEST_POSITIVES or len(kept) == 1 else kept[:-1], dtype=np.int64)


def _ratio(part: Doubles, whole: Doubles) -> Doubles:
    """Return part / whole, nan where there is nothing to divide by."""
    ratio: Doubles = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
