"""What is learnt: engagement after an exposure, and a person's return."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from math import log1p

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.engagement import exposures, returns
from salience.engagement.features import CROSSES, feature_names, label_of
from salience.engagement.pipeline import Inputs
from salience.settings import EngagementSettings

_INFERRED = ("user_content_exposures", "exposures_24h", "content_hours_since_publication", "hour_sin", "hour_cos")


@dataclass(frozen=True)
class Task:
    """One label, and how its models are trained and judged."""

    inputs: Inputs
    labelled: Callable[[DataFrame, date], DataFrame]
    """Returns the rows whose label is known by the end of a day, with it."""
    day: Column
    """The UTC day that a row is of."""
    label_window: timedelta
    """How long it takes until a row's label is known."""
    key: str
    """Column that identifies a row."""
    rows: str
    """What the rows are, in messages."""
    segments: Column
    """Array of the segments that a row is in."""
    inferred: tuple[str, ...]
    """The numeric inputs whose coefficients are told with errors: prespecified, so no data chose them."""
    content_rate: str | None = None
    """Column with the log odds of the content's own smoothed rate, the stronger baseline."""


def engagement(settings: EngagementSettings) -> Task:
    """Return what is learnt of exposures.

    A person is new, and a content cold, by its exposures so far, counted with the longest half-life.
    """
    longest = label_of(max(settings.half_lives_days))
    entities = ("content", "creator", "user", "user_creator", "user_tag")
    new = F.col(f"user_exposures_{longest}") < log1p(settings.new_user_exposures)
    cold = F.col(f"content_exposures_{longest}") < log1p(settings.cold_content_exposures)
    segments = F.array(
        F.lit("all"),
        F.when(new, "user=new").otherwise("user=known"),
        F.when(cold, "content=cold").otherwise("content=warm"),
    )
    return Task(
        Inputs(exposures.LABEL, tuple(feature_names(settings)), CROSSES),
        partial(exposures.labelled, settings=settings),
        F.to_date("event_time"),
        timedelta(hours=settings.label_hours),
        "event_id",
        "exposures",
        segments,
        (*(f"{of}_engagement_{longest}" for of in entities), f"user_exposures_{longest}", *_INFERRED, "log_position"),
        f"content_engagement_{longest}",
    )


def returning(settings: EngagementSettings) -> Task:
    """Return what is learnt of people's days."""
    inputs = returns.inputs(settings)
    longest = settings.half_lives_days.index(max(settings.half_lives_days))
    counted = (f"visits_{longest}", f"engagements_{longest}", "days_since_visit", "days_known")
    days = timedelta(days=returns.DAYS)
    return Task(
        inputs, returns.labelled, F.col("day"), days, "row_id", "days of people", F.array(F.lit("all")), counted
    )
