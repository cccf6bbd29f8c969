"""How far predicted probabilities can be trusted, on exposures that came after the training.

Each group of predictions goes through one task in order of p. The task keeps a histogram of fine bins by bootstrap
replicate (salience.engagement.measures), whose size does not depend on how many predictions there are.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from salience.engagement.measures import CLIP, Histogram, Places, estimates, log_odds, reliability
from salience.engagement.recalibration import Doubles
from salience.stats.bootstrap import poisson_weights
from salience.stats.small_cells import PEOPLE, SUPPRESSED

ALL = "all"
"""The segment of everyone."""
GROUP = ("platform", "label", "model", "segment")

FINE_BINS = 2_000
"""Groups of no more distinct p have a bin for each, which makes every figure exact."""
_TOP_BINS = 500
"""Where there are more distinct p, so many of the bins get narrower towards the top, where the precision of few rows
decides the area under the precision-recall curve; the others hold equal numbers of rows."""
_SEED = 42
_AT_ONCE = 256
"""Rows whose weights a task makes at a time: 2 MB of doubles for 1,000 replicates, so that they stay in cache."""

_INTERVAL = [("ci_low", pa.float64()), ("ci_high", pa.float64())]
_METRIC = pa.struct([("metric", pa.string()), ("value", pa.float64()), *_INTERVAL])
_BIN = pa.struct(
    [
        ("bin", pa.int32()),
        *((name, pa.float64()) for name in ("low", "high", "predicted", "observed")),
        ("rows", pa.int64()),
        ("positives", pa.int64()),
        *_INTERVAL,
    ]
)
_MEASURED = pa.schema(
    [
        *((name, pa.string()) for name in GROUP),
        ("rows", pa.int64()),
        ("positives", pa.int64()),
        ("metrics", pa.list_(_METRIC)),
        ("bins", pa.list_(_BIN)),
    ]
)


def measure(predictions: DataFrame, cost: float, value: float, replicates: int) -> DataFrame:
    """Return metrics and reliability bins of each platform, label, model and segment.

    Intervals are percentiles of a Poisson bootstrap over people, whose exposures stay together and who weigh the same
    in every group.

    Args:
        predictions: platform, label, model, segment, user_id, p (double, 0 to 1) and outcome (int, 0 or 1); read twice,
            so cache it.
        cost: of an exposure.
        value: of an engagement; exposures of p >= cost / value are worth their cost.
        replicates: of the bootstrap.

    Returns:
        platform, label, model, segment, rows, positives, people (map: how many there are: `everyone`, and those who
        engaged with an exposure, or did not), metrics (array of metric, value, ci_low, ci_high) and bins (array of bin,
        low, high, predicted, observed, rows, positives, ci_low, ci_high); values and intervals are null where they are
        not defined.
    """
    judge = _judge(cost, value, replicates)
    measured = _binned(predictions, cost / value).groupBy(*GROUP).applyInArrow(judge, from_arrow_schema(_MEASURED))
    people = _people(predictions, *GROUP)
    return measured.join(people, list(GROUP), how="inner").select(
        *GROUP, "rows", "positives", PEOPLE, "metrics", "bins"
    )


def evaluation(measured: DataFrame) -> DataFrame:
    """Return the rows of gold.engagement_evaluation, without release_id, trained_at and protocol.

    Args:
        measured: from `measure`.
    """
    each = measured.select("*", F.explode("metrics").alias("of"))
    counts = ("rows", "positives", PEOPLE, _nothing_hidden())
    return each.select("platform", "model", "label", "segment", "of.metric", "of.value", *_ends("of"), *counts)


def calibration(measured: DataFrame, predictions: DataFrame) -> DataFrame:
    """Return the rows of gold.engagement_calibration, without release_id: the reliability bins of segment `all`.

    Args:
        measured: from `measure`; read twice, so cache it.
        predictions: that it was measured from.
    """
    keys = ("platform", "label", "model")
    whole = measured.where(F.col("segment") == ALL)
    everyone = predictions.where(F.col("segment") == ALL)
    binned = everyone.join(F.broadcast(whole.select(*keys, "bins")), list(keys), how="inner")
    its_bin = F.array_size(F.filter("bins", lambda one: one["low"] <= F.col("p"))).alias("bin")
    people = _people(binned.select(*keys, "user_id", "outcome", its_bin), *keys, "bin")
    bins = whole.select(*keys, F.explode("bins").alias("of")).select(*keys, "of.*")
    figures = ("predicted", "observed", "rows", "positives", "ci_low", "ci_high", PEOPLE, _nothing_hidden())
    counted = bins.join(people, [*keys, "bin"], how="inner")
    return counted.select("platform", "model", "label", "bin", *figures)


def _binned(predictions: DataFrame, threshold: float) -> DataFrame:
    """Return GROUP, unit (hash of the person), p, outcome and bin, in order of p, each group in one partition.

    Bins are numbered from 0 in order of p, with gaps; equal p are in one bin, and none lies across the threshold.
    """
    whole = Window.partitionBy(*GROUP)
    by_p = whole.orderBy("p")
    below, place = (F.rank().over(by_p) - 1).alias("below"), (F.dense_rank().over(by_p) - 1).alias("place")
    ranked = predictions.select(*GROUP, F.xxhash64("user_id").alias("unit"), "p", "outcome", below, place)
    sized = ranked.select("*", F.count("*").over(whole).alias("rows"), F.max("place").over(whole).alias("last_place"))
    rest = F.col("rows") - F.col("below")
    from_top = 1 - F.log(rest.cast("double")) / F.log(F.col("rows").cast("double"))
    equal = F.col("below") / F.col("rows")
    fine = F.floor((FINE_BINS - _TOP_BINS) * equal + _TOP_BINS * from_top).cast("int")
    is_few = F.col("last_place") < FINE_BINS
    above = (F.col("p") >= F.lit(threshold)).cast("int")
    bin_ = F.when(is_few, F.col("place")).otherwise(fine) + above
    binned = sized.select(*GROUP, "unit", "p", "outcome", bin_.alias("bin"))
    # Sums of doubles depend on the order; rows that tie here are the same.
    return binned.sortWithinPartitions(*GROUP, "p", "unit", "outcome")


def _judge(
    cost: float, value: float, replicates: int
) -> Callable[[tuple[pa.Scalar, ...], Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def judge(key: tuple[pa.Scalar, ...], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counts = _Counts(replicates)
        for batch in batches:
            for start in range(0, len(batch), _AT_ONCE):
                counts.add(batch.slice(start, _AT_ONCE))
        histogram = counts.histogram()
        measured = {
            **dict(zip(GROUP, (part.as_py() for part in key), strict=True)),
            "rows": int(histogram.rows[0].sum()),
            "positives": int(histogram.positives[0].sum()),
            "metrics": [asdict(one) for one in estimates(histogram, cost, value)],
            "bins": [asdict(one) for one in reliability(histogram)],
        }
        yield pa.RecordBatch.from_pylist([measured], schema=_MEASURED)

    return judge


class _Counts:
    """A histogram that rows are added to."""

    def __init__(self, replicates: int) -> None:
        bins = FINE_BINS + 1  # the threshold parts one in two
        self._replicates = replicates
        self._by_outcome = np.zeros((bins, 2, 1 + replicates))
        self._losses = np.zeros((2, 1 + replicates))
        self._p, self._log_odds = np.zeros(bins), np.zeros(bins)
        self._low, self._high = np.full(bins, np.inf), np.full(bins, -np.inf)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count rows: unit, p, outcome and bin."""
        unit, p, outcome, bins = (batch.column(name).to_numpy() for name in ("unit", "p", "outcome", "bin"))
        units, whose = np.unique(unit, return_inverse=True)
        weights = np.empty((len(units), 1 + self._replicates))
        weights[:, 0] = 1.0
        weights[:, 1:] = poisson_weights(units.view(np.uint64), self._replicates, _SEED)
        first, last = int(bins.min()), int(bins.max()) + 1
        cells = 2 * (last - first)
        losses = -np.log(np.maximum(np.where(outcome == 1, p, 1 - p), CLIP)), (p - outcome) ** 2
        sums = _per_unit(2 * (bins - first) + outcome, cells, losses, whose, len(units)) @ weights
        self._by_outcome[first:last] += sums[:cells].reshape(last - first, 2, -1)
        self._losses += sums[cells:]
        self._p += np.bincount(bins, p, len(self._p))
        self._log_odds += np.bincount(bins, log_odds(p), len(self._p))
        np.minimum.at(self._low, bins, p)
        np.maximum.at(self._high, bins, p)

    def histogram(self) -> Histogram:
        """Return the counts of the bins that have any."""
        rows = self._by_outcome[:, :, 0].sum(axis=1)
        used = np.flatnonzero(rows)
        negatives, positives = (np.ascontiguousarray(self._by_outcome[used, outcome].T) for outcome in (0, 1))
        return Histogram(
            rows=negatives + positives,
            positives=positives,
            low=self._low[used],
            high=self._high[used],
            p=self._p[used] / rows[used],
            log_odds=self._log_odds[used] / rows[used],
            log_losses=self._losses[0],
            squared_errors=self._losses[1],
        )


def _per_unit(cell: Places, cells: int, losses: tuple[Doubles, ...], whose: Places, units: int) -> sp.csr_array:
    """Return how many rows of each cell are of each unit and, below, each unit's losses: (cells + losses, units)."""
    targets = [cell, *(np.full(len(cell), cells + place) for place in range(len(losses)))]
    values = np.concatenate([np.ones(len(cell)), *losses])
    where = np.concatenate(targets), np.tile(whose, 1 + len(losses))
    return sp.coo_array((values, where), shape=(cells + len(losses), units)).tocsr()


def _people(predictions: DataFrame, *keys: str) -> DataFrame:
    """Return keys and `people`: numbers of distinct people, and of those who engaged or did not, at least once."""
    each = predictions.groupBy(*keys, "user_id").agg(F.max("outcome").alias("most"), F.min("outcome").alias("least"))
    numbers = {"everyone": F.lit(True), "engaged": F.col("most") == 1, "unengaged": F.col("least") == 0}
    entries = (part for who, it_is in numbers.items() for part in (F.lit(who), F.count_if(it_is)))
    return each.groupBy(*keys).agg(F.create_map(*entries).alias(PEOPLE))


def _ends(of: str) -> tuple[str, str]:
    return f"{of}.ci_low", f"{of}.ci_high"


def _nothing_hidden() -> Column:
    return F.lit(None).cast("int").alias(SUPPRESSED)
