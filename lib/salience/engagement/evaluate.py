"""How far predicted probabilities can be trusted, on exposures that came after the training."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.engagement.exposures import LABEL
from salience.stats.bootstrap import percentile_interval, poisson_bootstrap
from salience.stats.small_cells import PEOPLE

_BUCKETS = 100_000
_CLIP = 1e-15
_SEED = 42
_EXACT = "decimal(38,18)"


def roc_auc(predictions: DataFrame, *keys: str) -> DataFrame:
    """Return per key the chance that a positive is scored above a negative, ties counting half: the exact ROC AUC.

    AUC = sum over distinct scores of positives x (negatives below + half of the negatives at it) / (P x N), the
    Mann-Whitney form (Hanley and McNeil 1982, Radiology 143), in integers up to the last division. Scores are counted
    in buckets first, so that no task has to see all of them in order.

    Args:
        predictions: `keys`, p_engage_24h (0 to 1) and engage_24h (0 or 1).
        keys: columns to evaluate apart.

    Returns:
        keys, roc_auc (double; null where only one label occurs).
    """
    positives = F.sum(F.col(LABEL).cast("long")).alias("positives")
    negatives = F.sum(1 - F.col(LABEL).cast("long")).alias("negatives")
    bucket = F.floor(F.col("p_engage_24h") * _BUCKETS)
    scores = predictions.groupBy(*keys, bucket.alias("bucket"), "p_engage_24h").agg(positives, negatives)
    buckets = scores.groupBy(*keys, "bucket").agg(F.sum("negatives").alias("negatives"))
    below = buckets.select(*keys, "bucket", _before("negatives", keys, "bucket").alias("in_lower_buckets"))
    in_bucket = _before("negatives", (*keys, "bucket"), "p_engage_24h")
    ranked = scores.join(below, [*keys, "bucket"], how="inner").withColumn("lower_here", in_bucket)
    beaten = 2 * (F.col("in_lower_buckets") + F.col("lower_here")) + F.col("negatives")
    twice_wins = F.sum(F.col("positives").cast("decimal(19,0)") * beaten)
    pairs = F.sum("positives").cast("double") * F.sum("negatives").cast("double")
    auc = twice_wins.cast("double") / (2 * F.when(pairs > 0, pairs))
    return ranked.groupBy(*keys).agg(auc.alias("roc_auc"))


def evaluate(predictions: DataFrame, replicates: int) -> DataFrame:
    """Return ROC AUC, log-loss and Brier score of each platform and model.

    log_loss is the mean of -ln(probability given to what happened), which is taken as at least 1e-15; brier is the mean
    of (probability - label)^2. Their intervals are percentiles of a Poisson bootstrap over people, whose exposures stay
    together (salience.stats.bootstrap); the AUC has none yet.

    Args:
        predictions: platform, model, user_id, p_engage_24h and engage_24h; both labels occur in each platform.
        replicates: of the bootstrap.

    Returns:
        platform, model, metric, value, ci_low, ci_high, rows, positives, people (how many there are: `everyone`, and
        those who engaged with an exposure, or did not).
    """
    keys = ("platform", "model")
    label, p = F.col(LABEL), F.col("p_engage_24h")
    given = F.greatest(F.when(label == 1, p).otherwise(1 - p), F.lit(_CLIP))
    losses = {"log_loss": -F.log(given), "brier": (p - label) * (p - label)}
    people = predictions.groupBy(*keys, "user_id").agg(
        F.count("*").alias("rows"),
        F.sum(label.cast("long")).alias("positives"),
        # Decimals add up to the same sum in any order.
        *(F.sum(loss.cast(_EXACT)).alias(name) for name, loss in losses.items()),
    )
    numbers = {"everyone": F.col("rows") > 0, "engaged": F.col("positives") > 0}
    numbers["unengaged"] = F.col("rows") > F.col("positives")
    whole = people.groupBy(*keys).agg(
        *(F.sum(name).alias(name) for name in ("rows", "positives", *losses)),
        F.create_map(*(part for who, it_is in numbers.items() for part in (F.lit(who), F.count_if(it_is)))).alias(
            PEOPLE
        ),
    )
    measured = whole.join(_intervals(people, tuple(losses), replicates, keys), list(keys), how="inner").join(
        roc_auc(predictions, *keys), list(keys), how="inner"
    )
    nothing = F.lit(None).cast("double")
    auc = F.struct(F.col("roc_auc").alias("value"), nothing.alias("ci_low"), nothing.alias("ci_high"))
    means = (
        F.struct((F.col(n).cast("double") / F.col("rows")).alias("value"), f"{n}_ci.ci_low", f"{n}_ci.ci_high").alias(n)
        for n in losses
    )
    counts = ("rows", "positives", PEOPLE)
    wide = measured.select(*keys, *counts, auc.alias("roc_auc"), *means)
    long = wide.unpivot([*keys, *counts], ["roc_auc", *losses], "metric", "measured")
    return long.select(*keys, "metric", "measured.value", "measured.ci_low", "measured.ci_high", *counts)


def _intervals(people: DataFrame, losses: tuple[str, ...], replicates: int, keys: tuple[str, ...]) -> DataFrame:
    """Return keys and `<loss>_ci`, the interval of each mean loss per exposure, people resampled."""
    summed = people.select(*keys, "user_id", "rows", *(F.col(loss).cast("double").alias(loss) for loss in losses))
    means = poisson_bootstrap(summed, ["user_id"], ["rows", *losses], replicates, _SEED, keys)
    per_exposure = means.select(*keys, *((F.col(loss) / F.col("rows")).alias(loss) for loss in losses))
    ends = (percentile_interval(F.col(loss)) for loss in losses)
    named = (
        F.struct(end["low"].alias("ci_low"), end["high"].alias("ci_high")).alias(f"{loss}_ci")
        for loss, end in zip(losses, ends, strict=True)
    )
    return per_exposure.groupBy(*keys).agg(*named)


def _before(what: str, keys: tuple[str, ...], order: str) -> Column:
    earlier = Window.partitionBy(*keys).orderBy(order).rowsBetween(Window.unboundedPreceding, -1)
    return F.coalesce(F.sum(what).over(earlier), F.lit(0))
