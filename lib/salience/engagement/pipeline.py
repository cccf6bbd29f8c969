"""The engagement model: a Spark ML pipeline from features to calibrated probabilities.

Numbers are standardised, categories hashed; a logistic regression gives log odds; what later exposures did calibrates
them. The fitted pipeline is one object, which is saved whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

import numpy as np
from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.common import _py2java
from pyspark.ml.feature import FeatureHasher, StandardScaler, StandardScalerModel, VectorAssembler, VectorSlicer
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.linalg import Vectors
from pyspark.ml.regression import IsotonicRegression
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.settings import EngagementSettings
from salience.stats.draws import uniform
from salience.tables.storage import java_class

SCALED, FEATURES, LOG_ODDS, CALIBRATED = "_scaled", "_features", "_log_odds", "_calibrated"
"""Columns that the pipeline adds: standardised numbers, all features, log odds (vectors), calibrated probabilities."""
P = "p"
PIPELINE = "pipeline"
"""Its name in a saved model."""

_NUMBERS, _RAW, _PROBABILITY = "_numbers", "_raw", "_probability"
_DECIMALS = 9
_SURE = 1e-6
"""Probabilities are kept this far from 0 and 1: nothing is ever certain."""
FEWEST_POSITIVES = 20
"""So many of either label are needed in the window that calibrates; with fewer, log odds stay as they were fitted."""
_ROWS_A_PARTITION = 200_000


@dataclass(frozen=True)
class Effort:
    """When a fit ends: after so many steps, or once a step gains less than this share."""

    iterations: int
    tolerance: float


THOROUGH, ROUGH = Effort(100, 1e-8), Effort(50, 1e-6)
"""For a model that is used, and for one that is only compared with others."""


@dataclass(frozen=True)
class Inputs:
    """The columns that a model reads, and the one that it learns."""

    label: str
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]

    def hashed(self, name: str) -> str:
        """Return the column of a category's place."""
        return f"_hashed_{name}"


@dataclass(frozen=True)
class Penalty:
    """One point of the regularisation path."""

    regularisation: float
    elastic_net: float

    def __str__(self) -> str:
        """Return the point for a person to read."""
        return f"regularisation {self.regularisation:g}, elastic net {self.elastic_net:g}"


def path(settings: EngagementSettings) -> list[Penalty]:
    """Return the points of the regularisation path, in the settings' order."""
    return [Penalty(strength, share) for strength in settings.regularisations for share in settings.elastic_nets]


def ordered(rows: DataFrame, count: int, key: str) -> DataFrame:
    """Return rows in few large partitions of a fixed order, so that sums over few rows come out the same every time."""
    return rows.repartition(max(1, ceil(count / _ROWS_A_PARTITION)), key).sortWithinPartitions(key)


def sampled(
    rows: DataFrame, positives: int, negatives: int, label: str, key: str, settings: EngagementSettings
) -> tuple[DataFrame, float]:
    """Return all positives and a share of the negatives by lot, and that share, 1 for all.

    Args:
        rows: the training window.
        positives, negatives: how many it has.
        label: 0 or 1.
        key: identifies a row; the lot is a hash of it.
        settings: negatives_per_positive and seed are used.
    """
    wanted = settings.negatives_per_positive
    share = 1.0 if wanted is None or not negatives else min(1.0, wanted * positives / negatives)
    if share == 1:
        return rows, share
    is_drawn = uniform(F.xxhash64(F.xxhash64(key), F.lit(settings.seed))) < share
    return rows.where((F.col(label) == 1) | is_drawn), share


def prepare(rows: DataFrame, inputs: Inputs, settings: EngagementSettings) -> PipelineModel:
    """Return the stages that make the vector FEATURES: standardised numbers, then a place for each category's value.

    A number that never changes becomes 0. A category's value goes to one of hash_buckets places by MurmurHash3; values
    that no one has seen in training have places without weight, or share one.
    """
    hashers = [
        FeatureHasher(
            inputCols=[name], outputCol=inputs.hashed(name), numFeatures=settings.hash_buckets, categoricalCols=[name]
        )
        for name in inputs.categorical
    ]
    numbers = VectorAssembler(inputCols=list(inputs.numeric), outputCol=_NUMBERS, handleInvalid="error")
    scaler = StandardScaler(inputCol=_NUMBERS, outputCol=SCALED, withMean=True, withStd=True)
    whole = VectorAssembler(inputCols=[SCALED, *map(inputs.hashed, inputs.categorical)], outputCol=FEATURES)
    return PipelineModel([*hashers, numbers, scaler.fit(numbers.transform(rows)), whole])


def collisions(rows: DataFrame, prepared: PipelineModel, inputs: Inputs) -> dict[str, float]:
    """Return of each category the share of its values that share their place with another one."""
    shares = {}
    for name, hasher in zip(inputs.categorical, prepared.stages, strict=False):
        values = hasher.transform(rows.select(name).distinct())
        by_place = values.groupBy(vector_to_array(F.col(inputs.hashed(name))).alias("place")).agg(
            F.count("*").alias("values")
        )
        sharing, total = by_place.agg(
            F.coalesce(F.sum(F.when(F.col("values") > 1, F.col("values"))), F.lit(0)), F.sum("values")
        ).head()  # type: ignore[misc]
        shares[name] = sharing / total if total else 0.0
    return shares


def scale(prepared: PipelineModel) -> StandardScalerModel:
    """Return the stage that knows means and standard deviations of the numbers."""
    (found,) = (stage for stage in prepared.stages if isinstance(stage, StandardScalerModel))
    return found


def fit(
    matrix: DataFrame, label: str, penalty: Penalty, share: float, effort: Effort = THOROUGH
) -> LogisticRegressionModel:
    """Fit P(label = 1) = 1 / (1 + exp(-(intercept + sum of coefficient x feature))) by maximum penalised likelihood.

    Spark minimises mean log-loss + regularisation * ((1 - elastic_net)/2 * |b|_2^2 + elastic_net * |b|_1), the
    intercept not penalised. scikit-learn's LogisticRegression has the same optimum with C = 1 / (n * regularisation).

    Of a share of the negatives, odds come out 1 / share times too large: the intercept takes log(share) back (King and
    Zeng 2001, Political Analysis 9, section 4.1), which is exact where nothing is penalised.

    Args:
        matrix: FEATURES and the label; cache it.
        label: 0 or 1, both occur.
        penalty: the strength and kind of the penalty.
        share: of the negatives that the matrix holds.
        effort: when the fit ends.
    """
    regression = LogisticRegression(
        featuresCol=FEATURES,
        labelCol=label,
        regParam=penalty.regularisation,
        elasticNetParam=penalty.elastic_net,
        maxIter=effort.iterations,
        tol=effort.tolerance,
        standardization=False,
        rawPredictionCol=_RAW,
        probabilityCol=_PROBABILITY,
        predictionCol="",
    )
    return _rounded(regression.fit(matrix), matrix, log(share))


def _rounded(fitted: LogisticRegressionModel, like: DataFrame, shift: float) -> LogisticRegressionModel:
    """Return a model with its intercept shifted, and rounded: sums in another order differ in the last digits."""
    spark = like.sparkSession
    coefficients = Vectors.dense(np.round(fitted.coefficients.toArray(), _DECIMALS))
    java = java_class(spark, "org.apache.spark.ml.classification.LogisticRegressionModel")
    made = java(
        fitted.uid, _py2java(spark.sparkContext, coefficients), round(float(fitted.intercept) + shift, _DECIMALS)
    )
    model: LogisticRegressionModel = fitted._copyValues(LogisticRegressionModel(made))
    return model


def log_odds_of(model: LogisticRegressionModel, name: str) -> LogisticRegressionModel:
    """Return a model that writes its log odds (the second entry of a vector) to another column, and nothing else."""
    copy: LogisticRegressionModel = model.copy()
    return copy.setRawPredictionCol(name).setProbabilityCol("").setPredictionCol("")


def calibrator(log_odds: DataFrame, label: str, settings: EngagementSettings) -> Transformer | None:
    """Return the stage from LOG_ODDS to CALIBRATED that fits later rows best; None for the settings' `none`.

    `platt` is a logistic regression on the log odds (Platt 1999, without his priors: there are enough labels),
    `isotonic` the best monotone step function, linear between its steps (Zadrozny and Elkan 2002).

    Args:
        log_odds: LOG_ODDS (a vector of one) and the label, FEWEST_POSITIVES of either value.
        label: 0 or 1.
        settings: calibration is used.
    """
    if settings.calibration == "platt":
        platt = LogisticRegression(
            featuresCol=LOG_ODDS,
            labelCol=label,
            rawPredictionCol="_calibrated_log_odds",
            probabilityCol=CALIBRATED,
            predictionCol="",
            standardization=False,
            maxIter=THOROUGH.iterations,
            tol=THOROUGH.tolerance,
        )
        return _rounded(platt.fit(log_odds), log_odds, 0.0)
    if settings.calibration == "isotonic":
        steps = IsotonicRegression(featuresCol=LOG_ODDS, labelCol=label, predictionCol=CALIBRATED)
        fitted: Transformer = steps.fit(log_odds.withColumn(label, F.col(label).cast("double")))
        return fitted
    return None


def assembled(
    prepared: PipelineModel, model: LogisticRegressionModel, calibrating: Transformer | None
) -> PipelineModel:
    """Return the whole pipeline, from features to probabilities."""
    slicer = VectorSlicer(inputCol=_RAW, outputCol=LOG_ODDS, indices=[1])
    return PipelineModel([*prepared.stages, model, slicer, *([] if calibrating is None else [calibrating])])


def regression(pipeline: PipelineModel) -> LogisticRegressionModel:
    """Return the stage that gives log odds."""
    return next(
        stage
        for stage in pipeline.stages
        if isinstance(stage, LogisticRegressionModel) and stage.getFeaturesCol() == FEATURES
    )


def as_log_odds(value: Column) -> Column:
    """Return log odds as the column LOG_ODDS that `calibrator` reads."""
    return array_to_vector(F.array(value.cast("double"))).alias(LOG_ODDS)


def predicted(pipeline: PipelineModel, rows: DataFrame) -> DataFrame:
    """Return rows that hold the features with `p`, the calibrated probability, in place of any other column added.

    Args:
        pipeline: from `assembled`, or saved and loaded.
        rows: the features; categories not null.
    """
    scored = pipeline.transform(rows)
    return scored.select(*rows.columns, probability(scored).alias(P))


def probability(scored: DataFrame) -> Column:
    """Return the probability of rows that a pipeline, or a calibrator of `calibrator`, went over; never 0 or 1."""
    if CALIBRATED not in scored.columns:
        p = 1 / (1 + F.exp(-vector_to_array(F.col(LOG_ODDS))[0]))
    elif scored.schema[CALIBRATED].dataType.simpleString() == "double":
        p = F.col(CALIBRATED)
    else:
        p = vector_to_array(F.col(CALIBRATED))[1]
    return F.least(F.greatest(p, F.lit(_SURE)), F.lit(1 - _SURE))


def contributions(pipeline: PipelineModel, inputs: Inputs, most: int) -> Column:
    """Return what counted most in a row's log odds before calibration, over a transformed row.

    A number's contribution is its coefficient times its standard score, so it is told against the average of the
    rows that taught the model; a category's is the weight of its value's place. All contributions and the intercept add
    up to the log odds.

    Args:
        pipeline: from `assembled`.
        inputs: the columns it reads.
        most: how many, the largest ones by absolute value, ties by name.

    Returns:
        array<struct<feature, contribution>>.
    """
    weights = regression(pipeline).coefficients.toArray().tolist()
    values, numbers = vector_to_array(F.col(FEATURES)), len(inputs.numeric)
    buckets = (len(weights) - numbers) // max(len(inputs.categorical), 1)
    parts = [_part(name, values[n] * F.lit(weights[n])) for n, name in enumerate(inputs.numeric)]
    for n, name in enumerate(inputs.categorical):
        start = numbers + n * buckets
        place = vector_to_array(F.col(inputs.hashed(name)))
        of = F.zip_with(place, F.array(*map(F.lit, weights[start : start + buckets])), lambda x, w: x * w)
        parts.append(_part(name, F.aggregate(of, F.lit(0.0), lambda total, x: total + x)))
    keyed = F.transform(
        F.array(*parts), lambda part: F.struct(-F.abs(part["contribution"]), part["feature"], part.alias("part"))
    )
    ranked = F.slice(F.array_sort(keyed), 1, most)
    return F.transform(ranked, lambda entry: entry["part"])


def _part(name: str, contribution: Column) -> Column:
    return F.struct(F.lit(name).alias("feature"), contribution.alias("contribution"))


def column_names(inputs: Inputs) -> Sequence[str]:
    """Return every column that a model of these inputs reads."""
    return [*inputs.numeric, *inputs.categorical]
