"""Training and judging one platform's engagement model."""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.engagement.evaluate import evaluate
from salience.engagement.exposures import LABEL
from salience.engagement.features import FEATURES
from salience.engagement.logistic import Coefficients, fit, probability, require_both_classes
from salience.engagement.windows import Windows, windows
from salience.settings import EngagementSettings

LOGISTIC, BASE_RATE = "logistic", "base_rate"


def train(
    examples: DataFrame, platform: str, as_of: date, settings: EngagementSettings
) -> tuple[Coefficients, DataFrame]:
    """Fit the engagement model on early exposures, judge it on late ones, then refit it on all.

    Args:
        examples: labelled exposures of every platform with their FEATURES; read several times, so cache it.
        platform: the one to train for.
        as_of: last UTC day that is known.
        settings: engagement settings.

    Returns:
        The refitted coefficients, and the rows for gold.engagement_evaluation (without release_id) of the model that
        was fitted on the training window and of the training window's engagement rate.

    Raises:
        InputError: the training or the test window holds no exposure, or only one label.
    """
    split = windows(as_of, settings)
    own = examples.where(F.col("platform") == platform)
    base_rate = _base_rate(own, platform, split)
    judged = fit(own.where(split.in_train), FEATURES, settings)
    test = own.where(split.in_test).select(
        "platform",
        "user_id",
        LABEL,
        F.explode(
            F.array(
                F.struct(F.lit(LOGISTIC).alias("model"), probability(judged).alias("p_engage_24h")),
                F.struct(F.lit(BASE_RATE).alias("model"), F.lit(base_rate).alias("p_engage_24h")),
            )
        ).alias("prediction"),
    )
    rows = evaluate(test.select("platform", "user_id", LABEL, "prediction.*"), settings.bootstrap_replicates).select(
        "*",
        F.lit(LABEL).alias("label"),
        F.lit(split.train_end.isoformat()).cast("timestamp").alias("trained_at"),
        F.lit(split.protocol).alias("protocol"),
        F.lit("all").alias("segment"),
    )
    return fit(own, FEATURES, settings), rows


def _base_rate(own: DataFrame, platform: str, split: Windows) -> float:
    """Return the training window's engagement rate, once both windows are known to hold both labels."""
    counts = own.agg(
        *(
            F.count_if(inside & (F.col(LABEL) >= least)).alias(name)
            for inside, of in ((split.in_train, "train"), (split.in_test, "test"))
            for least, name in ((0, f"{of}_rows"), (1, f"{of}_positives"))
        )
    ).head()
    assert counts is not None
    require_both_classes(counts["train_positives"], counts["train_rows"], platform, "in the training window")
    require_both_classes(counts["test_positives"], counts["test_rows"], platform, "in the test window")
    return float(counts["train_positives"] / counts["train_rows"])
