"""What was known about an exposure the instant before it happened.

Training exposures and candidates go through the same function. An event is known from its own time on: an engagement
counts from the action's time, not from the exposure's that it belongs to, and events at the very instant of the target
do not count. Rows are moved twice: they lie by content (labels, versions, what is known of contents), then by person.
"""

import math
from collections.abc import Sequence
from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.engagement.counters import DECAYED, READ, SINCE, counting, names
from salience.engagement.exposures import end_of
from salience.engagement.interest import Interest, without_interest
from salience.profiles.weights import MICROSECONDS_PER_DAY
from salience.settings import EngagementSettings

LOCAL_HOUR_X_WEEKDAY = "local_hour_x_weekday"
CROSSES = (LOCAL_HOUR_X_WEEKDAY, "platform_x_media_type")
"""The categorical features, as text."""

START_ENGAGED, START_EXPOSED = 1, 20
"""Before a platform's first full day is known, its overall rate is 1 in 20; they stay as one tiny weight after that."""

_FEW_ROWS = 500_000
_EXACT = "decimal(20,15)"
_COUNTED = ("exposed", "engaged")
_UNKNOWN = "unknown"


def feature_names(settings: EngagementSettings) -> list[str]:
    """Return the numeric features: what `features` adds beside CROSSES.

    *_exposures_<h> are log(1 + decayed count), *_engagement_<h> log odds of smoothed decayed engagement rates, by
    half-life, like 7d; exposures_* and *_hours_* are log(1 + x).
    """
    counted = ("content", "creator", *DECAYED)
    by_half_life = [f"{of}_{what}_{label_of(h)}" for of in counted for what in _KINDS for h in settings.half_lives_days]
    return [*by_half_life, *_OTHERS]


_KINDS = ("exposures", "engagement")
_OTHERS = (
    "user_content_exposures",
    "exposures_24h",
    "exposures_7d",
    "user_hours_since_exposure",
    "user_hours_since_engagement",
    "user_creator_hours_since_exposure",
    "content_hours_since_publication",
    "publication_missing",
    "hour_sin",
    "hour_cos",
    "log_position",
    "position_missing",
    "interest",
    "interest_missing",
)


def feature_settings(settings: EngagementSettings) -> dict[str, Any]:
    """Return what the features and labels depend on: a model is of use as long as these are the same."""
    names = {"window_days", "history_days", "label_hours", "positive_actions", "half_lives_days", "prior_exposures"}
    return settings.model_dump(mode="json", include=names)


def with_targets(exposed: DataFrame, targets: DataFrame) -> DataFrame:
    """Return exposures as a timeline on which `targets` ask what is known, beside the exposures themselves.

    Args:
        exposed: from `exposures`.
        targets: columns of `exposed`; what they lack is null.
    """
    asked = targets.withColumn("is_exposure", F.lit(False))
    return exposed.withColumn("is_exposure", F.lit(True)).unionByName(asked, allowMissingColumns=True)


def features(
    timeline: DataFrame, contents: DataFrame, as_of: date, settings: EngagementSettings, interest: Interest | None
) -> DataFrame:
    """Return the rows of a timeline with their features.

    A decayed count weighs an event 2^(-age / half-life). A smoothed rate is (engaged + k r) / (exposed + k), where k is
    `prior_exposures` and r the platform's rate over the UTC days before the row's. Counters of creators know whole
    UTC days only, up to the one before; those of tags add up over the content's tags, by the versions in force.

    Args:
        timeline: read twice, so persist it: `exposures` with any further columns, and is_exposure where `with_targets`
            made it.
        contents: silver.contents, with valid_from and valid_to.
        as_of: last day of the timeline.
        settings: half_lives_days, prior_exposures and window_days are used.
        interest: factors of people and contents as of several times; None for none.

    Returns:
        The timeline's columns, `feature_names` (double, never null) and CROSSES (string, never null).
    """
    flagged = timeline if "is_exposure" in timeline.columns else timeline.withColumn("is_exposure", F.lit(True))
    own, half_lives = flagged.columns, settings.half_lives_days
    described = _described(flagged, contents)
    known = _known(described if interest is None else interest.of_contents(described), as_of, half_lives)
    daily = _settled(_daily(known, half_lives))
    of_contents = known.select("*", *_earlier(half_lives)).where(~F.col("is_engagement"))
    rated = of_contents.join(F.broadcast(_rates(daily)), ["platform", "day"], how="left")
    of_creators = rated.join(_creators(daily, as_of, half_lives), ["platform", "creator_id", "day"], how="left")
    now = {
        f"creator_{name}_{n}": F.col(f"earlier_{name}_{n}") / F.col(f"weight_{n}")
        for name in _COUNTED
        for n in range(len(half_lives))
    }
    told = _of_contents(settings) | _of_moments() | _crosses() | _for_counting()
    passed = [] if interest is None else ["content_factors"]
    told_columns = (column.alias(name) for name, column in told.items())
    before = of_creators.withColumns(now).select(*own, "rate", *passed, *told_columns)
    # One more move: each person's rows, in order, with nothing but what is still needed.
    by_person = before.repartition("platform", "user_id")
    matched = without_interest(by_person) if interest is None else interest.of_people(by_person)
    counted = _with_counters(matched.sortWithinPartitions("person"), half_lives)
    return counted.withColumns(_of_people(settings)).select(*own, *feature_names(settings), *CROSSES)


def label_of(half_life: float) -> str:
    """Return a half-life in a name: 7d, 12h; a point would part a column from its field."""
    text = f"{half_life:g}d" if half_life == int(half_life) else f"{24 * half_life:g}h"
    return text.replace(".", "_")


def _described(timeline: DataFrame, contents: DataFrame) -> DataFrame:
    """Add what the content's version in force at each row's time says; null where there is none."""
    versions = contents.select(
        "platform", "content_id", "creator_id", "tags", "media_type", "published_at", "valid_from", "valid_to"
    ).alias("version")
    in_force = (
        F.expr("timeline.platform = version.platform AND timeline.content_id = version.content_id")
        & (F.col("version.valid_from") <= F.col("timeline.event_time"))
        & (F.col("version.valid_to").isNull() | (F.col("timeline.event_time") < F.col("version.valid_to")))
    )
    own = [F.col(f"timeline.{name}") for name in timeline.columns if name != "creator_id"]
    return (
        timeline.alias("timeline")
        .join(versions, in_force, how="left")
        .select(
            *own,
            F.coalesce("timeline.creator_id", "version.creator_id").alias("creator_id"),
            F.array_distinct("version.tags").alias("tags"),
            "version.media_type",
            "version.published_at",
        )
    )


def _known(described: DataFrame, as_of: date, half_lives: Sequence[float]) -> DataFrame:
    """Return the rows, and one more for each engagement at its own time, with what each adds to counters.

    Weights are relative to the end of the as-of day; an engagement decays like the exposure that it belongs to.
    """
    timed = described.withColumns({"at": F.unix_micros("event_time"), "engaged_us": F.unix_micros("engaged_at")})
    moment = F.struct(F.col("at").alias("known_us"), F.lit(False).alias("is_engagement"))
    later = F.when(
        F.col("engaged_us").isNotNull(),
        F.struct(F.col("engaged_us").alias("known_us"), F.lit(True).alias("is_engagement")),
    )
    moments = F.explode(F.array_compact(F.array(moment, later))).alias("moment")
    rows = timed.select("*", moments).select("*", "moment.*").drop("moment")
    end = F.unix_micros(end_of(as_of))
    counts = {
        "day": F.to_date(F.timestamp_micros("known_us")),
        "is_shown": F.col("is_exposure") & ~F.col("is_engagement"),
        **{f"weight_{n}": _weight(F.col("at"), end, h) for n, h in enumerate(half_lives)},
    }
    return rows.withColumns(counts)


def _weight(at: Column, end: Column, half_life: float) -> Column:
    """Return what an event at a time weighs at the end of a while, both in microseconds."""
    return F.pow(F.lit(2.0), (at - end) / F.lit(half_life * MICROSECONDS_PER_DAY))


def _earlier(half_lives: Sequence[float]) -> list[Column]:
    """Return the content's counters of what was known strictly before each row, decayed to its time."""
    before = Window.partitionBy("platform", "content_id").orderBy("known_us")
    before = before.rangeBetween(Window.unboundedPreceding, -1)
    return [
        (F.coalesce(F.sum(F.when(is_one, F.col(f"weight_{n}"))).over(before), F.lit(0.0)) / F.col(f"weight_{n}")).alias(
            f"content_{name}_{n}"
        )
        for name, is_one in (("exposed", F.col("is_shown")), ("engaged", F.col("is_engagement")))
        for n in range(len(half_lives))
    ]


def _daily(known: DataFrame, half_lives: Sequence[float]) -> DataFrame:
    """Return platform, creator_id, day, how many were exposed and engaged, and their weights at the end of the day."""
    day_end = F.unix_micros(F.date_add("day", 1).cast("timestamp"))
    # Decimals add up to the same sum in any order.
    weights = [_weight(F.col("at"), day_end, half_life).cast(_EXACT) for half_life in half_lives]
    sums = [
        F.coalesce(F.sum(F.when(is_one, weight)).cast("double"), F.lit(0.0)).alias(f"{name}_{n}")
        for name, is_one in (("exposed", F.col("is_shown")), ("engaged", F.col("is_engagement")))
        for n, weight in enumerate(weights)
    ]
    counts = F.count_if("is_shown").alias("exposed"), F.count_if("is_engagement").alias("engaged")
    return known.groupBy("platform", "creator_id", "day").agg(*counts, *sums)


def _rates(daily: DataFrame) -> DataFrame:
    """Return platform, day, rate: the platform's engagement rate over all earlier days of the history."""
    whole = daily.groupBy("platform", "day").agg(*(F.sum(name).alias(name) for name in ("exposed", "engaged")))
    before = Window.partitionBy("platform").orderBy("day").rowsBetween(Window.unboundedPreceding, -1)
    engaged, exposed = (F.coalesce(F.sum(name).over(before), F.lit(0)) for name in ("engaged", "exposed"))
    return whole.select("platform", "day", ((engaged + START_ENGAGED) / (exposed + START_EXPOSED)).alias("rate"))


def _creators(daily: DataFrame, as_of: date, half_lives: Sequence[float]) -> DataFrame:
    """Return platform, creator_id, day, and `earlier_*`: the weights of all earlier days, at the as-of day's end."""
    before = Window.partitionBy("platform", "creator_id").orderBy("day").rowsBetween(Window.unboundedPreceding, -1)
    day_end = F.unix_micros(F.date_add("day", 1).cast("timestamp"))
    sums = (
        F.sum(F.col(f"{name}_{n}") * _weight(day_end, F.unix_micros(end_of(as_of)), half_life))
        .over(before)
        .alias(f"earlier_{name}_{n}")
        for name in _COUNTED
        for n, half_life in enumerate(half_lives)
    )
    named = daily.where(F.col("creator_id").isNotNull())
    return named.select("platform", "creator_id", "day", *sums)


def _settled(aggregate: DataFrame) -> DataFrame:
    """Return an aggregate of few rows as computed once, so that Spark knows how few: it would guess by the input."""
    found = aggregate.limit(_FEW_ROWS + 1).toArrow()
    return aggregate.sparkSession.createDataFrame(found) if found.num_rows <= _FEW_ROWS else aggregate


def _log_odds(engaged: Column, exposed: Column, settings: EngagementSettings) -> Column:
    k, rate = settings.prior_exposures, F.col("rate")
    return F.log((engaged + rate * k) / (exposed - engaged + (1 - rate) * k))


def _counters(of: str, exposed: str, engaged: str, settings: EngagementSettings) -> dict[str, Column]:
    """Return the features of one key, from decayed sums `<exposed>_<n>` and `<engaged>_<n>`."""
    found = {}
    for n, half_life in enumerate(settings.half_lives_days):
        shown, took = (F.coalesce(f"{name}_{n}", F.lit(0.0)) for name in (exposed, engaged))
        found[f"{of}_exposures_{label_of(half_life)}"] = F.log1p(shown)
        found[f"{of}_engagement_{label_of(half_life)}"] = _log_odds(took, shown, settings)
    return found


def _of_contents(settings: EngagementSettings) -> dict[str, Column]:
    """Return the features of contents and creators."""
    return _counters("content", "content_exposed", "content_engaged", settings) | _counters(
        "creator", "creator_exposed", "creator_engaged", settings
    )


def _of_moments() -> dict[str, Column]:
    """Return the features of time and place."""
    angle = F.col("local_hour") * (2 * math.pi / 24)
    age_h = (F.col("at") - F.unix_micros("published_at")) / F.lit(MICROSECONDS_PER_DAY / 24)
    return {
        # Clocks differ: what is shown before it was published is new.
        "content_hours_since_publication": F.log1p(F.greatest(F.coalesce(age_h, F.lit(0.0)), F.lit(0.0))),
        "publication_missing": F.col("published_at").isNull().cast("double"),
        "hour_sin": F.sin(angle),
        "hour_cos": F.cos(angle),
        "log_position": F.log(F.greatest(F.coalesce("position", F.lit(1)), F.lit(1)).cast("double")),
        "position_missing": F.col("position").isNull().cast("double"),
    }


def _crosses() -> dict[str, Column]:
    media = F.coalesce("media_type", F.lit(_UNKNOWN))
    return {
        LOCAL_HOUR_X_WEEKDAY: F.concat_ws("|", "local_hour", "local_weekday"),
        "platform_x_media_type": F.concat_ws("|", "platform", media),
    }


def _for_counting() -> dict[str, Column]:
    """Return the columns that `counting` reads."""
    return {
        "person": F.xxhash64("platform", "user_id"),
        "at": F.col("at"),
        "engaged_us": F.col("engaged_us"),
        "content": F.xxhash64("content_id"),
        "creator": F.when(F.col("creator_id").isNotNull(), F.xxhash64("creator_id")),
        "tag_hashes": F.transform("tags", lambda tag: F.xxhash64(tag)),  # noqa: PLW0108 - transform counts parameters
    }


def _with_counters(rows: DataFrame, half_lives: Sequence[float]) -> DataFrame:
    """Add `counters.names`; rows are sorted by person, and each person is whole."""
    kept = [f"`{field.name}` {field.dataType.simpleString()}" for field in rows.schema if field.name not in READ]
    added = [f"{name} double" for name in names(len(half_lives))]
    return rows.mapInArrow(counting(half_lives), ", ".join([*kept, *added]))


def _of_people(settings: EngagementSettings) -> dict[str, Column]:
    """Return the features of people: of the sums that `counting` found."""
    found: dict[str, Column] = {}
    for of in DECAYED:
        found |= _counters(of, f"{of}_exposed", f"{of}_engaged", settings)
    never_h = float(24 * settings.window_days)
    hours = {of: F.log1p(F.least(F.coalesce(f"{of}_h", F.lit(never_h)), F.lit(never_h))) for of in SINCE}
    return {
        **found,
        "user_content_exposures": F.log1p("user_content_exposed"),
        "exposures_24h": F.log1p("exposed_24h"),
        "exposures_7d": F.log1p("exposed_7d"),
        "user_hours_since_exposure": hours["user_exposed"],
        "user_hours_since_engagement": hours["user_engaged"],
        "user_creator_hours_since_exposure": hours["user_creator_exposed"],
    }
