"""Training and judging the models of every platform for one label, and what the tables say of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial, reduce

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.engagement import pipeline
from salience.engagement.drift import SCORE, reference
from salience.engagement.evaluate import calibration, evaluation, measure
from salience.engagement.inference import bounded, infer
from salience.engagement.tasks import Task
from salience.engagement.train import LOGISTIC, Trained, predictions, train
from salience.engagement.windows import Windows, windows
from salience.errors import InputError
from salience.settings import EngagementSettings
from salience.stats.small_cells import SUPPRESSED
from salience.tables import engagement as tables
from salience.tables.contract import Table
from salience.threads import side_by_side


@dataclass(frozen=True)
class Learned:
    """What was learnt for one label, by platform: all platforms but those that had nothing to teach."""

    task: Task
    split: Windows | None
    """None where the settings leave no time to train on."""
    trained: Mapping[str, Trained]
    predictions: DataFrame | None
    """What `evaluate.measure` reads; None where no platform was trained."""
    coefficients: DataFrame | None
    """Rows of gold.engagement_coefficients."""


def learn(
    rows: DataFrame,
    task: Task,
    as_of: date,
    platforms: Sequence[str],
    settings: EngagementSettings,
    tell: Callable[[str], None],
) -> Learned:
    """Train every platform's models, and predict the test window with them.

    Args:
        rows: labelled rows of every platform with the task's inputs; read many times, so persist it.
        task: what is learnt.
        as_of: last UTC day that may be known.
        platforms: to train for; one that has nothing to teach is told, and left out.
        settings: engagement settings.
        tell: tells a person what is left out.
    """
    try:
        split = windows(as_of, task.label_window, settings)
    except InputError as error:
        tell(f"no new model of {task.inputs.label}: {error}")
        return Learned(task, None, {}, None, None)
    found = dict[str, Trained]()

    def of(platform: str) -> DataFrame:
        return rows.where(F.col("platform") == platform)

    def teach(platform: str) -> None:
        try:
            found[platform] = train(of(platform), platform, task, split, settings, tell)
        except InputError as error:
            tell(f"no new model of {task.inputs.label}: {error}")

    # Few rows are fitted in one task: platforms side by side use more cores than one.
    side_by_side(*(partial(teach, platform) for platform in platforms))
    trained = {platform: found[platform] for platform in platforms if platform in found}
    if not trained:
        return Learned(task, split, {}, None, None)
    judged = (predictions(of(platform), models, task, split) for platform, models in trained.items())
    tests = ((of(platform).where(split.in_test), models) for platform, models in trained.items())
    inferred = (coefficients(test, models, task, settings) for test, models in tests)
    return Learned(task, split, trained, reduce(DataFrame.unionByName, judged), reduce(DataFrame.unionByName, inferred))


def coefficients(test: DataFrame, trained: Trained, task: Task, settings: EngagementSettings) -> DataFrame:
    """Return what each prespecified feature says of the label, on rows that chose nothing, with errors by person.

    Args:
        test: a platform's labelled rows of the test window.
        trained: its models; features are told per standard deviation in their training window.
        task: what is learnt.
        settings: inference_rows is used.
    """
    label = task.inputs.label
    deviations = pipeline.scale(trained.judged).std.toArray().tolist()
    # One that never changed in training is told in its own unit.
    deviation = {name: of or 1.0 for name, of in zip(task.inputs.numeric, deviations, strict=True)}
    scaled = [(F.col(name) / deviation[name]).alias(name) for name in task.inferred]
    few = bounded(test, settings.inference_rows, test.count()).select("platform", "user_id", label, *scaled)
    named = F.lit(LOGISTIC).alias("model"), F.lit(label).alias("label"), F.lit(None).cast("int").alias(SUPPRESSED)
    return infer(few, ["platform"], task.inferred, label).select("*", *named)


def with_score(rows: DataFrame, model: PipelineModel) -> DataFrame:
    """Add p and `score`, its log odds: what the model says as a feature whose drift can be measured."""
    p = F.col(pipeline.P)
    return pipeline.predicted(model, rows).withColumn(SCORE, F.log(p / (1 - p)))


def trained_on(rows: DataFrame, platform: str, learned: Learned) -> DataFrame:
    """Return how the features and the scores of a platform's published model were spread where it was trained.

    Args:
        rows: what was given to `learn`.
        platform: one that was trained.
        learned: what `learn` returned.
    """
    assert learned.split is not None
    inputs = learned.task.inputs
    own = rows.where((F.col("platform") == platform) & learned.split.in_refit)
    return reference(with_score(own, learned.trained[platform].published), (*inputs.numeric, SCORE), inputs.categorical)


@contextmanager
def told(learned: Sequence[Learned], settings: EngagementSettings) -> Iterator[list[tuple[Table, DataFrame]]]:
    """Yield the tables that tell of models, with their rows but for release_id; none where nothing was learnt.

    Args:
        learned: what `learn` returned for each label.
        settings: costs, values and replicates are used.
    """
    judged = [of.predictions for of in learned if of.predictions is not None]
    inferred = [of.coefficients for of in learned if of.coefficients is not None]
    if not judged:
        yield []
        return
    predicted = reduce(DataFrame.unionByName, judged).persist()
    cost, value = settings.exposure_cost, settings.engagement_value
    measured = measure(predicted, cost, value, settings.bootstrap_replicates).persist()
    evaluated = evaluation(measured)
    by_label = [
        _with_protocol(evaluated.where(F.col("label") == of.task.inputs.label), of.split) for of in learned if of.split
    ]
    try:
        yield [
            (tables.EVALUATION, reduce(DataFrame.unionByName, by_label)),
            (tables.CALIBRATION, calibration(measured, predicted)),
            (tables.COEFFICIENTS, reduce(DataFrame.unionByName, inferred)),
        ]
    finally:
        measured.unpersist()
        predicted.unpersist()


def _with_protocol(evaluated: DataFrame, split: Windows) -> DataFrame:
    return evaluated.select(
        "*",
        F.lit(split.train_end.isoformat()).cast("timestamp").alias("trained_at"),
        F.lit(split.protocol).alias("protocol"),
    )
