"""Training the models of one platform: chosen and calibrated on later rows than they were fitted on, then judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from math import log
from typing import Any

from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.classification import MultilayerPerceptronClassificationModel, MultilayerPerceptronClassifier
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.engagement import pipeline
from salience.engagement.features import feature_settings
from salience.engagement.pipeline import FEATURES, LOG_ODDS, SCALED, Penalty
from salience.engagement.tasks import Task
from salience.engagement.windows import Windows
from salience.errors import InputError
from salience.settings import EngagementSettings

LOGISTIC, MLP, BASE_RATE, CONTENT_RATE = "logistic", "mlp", "base_rate", "content_rate"
"""The models that are judged: the one that scores, a neural network beside it, and what both have to beat."""

_MLP_RAW = "_mlp_raw"
_MLP_ITERATIONS = 50


@dataclass(frozen=True)
class Counts:
    """Rows and positives of a window."""

    rows: int
    positives: int


@dataclass(frozen=True)
class Trained:
    """One platform's models: what earlier rows taught, to be judged on the test window, and what will score.

    `published` went through the same steps one window later: fitted with the validation window too, with the penalty
    chosen there, and calibrated on the test window.
    """

    judged: PipelineModel
    published: PipelineModel
    network: "Network | None"
    base_rate: float
    about: Mapping[str, Any]
    """JSON values: the penalty, the log-loss of each, the share of negatives, hash collisions; the end of what any step
    saw, and the settings that its features depend on."""


@dataclass(frozen=True)
class Network:
    """A neural network on the standardised numbers, and how its log odds are corrected and calibrated."""

    prepared: PipelineModel
    model: MultilayerPerceptronClassificationModel
    share: float
    calibrating: Transformer | None

    def predicted(self, rows: DataFrame) -> DataFrame:
        """Return rows with `p`, the calibrated probability."""
        scored = self.log_odds(rows)
        calibrated = scored if self.calibrating is None else self.calibrating.transform(scored)
        return calibrated.select(*rows.columns, pipeline.probability(calibrated).alias(pipeline.P))

    def log_odds(self, rows: DataFrame) -> DataFrame:
        """Return rows with LOG_ODDS before calibration; those of the sampled negatives are taken back, as in `fit`."""
        raw = vector_to_array(F.col(_MLP_RAW))
        scored = self.model.transform(self.prepared.transform(rows))
        return scored.withColumn(LOG_ODDS, pipeline.as_log_odds(raw[1] - raw[0] + log(self.share)))


def train(
    rows: DataFrame,
    platform: str,
    task: Task,
    split: Windows,
    settings: EngagementSettings,
    tell: Callable[[str], None],
) -> Trained:
    """Fit, choose and calibrate a platform's models.

    Args:
        rows: the platform's labelled rows with the task's inputs and event_time; read many times, so persist it.
        platform: its name, for messages.
        task: what is learnt.
        split: the windows.
        settings: engagement settings.
        tell: tells a person what was left out.

    Raises:
        InputError: one of the windows holds no row, or rows of one label only.
    """
    label = task.inputs.label
    train_counts, validation_counts, test_counts = _counted(rows, label, split, platform, task)
    validation, test = rows.where(split.in_validation), rows.where(split.in_test)
    first = _Lesson.of(rows.where(split.in_train), train_counts, task, settings)
    losses = first.losses(pipeline.path(settings), validation)
    penalty = min(losses, key=lambda point: losses[point])
    judged = first.taught(penalty, validation, validation_counts, platform, tell)
    network = first.network(validation, validation_counts) if settings.mlp_hidden_units else None
    first.release()
    refit = _all_of(rows.where(split.in_refit), label)
    second = _Lesson.of(rows.where(split.in_refit), refit, task, settings)
    published = second.taught(penalty, test, test_counts, platform, tell)
    about = {
        "penalty": vars(penalty),
        "log_loss_by_penalty": {str(point): round(loss, 9) for point, loss in losses.items()},
        "share_of_negatives": second.share,
        "hash_collision_share": pipeline.collisions(rows.where(split.in_refit), second.prepared, task.inputs),
        "calibration": settings.calibration if _can_calibrate(test_counts) else "none: too few of a label",
        "windows": split.protocol,
        "seen_until": split.test_end.isoformat(),
        "feature_settings": feature_settings(settings),
    }
    second.release()
    return Trained(judged, published, network, train_counts.positives / train_counts.rows, about)


@dataclass(frozen=True)
class _Lesson:
    """A training window made ready: its vectors, in memory until it is released."""

    prepared: PipelineModel
    matrix: DataFrame
    share: float
    task: Task
    settings: EngagementSettings

    @classmethod
    def of(cls, rows: DataFrame, counts: Counts, task: Task, settings: EngagementSettings) -> "_Lesson":
        """Draw the negatives, standardise and hash."""
        inputs, negatives = task.inputs, counts.rows - counts.positives
        drawn, share = pipeline.sampled(rows, counts.positives, negatives, inputs.label, task.key, settings)
        kept = counts.positives + int(share * negatives)
        read = drawn.select(task.key, inputs.label, *pipeline.column_names(inputs))
        few = pipeline.ordered(read, kept, task.key).persist()
        prepared = pipeline.prepare(few, inputs, settings)
        matrix = prepared.transform(few).select(SCALED, FEATURES, F.col(inputs.label).cast("double")).persist()
        matrix.count()
        few.unpersist()
        return cls(prepared, matrix, share, task, settings)

    def release(self) -> None:
        """Let go of the vectors."""
        self.matrix.unpersist()

    def losses(self, points: list[Penalty], later: DataFrame) -> dict[Penalty, float]:
        """Return the log-loss of each point of the path on later rows, before any calibration."""
        label = self.task.inputs.label
        scored = self.prepared.transform(later)
        losses = []
        for n, point in enumerate(points):
            model = pipeline.fit(self.matrix, label, point, self.share, pipeline.ROUGH)
            scored = pipeline.log_odds_of(model, f"_raw_{n}").transform(scored)
            losses.append(F.avg(_loss(vector_to_array(F.col(f"_raw_{n}"))[1], F.col(label))).alias(str(n)))
        found = scored.agg(*losses).head()
        assert found is not None
        return dict(zip(points, found, strict=True))

    def taught(
        self, penalty: Penalty, later: DataFrame, counts: Counts, platform: str, tell: Callable[[str], None]
    ) -> PipelineModel:
        """Return the pipeline with a penalty, calibrated on later rows."""
        label = self.task.inputs.label
        model = pipeline.fit(self.matrix, label, penalty, self.share)
        plain = pipeline.assembled(self.prepared, model, None)
        if not _can_calibrate(counts):
            tell(
                f"{platform}: {label} is not calibrated: of {counts.rows} {self.task.rows} to calibrate on "
                f"{counts.positives} are positive, and {pipeline.FEWEST_POSITIVES} of either kind are needed"
            )
            return plain
        log_odds = plain.transform(later).select(LOG_ODDS, label)
        return pipeline.assembled(self.prepared, model, pipeline.calibrator(log_odds, label, self.settings))

    def network(self, later: DataFrame, counts: Counts) -> Network:
        """Return a network of one hidden layer on the standardised numbers, calibrated on later rows."""
        inputs = self.task.inputs
        classifier = MultilayerPerceptronClassifier(
            featuresCol=SCALED,
            labelCol=inputs.label,
            layers=[len(inputs.numeric), self.settings.mlp_hidden_units, 2],
            maxIter=_MLP_ITERATIONS,
            seed=self.settings.seed,
            rawPredictionCol=_MLP_RAW,
            probabilityCol="",
            predictionCol="",
        )
        plain = Network(self.prepared, classifier.fit(self.matrix), self.share, None)
        if not _can_calibrate(counts):
            return plain
        log_odds = plain.log_odds(later).select(LOG_ODDS, inputs.label)
        return replace(plain, calibrating=pipeline.calibrator(log_odds, inputs.label, self.settings))


def predictions(rows: DataFrame, trained: Trained, task: Task, split: Windows) -> DataFrame:
    """Return what `evaluate.measure` reads: every model's predictions of the test window.

    Args:
        rows: the platform's labelled rows.
        trained: its models.
        task: what was learnt.
        split: the windows.
    """
    test = rows.where(split.in_test)
    models = {LOGISTIC: pipeline.predicted(trained.judged, test)}
    if trained.network is not None:
        models[MLP] = trained.network.predicted(test)
    models[BASE_RATE] = test.withColumn(pipeline.P, F.lit(trained.base_rate))
    if task.content_rate is not None:
        models[CONTENT_RATE] = test.withColumn(pipeline.P, 1 / (1 + F.exp(-F.col(task.content_rate))))
    label = task.inputs.label
    each = (
        of.select(
            "platform",
            F.lit(label).alias("label"),
            F.lit(name).alias("model"),
            F.explode(task.segments).alias("segment"),
            "user_id",
            pipeline.P,
            F.col(label).alias("outcome"),
        )
        for name, of in models.items()
    )
    return reduce(DataFrame.unionByName, each)


def _loss(log_odds: Column, outcome: Column) -> Column:
    """Return the log-loss ln(1 + exp(-z)) of z = the log odds of what happened, without overflow."""
    z = F.when(outcome == 1, log_odds).otherwise(-log_odds)
    return F.greatest(-z, F.lit(0.0)) + F.log1p(F.exp(-F.abs(z)))


def _can_calibrate(counts: Counts) -> bool:
    return min(counts.positives, counts.rows - counts.positives) >= pipeline.FEWEST_POSITIVES


def _all_of(rows: DataFrame, label: str) -> Counts:
    found = rows.agg(F.count("*"), F.count_if(F.col(label) == 1)).head()
    assert found is not None
    return Counts(*found)


def _counted(rows: DataFrame, label: str, split: Windows, platform: str, task: Task) -> list[Counts]:
    """Return how many rows and positives the windows hold, once each is known to hold both labels."""
    windows = {"training": split.in_train, "validation": split.in_validation, "test": split.in_test}
    is_positive = F.col(label) == 1
    found = rows.agg(
        *(F.count_if(inside & which) for inside in windows.values() for which in (F.lit(True), is_positive))
    ).head()
    assert found is not None
    counts = [Counts(found[2 * n], found[2 * n + 1]) for n in range(len(windows))]
    for of, name in zip(counts, windows, strict=True):
        _require_both_labels(of, f"in the {name} window", platform, task)
    return counts


def _require_both_labels(counts: Counts, where: str, platform: str, task: Task) -> None:
    if counts.rows == 0:
        raise InputError(
            f"platform {platform} has no {task.rows} {where}: clean more days with jobs/clean_interactions.py, or map "
            f"its impressions (or views) in conf/sources/{platform}.yaml"
        )
    if counts.positives in {0, counts.rows}:
        found = "none" if counts.positives == 0 else "every one"
        raise InputError(
            f"platform {platform}: of {counts.rows} {task.rows} {where} {found} led to {task.inputs.label}, so "
            "there is nothing to tell apart: check engagement.positive_actions against the platform's actions, or "
            "train on more days"
        )
