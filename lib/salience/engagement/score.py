"""Scoring candidates as if they were shown right after the last known day, and people for their return."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.engagement import pipeline
from salience.engagement.exposures import end_of
from salience.engagement.features import feature_settings
from salience.engagement.pipeline import Inputs
from salience.engagement.train import LOGISTIC
from salience.errors import InputError
from salience.models.store import LoadedModel
from salience.settings import EngagementSettings

UNKNOWN_HOUR = 20
"""Local hour in which a person is shown something whose own hours are unknown."""
FIRST_SLOT = 1


def targets(candidates: DataFrame, user_profiles: DataFrame, exposed: DataFrame, as_of: date) -> DataFrame:
    """Return each candidate as an exposure at the end of `as_of`, in the person's most active local hour.

    It is in the first slot, where the platform logs slots: a candidate is judged, not its place.

    Args:
        candidates: platform, user_id, content_id; unique.
        user_profiles: platform, user_id, active_hours (24 shares); the earliest hour wins a tie.
        exposed: from `exposures`.
        as_of: last UTC day that is known.

    Returns:
        platform, user_id, content_id, event_time, local_hour, local_weekday, position.
    """
    busiest = (F.array_position("active_hours", F.array_max("active_hours")) - 1).cast("int")
    habits = user_profiles.select("platform", "user_id", busiest.alias("local_hour"))
    slots = exposed.groupBy("platform").agg(F.when(F.count("position") > 0, FIRST_SLOT).alias("position"))
    placed = candidates.join(F.broadcast(slots), "platform", how="left")
    return placed.join(habits, ["platform", "user_id"], how="left").select(
        "platform",
        "user_id",
        "content_id",
        end_of(as_of).alias("event_time"),
        F.coalesce("local_hour", F.lit(UNKNOWN_HOUR)).alias("local_hour"),
        F.weekday(end_of(as_of)).alias("local_weekday"),
        "position",
    )


def usable(
    models: Mapping[str, LoadedModel], settings: EngagementSettings, tell: Callable[[str], None]
) -> dict[str, LoadedModel]:
    """Return the models that can be asked; one that an earlier version of Salience saved is told, and left out.

    Args:
        models: saved ones by platform.
        settings: that the features are made with now.
        tell: tells a person what is left out.

    Raises:
        InputError: a model learnt from features of other settings.
    """
    found = {}
    for platform, model in models.items():
        then, now = model.manifest.get("feature_settings"), feature_settings(settings)
        if then is None:
            tell(f"{platform} goes without: an earlier version of Salience saved {model.path}; train it again")
            continue
        changed = sorted(name for name in now if then.get(name) != now[name])
        if changed:
            raise InputError(
                f"model {model.path} was trained with other settings of engagement: {', '.join(changed)}; set them "
                "back, or train it again with jobs/train_engagement.py"
            )
        found[platform] = model
    return found


def scored(
    rows: DataFrame, keys: Sequence[str], models: Mapping[str, LoadedModel], inputs: Inputs, explain: int = 0
) -> DataFrame:
    """Return the probability of each row by its platform's model.

    Args:
        rows: platform and the inputs; platforms without a model are left out.
        keys: columns of `rows` to return.
        models: saved ones by platform, at least one.
        inputs: the columns they read.
        explain: how many contributions to tell; 0 for none.

    Returns:
        keys, model, p, and contributions (array<struct<feature, contribution>>; null for none).
    """

    def by(platform: str, saved: LoadedModel) -> DataFrame:
        model = saved.pipeline(pipeline.PIPELINE)
        transformed = model.transform(rows.where(F.col("platform") == platform))
        told: Column = F.lit(None).cast("array<struct<feature:string,contribution:double>>")
        if explain:
            told = pipeline.contributions(model, inputs, explain)
        p = pipeline.probability(transformed).alias(pipeline.P)
        return transformed.select(*keys, F.lit(LOGISTIC).alias("model"), p, told.alias("contributions"))

    return reduce(DataFrame.unionByName, (by(platform, saved) for platform, saved in models.items()))
