"""What the models in force say of recent days, beside what they were trained on and what came of it."""

from collections.abc import Mapping
from datetime import date, timedelta
from functools import reduce
from math import ceil

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.engagement.drift import SCORE, calibration_drift, feature_drift
from salience.engagement.features import LOCAL_HOUR_X_WEEKDAY
from salience.engagement.learning import with_score
from salience.engagement.pipeline import PIPELINE, P
from salience.engagement.tasks import Task
from salience.engagement.train import LOGISTIC
from salience.models.store import LoadedModel

TRAINED_ON = "trained_on"
"""The frame of a saved model that says how its training window was spread."""
OF_A_DAY = (LOCAL_HOUR_X_WEEKDAY, "weekday")
"""Categories that a single day has few values of, whatever happens: they are not compared."""


def recent(rows: DataFrame, task: Task, as_of: date, days: int) -> DataFrame:
    """Return the rows of the last days, and of the last days whose labels are known, with `window`, their UTC day.

    Args:
        rows: with event_time.
        task: whose label it is.
        as_of: last UTC day that is known.
        days: how many.
    """
    since = as_of - timedelta(days=ceil(task.label_window / timedelta(days=1)) + days - 1)
    return rows.withColumn("window", task.day).where(F.col("window") >= F.lit(since))


def feature_drifts(rows: DataFrame, models: Mapping[str, LoadedModel], task: Task, as_of: date, days: int) -> DataFrame:
    """Return the rows of gold.feature_drift, without release_id, of one label.

    Args:
        rows: from `recent`, with the task's inputs.
        models: in force, by platform, at least one.
        task: the label.
        as_of: last UTC day that is known.
        days: how many days to compare.
    """
    newest = rows.where(F.col("window") > F.lit(as_of - timedelta(days=days)))
    categories = [name for name in task.inputs.categorical if name not in OF_A_DAY]
    each = (
        feature_drift(
            with_score(newest.where(F.col("platform") == platform), model.pipeline(PIPELINE)),
            model.frames[TRAINED_ON],
            (*task.inputs.numeric, SCORE),
            categories,
        )
        for platform, model in models.items()
    )
    return reduce(DataFrame.unionByName, each).withColumn("label", F.lit(task.inputs.label))


def calibration_drifts(labels: DataFrame, models: Mapping[str, LoadedModel], task: Task) -> DataFrame:
    """Return the rows of gold.engagement_calibration_drift, without release_id, of one label.

    Only rows count that the model has not seen: those that calibrated it agree with it by construction.

    Args:
        labels: from `recent`, labelled.
        models: in force, by platform, at least one.
        task: the label.
    """
    each = (
        calibration_drift(
            with_score(_unseen(labels, platform, model), model.pipeline(PIPELINE)).select(
                "platform", "window", "user_id", P, F.col(task.inputs.label).alias("outcome")
            )
        )
        for platform, model in models.items()
    )
    named = F.lit(task.inputs.label).alias("label"), F.lit(LOGISTIC).alias("model")
    return reduce(DataFrame.unionByName, each).select("*", *named)


def _unseen(labels: DataFrame, platform: str, model: LoadedModel) -> DataFrame:
    """Return a platform's rows from the end of the window that its model was calibrated on, on."""
    seen = F.lit(model.manifest["seen_until"]).cast("timestamp")
    return labels.where((F.col("platform") == platform) & (F.col("event_time") >= seen))
