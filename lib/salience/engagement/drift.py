"""Whether later days still look like what a model was trained on, and whether what it says still comes true.

Features are compared with the training window's by the population stability index of each day, probabilities with what
happened by the ratio of engagements to their expected number. Rows come with their platform and, where days are
compared, with `window`, the UTC day that they are of; several platforms at once or one after the other give the same.
"""

from collections.abc import Sequence
from math import log

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from salience.settings.engagement import DriftSettings
from salience.stats.intervals import ratio_high, ratio_low
from salience.stats.small_cells import PEOPLE, SUPPRESSED
from salience.tables import engagement as tables
from salience.tables.audits import Audit

SCORE = "score"
"""The feature that holds what the model says, which is audited by itself."""

BINS_PER_DEVIATION, OUTERMOST = 2, 2
"""Edges of the bins of numeric features, in standard deviations from the mean: -2, -1.5, ..., 2. Fixed ones take one
pass and no sketch, and are the same however rows are spread; of counters, which have many equal values, several deciles
would coincide."""
FEWEST_ROWS = 5
"""A bin that expects fewer on one of the sides is merged with the others like it, as is usual for a chi-squared
statistic (Cochran 1952, Annals of Mathematical Statistics 23)."""

_HALF = 0.5
_HAIR = 1e-9
"""Values that would lie just on an edge lie above it, whatever rounding does to the mean: the share 0.2 of a 0 or 1 is
2 deviations below 1."""
_MOST_IF_NONE = -log(0.025)
"""Upper end of the 95 % interval of a Poisson mean of which 0 came true (Garwood 1936, Biometrika 28)."""
_EXACT = "decimal(18,9)"
"""Of a person's p: sums of doubles would depend on the order."""


def reference(rows: DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> DataFrame:
    """Return how each feature was spread in the training window: a few rows a feature, to be kept beside the model.

    Args:
        rows: of the training window: platform and the features, none of them null; read twice, so cache it.
        numeric: double columns; their bins are of standard scores (x - mean) / deviation, see BINS_PER_DEVIATION.
        categorical: string columns; each value is a bin.

    Returns:
        platform, feature, bin (string: the value, or the bin's lower edge in deviations, -2.5 for all that is below
        -2), rows (of the bin), share (of the feature's rows), mean and deviation (double, population; null for
        categorical features, a deviation of 0 for constant ones). Bins without rows are missing.
    """
    each = _by_feature(rows, ("platform",), numeric, categorical)
    counted = _counted(each, _moments(each), "platform")
    share = F.col("rows") / F.sum("rows").over(Window.partitionBy("platform", "feature"))
    return counted.select("platform", "feature", "bin", "rows", share.alias("share"), "mean", "deviation")


def feature_drift(rows: DataFrame, trained: DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> DataFrame:
    """Return the population stability index of each feature in each window against the training window.

    PSI = sum over bins of (a - e) ln(a / e), a the window's share of the bin and e the training window's (Siddiqi 2006,
    Credit Risk Scorecards). Bins that either side has count, new categories included; those of which the smaller side
    expects fewer than FEWEST_ROWS, by e, are one bin together. Half a row is added to each bin of both sides, so that
    an empty one leaves the index finite.

    Without drift the index is not 0 but about (1/n + 1/N) times a chi-squared number of bins - 1 degrees of freedom, n
    and N the rows of the two sides (Yurdakul 2018, Statistical Properties of Population Stability Index). Its mean is
    `psi_expected`, its deviation sqrt(2 (bins - 1)) (1/n + 1/N): of 200 rows in 10 bins 0.045 and 0.02. Rows are taken
    as independent; where few people have them all, they are more alike, and the index is larger.

    Args:
        rows: platform, window (date) and the features, none of them null.
        trained: from `reference`; platforms and features that it lacks are left out.
        numeric, categorical: as in `reference`.

    Returns:
        platform, feature, window, psi, psi_expected, rows (of the window).
    """
    moments = trained.select("platform", "feature", "mean", "deviation").distinct()
    each = _by_feature(rows, ("platform", "window"), numeric, categorical)
    counted = _counted(each, moments, "platform", "window")
    now = counted.groupBy("platform", "window", "feature").agg(*_by_bin("observed", "n"))
    then = trained.groupBy("platform", "feature").agg(*_by_bin("expected", "trained_n"))
    both = now.join(F.broadcast(then), ["platform", "feature"], how="inner")
    binned = both.withColumn("common", _common_bins()).withColumn("bins", _with_rest())
    expected = (F.array_size("bins") - 1) * (1 / F.col("n") + 1 / F.col("trained_n"))
    psi = _psi().alias("psi")
    return binned.select("platform", "feature", "window", psi, expected.alias("psi_expected"), F.col("n").alias("rows"))


def drifted(most_psi: float) -> Column:
    """Return whether a row of `feature_drift` exceeds what would be expected without drift by more than `most_psi`."""
    return F.col("psi") - F.col("psi_expected") > most_psi


def calibration_drift(predictions: DataFrame) -> DataFrame:
    """Return how many engaged in each window for each that was expected to.

    The interval is that of a ratio of sums over people (salience.stats.intervals), whose outcomes depend on each other;
    its ends are logarithms of the ratio's. What has no logarithm is null: all three without positives, and the lower
    end where the ratio's is not above 0.

    Args:
        predictions: of one label and model: platform, window (date), user_id, p (double, 0 to 1; counted in billionths)
            and outcome (int, 0 or 1).

    Returns:
        The rows of gold.engagement_calibration_drift, without release_id, label and model; none for a window without
        predictions.
    """
    keys = ("platform", "window")
    of_people = predictions.groupBy(*keys, "user_id").agg(
        F.count("*").alias("rows"),
        F.sum("outcome").cast("int").alias("y"),
        F.sum(F.col("p").cast(_EXACT)).cast(_EXACT).alias("x"),
    )
    numbers = {"everyone": F.lit(True), "engaged": F.col("y") > 0, "unengaged": F.col("y") < F.col("rows")}
    entries = (part for who, it_is in numbers.items() for part in (F.lit(who), F.count_if(it_is)))
    of_windows = of_people.groupBy(*keys).agg(
        F.sum("rows").alias("rows"),
        F.sum("y").alias("positives"),
        F.sum("x").cast("double").alias("expected"),
        F.count("*").alias("people_n"),
        *(F.sum(F.col(a) * F.col(b)).alias(a + b) for a, b in ("xx", "yy", "xy")),
        F.create_map(*entries).alias(PEOPLE),
    )
    x, y, clusters = F.col("expected"), F.col("positives"), F.col("people_n")
    sums = {"clusters": clusters, "x": x, "y": y} | {name: F.col(name) for name in ("xx", "yy", "xy")}
    return of_windows.select(
        *keys,
        "rows",
        "positives",
        "expected",
        _log(F.try_divide(y, x)).alias("log_ratio"),
        _log(ratio_low(**sums)).alias("ci_low"),
        _log(ratio_high(**sums)).alias("ci_high"),
        PEOPLE,
        F.lit(None).cast("int").alias(SUPPRESSED),
    )


def audits(feature_rows: DataFrame, calibration_rows: DataFrame, place: str, settings: DriftSettings) -> list[Audit]:
    """Return the audits of each platform, label and window: of the worst feature, the score, and the calibration.

    Args:
        feature_rows: from `feature_drift`, with their label.
        calibration_rows: from `calibration_drift`, of one model, with their label.
        place: for the messages, before platform, label and window.
        settings: most_psi and most_miscalibration are used.
    """
    largest: dict[tuple[str, bool], tuple[float, str]] = {}
    for row in feature_rows.collect():
        key = _where(place, row), row["feature"] == SCORE
        excess = row["psi"] - row["psi_expected"], row["feature"]
        largest[key] = max(largest.get(key, excess), excess)
    found = [
        Audit(str(tables.FEATURE_DRIFT), _rule(feature), where, excess, settings.most_psi)
        for (where, _), (excess, feature) in sorted(largest.items())
    ]
    rule = "|log_ratio| of engagements to expected ones, where its interval leaves 0 out"
    found += [
        Audit(str(tables.CALIBRATION_DRIFT), rule, where, miscalibration, settings.most_miscalibration)
        for where, miscalibration in sorted((_where(place, r), _miscalibration(r)) for r in calibration_rows.collect())
    ]
    return found


def _where(place: str, row: Row) -> str:
    return f"{place}, {row['platform']} {row['label']} {row['window']}"


def _rule(feature: str) -> str:
    if feature == SCORE:
        return "psi - psi_expected of the score"
    return f"largest psi - psi_expected of a feature, {feature}"


def _miscalibration(row: Row) -> float:
    """Return |log_ratio| of a row of `calibration_drift` where its interval leaves 0 out, else 0.

    Where nobody engaged there is no ratio: it is then taken to be as large as it may well be, rows being independent.
    """
    if row["positives"] == 0:
        return log(max(row["expected"] / _MOST_IF_NONE, 1.0))
    low, high = row["ci_low"], row["ci_high"]
    leaves_out = (low is not None and low > 0) or (high is not None and high < 0)
    return abs(float(row["log_ratio"])) if leaves_out else 0.0


def _by_feature(rows: DataFrame, keys: Sequence[str], numeric: Sequence[str], categorical: Sequence[str]) -> DataFrame:
    """Return one row a row and feature: keys, feature, and its value as `number` or as `text`."""
    no_number, no_text = F.lit(None).cast("double"), F.lit(None).cast("string")
    entries = [(F.lit(name), F.col(name), no_text) for name in numeric]
    entries += [(F.lit(name), no_number, F.col(name)) for name in categorical]
    parts = (part for entry in entries for part in entry)
    return rows.select(*keys, F.stack(F.lit(len(entries)), *parts).alias("feature", "number", "text"))


def _moments(each: DataFrame) -> DataFrame:
    """Return platform, feature, mean, deviation; null for text.

    The mean of a constant is the constant, which the sum of many 0.1 divided by their number need not be. Its deviation
    is exactly 0, for Spark adds up differences from the mean so far.
    """
    is_constant = F.min("number") == F.max("number")
    mean = F.when(is_constant, F.min("number")).otherwise(F.avg("number"))
    return each.groupBy("platform", "feature").agg(mean.alias("mean"), F.stddev_pop("number").alias("deviation"))


def _counted(each: DataFrame, moments: DataFrame, *keys: str) -> DataFrame:
    """Return keys, feature, mean, deviation, bin and how many rows are in it."""
    off = F.col("number") - F.col("mean")
    # Whatever differs from what was constant is beyond the outermost edge.
    score = F.when(F.col("deviation") > 0, off / F.col("deviation")).otherwise(F.signum(off) * (OUTERMOST + 1))
    steps = F.floor(score * BINS_PER_DEVIATION + _HAIR)
    most = OUTERMOST * BINS_PER_DEVIATION
    step = F.greatest(F.least(steps, F.lit(most)), F.lit(-most - 1)).alias("step")
    placed = each.join(F.broadcast(moments), ["platform", "feature"], how="inner")
    counts = placed.groupBy(*keys, "feature", "mean", "deviation", step, "text").agg(F.count("*").alias("rows"))
    # Edges are put into words once they are few.
    bin_ = F.coalesce("text", (F.col("step") / BINS_PER_DEVIATION).cast("string")).alias("bin")
    return counts.select(*keys, "feature", "mean", "deviation", bin_, "rows")


def _by_bin(name: str, total: str) -> tuple[Column, Column]:
    """Return the aggregates `name`, rows by bin as a map, and `total`, all rows."""
    entries = F.collect_list(F.struct("bin", "rows"))
    return F.map_from_entries(entries).alias(name), F.sum("rows").alias(total)


def _common_bins() -> Column:
    """Return the bins of which both sides expect FEWEST_ROWS, in order: structs of `observed` and `expected` rows."""
    fewest = FEWEST_ROWS * F.col("trained_n") / F.least("n", "trained_n")
    common = F.filter(F.sort_array(F.map_keys("expected")), lambda bin_: F.try_element_at("expected", bin_) >= fewest)
    return F.transform(
        common,
        lambda bin_: F.struct(
            F.coalesce(F.try_element_at("observed", bin_), F.lit(0)).alias("observed"),
            F.try_element_at("expected", bin_).alias("expected"),
        ),
    )


def _with_rest() -> Column:
    """Return the common bins, and what they leave as one more if they leave anything."""
    none = F.lit(0).cast("bigint")
    left = {
        name: F.col(total) - F.aggregate(f"common.{name}", none, lambda sum_, rows: sum_ + rows)
        for name, total in (("observed", "n"), ("expected", "trained_n"))
    }
    rest = F.struct(*(rows.alias(name) for name, rows in left.items()))
    is_any = left["observed"] + left["expected"] > 0
    return F.when(is_any, F.array_append("common", rest)).otherwise(F.col("common"))


def _psi() -> Column:
    """Return the index of `bins`."""
    added = _HALF * F.array_size("bins")

    def with_bin(sum_: Column, bin_: Column) -> Column:
        a = (bin_["observed"] + _HALF) / (F.col("n") + added)
        e = (bin_["expected"] + _HALF) / (F.col("trained_n") + added)
        return sum_ + (a - e) * F.log(a / e)

    return F.aggregate("bins", F.lit(0.0), with_bin)


def _log(value: Column) -> Column:
    return F.when(value > 0, F.log(value))
