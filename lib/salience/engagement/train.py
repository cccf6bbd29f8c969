"""Training and judging the engagement models, one a platform."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.engagement.evaluate import evaluate
from salience.engagement.exposures import LABEL
from salience.engagement.features import FEATURES
from salience.engagement.logistic import Coefficients, fit, probability_by_platform, require_both_classes
from salience.engagement.windows import Windows
from salience.settings import EngagementSettings
from salience.stats.small_cells import SUPPRESSED

LOGISTIC, BASE_RATE = "logistic", "base_rate"


@dataclass(frozen=True)
class Fitted:
    """One platform's models: what the training window taught, to be judged, and what all exposures taught, to be used.

    `base_rate` is the training window's engagement rate, which any model must beat.
    """

    judged: Coefficients
    base_rate: float
    published: Coefficients


def train(examples: DataFrame, platform: str, split: Windows, settings: EngagementSettings) -> Fitted:
    """Fit a platform's model on the training window, and again on all labelled exposures.

    Args:
        examples: labelled exposures of every platform with their FEATURES; read several times, so cache it.
        platform: the one to train for.
        split: the windows of training and test.
        settings: engagement settings.

    Raises:
        InputError: the training or the test window holds no exposure, or only one label.
    """
    own = examples.where(F.col("platform") == platform)
    base_rate = _base_rate(own, platform, split)
    return Fitted(fit(own.where(split.in_train), FEATURES, settings), base_rate, fit(own, FEATURES, settings))


def judge(examples: DataFrame, fitted: Mapping[str, Fitted], split: Windows, replicates: int) -> DataFrame:
    """Return the rows of gold.engagement_evaluation, without release_id.

    Args:
        examples: labelled exposures with their FEATURES.
        fitted: models by platform; other platforms are left out.
        split: the windows; those in the test window are judged.
        replicates: of the bootstrap behind the intervals.
    """
    base_rate = F.create_map([F.lit(text) for p, models in fitted.items() for text in (p, models.base_rate)])
    predicted = {
        LOGISTIC: probability_by_platform({platform: models.judged for platform, models in fitted.items()}),
        BASE_RATE: base_rate[F.col("platform")],
    }
    each = F.array(*(F.struct(F.lit(model).alias("model"), p.alias("p_engage_24h")) for model, p in predicted.items()))
    test = examples.where(split.in_test & F.col("platform").isin(list(fitted)))
    predictions = test.select("platform", "user_id", LABEL, F.explode(each).alias("predicted"))
    return evaluate(predictions.select("platform", "user_id", LABEL, "predicted.*"), replicates).select(
        "*",
        F.lit(LABEL).alias("label"),
        F.lit(split.train_end.isoformat()).cast("timestamp").alias("trained_at"),
        F.lit(split.protocol).alias("protocol"),
        F.lit("all").alias("segment"),
        F.lit(None).cast("int").alias(SUPPRESSED),
    )


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
