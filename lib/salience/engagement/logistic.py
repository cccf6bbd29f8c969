"""Logistic regression on exposures: fitted by Spark ML, kept as a small table, applied as a native expression."""

from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.engagement.exposures import LABEL
from salience.errors import InputError
from salience.settings import EngagementSettings

INTERCEPT = "(intercept)"

_MAX_ITERATIONS = 200
_TOLERANCE = 1e-10
_DECIMALS = 9

Coefficients = Mapping[str, float]
"""Coefficient by feature, on the features' own scale, and the intercept."""


def fit(training: DataFrame, features: Sequence[str], settings: EngagementSettings) -> Coefficients:
    """Fit P(label = 1) = 1 / (1 + exp(-(intercept + sum of coefficient x feature))) by maximum penalised likelihood.

    Spark minimises mean log-loss + regularisation * ((1 - elastic_net)/2 * |b|_2^2 + elastic_net * |b|_1), where b are
    the coefficients of features divided by their sample standard deviation (n - 1) and the intercept is not penalised.
    scikit-learn's LogisticRegression on features so divided has the same optimum with C = 1 / (n * regularisation). The
    coefficients returned are those of the undivided features; a constant feature gets 0.

    Args:
        training: `features` as numbers, and the label `engage_24h` (0 or 1) in both its values; cache it.
        features: names of the feature columns.
        settings: regularisation and elastic_net are used.
    """
    regression = LogisticRegression(
        featuresCol="features",
        labelCol=LABEL,
        regParam=settings.regularisation,
        elasticNetParam=settings.elastic_net,
        maxIter=_MAX_ITERATIONS,
        tol=_TOLERANCE,
        standardization=True,
    )
    assembler = VectorAssembler(inputCols=list(features), outputCol="features", handleInvalid="error")
    fitted = Pipeline(stages=[assembler, regression]).fit(training.select(LABEL, *features)).stages[-1]
    assert isinstance(fitted, LogisticRegressionModel)
    values = dict(zip(features, fitted.coefficients.toArray().tolist(), strict=True)) | {INTERCEPT: fitted.intercept}
    # Partial sums arrive in any order, which shows in the last digits: rounded off, a rerun gives the same model.
    return {name: round(float(value), _DECIMALS) for name, value in values.items()}


def require_both_classes(positives: int, rows: int, platform: str, where: str) -> None:
    """Check that a window can teach a model, or judge one.

    Raises:
        InputError: it holds no exposure, or exposures of one label only.
    """
    if rows == 0:
        raise InputError(
            f"platform {platform} has no exposure {where}: map its impressions (or views) in "
            f"conf/sources/{platform}.yaml, or clean more days with jobs/clean_interactions.py"
        )
    if positives in {0, rows}:
        found = "none" if positives == 0 else "every one"
        raise InputError(
            f"platform {platform}: of {rows} exposures {where} {found} led to engagement, so there is nothing to tell "
            "apart: check engagement.positive_actions against the platform's actions, or train on more days"
        )


def probability(coefficients: Coefficients) -> Column:
    """Return P(engage_24h) of a row that holds the features."""
    terms = [F.col(name) * value for name, value in coefficients.items() if name != INTERCEPT]
    return 1 / (1 + F.exp(-reduce(lambda total, term: total + term, terms, F.lit(coefficients[INTERCEPT]))))


def probability_by_platform(models: Mapping[str, Coefficients]) -> Column:
    """Return P(engage_24h) of a row by the model of its platform; null where there is none.

    Args:
        models: coefficients by platform, at least one.
    """
    (first, model), *others = models.items()
    chosen = F.when(F.col("platform") == first, probability(model))
    for platform, other in others:
        chosen = chosen.when(F.col("platform") == platform, probability(other))
    return chosen


def to_frame(coefficients: Coefficients, like: DataFrame) -> DataFrame:
    """Return feature, coefficient as a frame of the session of `like`; the intercept is a row of its own."""
    rows = list(coefficients.items())
    return like.sparkSession.createDataFrame(rows, "feature string, coefficient double").coalesce(1)


def from_frame(frame: DataFrame) -> Coefficients:
    """Return what `to_frame` was given, features in alphabetical order."""
    return {row["feature"]: row["coefficient"] for row in frame.orderBy("feature").collect()}
