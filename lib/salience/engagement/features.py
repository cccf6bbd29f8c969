"""What was known about an exposure the instant before it happened.

Training exposures and candidates go through the same function. An event is known from its own time on: an engagement
counts from the action's time, not from the exposure's that it belongs to, and events at the very instant of the target
do not count.
"""

import math

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.settings import EngagementSettings

FEATURES = (
    "user_exposures",
    "user_engagement",
    "content_exposures",
    "content_engagement",
    "user_tag_engagement",
    "user_content_exposures",
    "hour_sin",
    "hour_cos",
)
"""The features by name: *_exposures are log(1 + count), *_engagement are log odds of smoothed engagement rates."""

START_ENGAGED, START_EXPOSED = 1, 20
"""Before a platform's first full day is known, its overall rate is 1 in 20; they stay as one tiny weight after that."""


def features(targets: DataFrame, exposed: DataFrame, contents: DataFrame, settings: EngagementSettings) -> DataFrame:
    """Return the targets with their features.

    A smoothed rate is (engaged + k r) / (exposures + k), where k is `prior_exposures` and r the platform's rate over
    the UTC days before the target's. The tag feature takes the best of the content's tags, by the content's version in
    force at the event; a content without tags gets r.

    Args:
        targets: platform, user_id, content_id, event_time, local_hour and any further columns; rows are distinct.
        exposed: the history, from `exposures`.
        contents: silver.contents, with valid_from and valid_to.
        settings: prior_exposures is used.

    Returns:
        The targets' columns and FEATURES, all double, never null.
    """
    timeline = _timeline(targets, exposed)
    rated = timeline.join(F.broadcast(_rates(timeline)), ["platform", "day"], how="left")
    counted = _tagged(rated, contents).select("*", *_earlier("content", "content_id"))
    # From here on every step is partitioned by the person, so that the person's rows move once.
    by_person = counted.select("*", *_earlier("user", "user_id"), *_earlier("user_content", "user_id", "content_id"))
    by_tag = by_person.withColumn("tag", F.explode_outer("tags")).select("*", *_earlier("user_tag", "user_id", "tag"))

    def log_odds(of: str) -> Column:
        k = settings.prior_exposures
        engaged, unengaged = F.col(f"{of}_engaged"), F.col(f"{of}_exposed") - F.col(f"{of}_engaged")
        return F.log((engaged + F.col("rate") * k) / (unengaged + (1 - F.col("rate")) * k))

    tag_log_odds = F.when(F.col("tag").isNull(), F.log(F.col("rate") / (1 - F.col("rate")))).otherwise(
        log_odds("user_tag")
    )
    angle = F.col("target.local_hour") * (2 * math.pi / 24)
    columns = {
        "user_exposures": F.log1p("user_exposed"),
        "user_engagement": log_odds("user"),
        "content_exposures": F.log1p("content_exposed"),
        "content_engagement": log_odds("content"),
        "user_content_exposures": F.log1p("user_content_exposed"),
        "hour_sin": F.sin(angle),
        "hour_cos": F.cos(angle),
    }
    return (
        by_tag.where(F.col("target").isNotNull())
        .groupBy("platform", "user_id", "target")
        .agg(
            F.max(tag_log_odds).alias("user_tag_engagement"),
            # The same in every row of a target.
            *(F.first(column).alias(name) for name, column in columns.items()),
        )
        .select("target.*", *FEATURES)
    )


def _timeline(targets: DataFrame, exposed: DataFrame) -> DataFrame:
    """Return targets, exposures and engagements as rows of one shape: who, what, when, and what to count."""
    who_and_what = ("platform", "user_id", "content_id")
    whole = F.struct(*targets.columns)
    target_type = targets.select(whole.alias("target")).schema["target"].dataType
    no_target = F.lit(None).cast(target_type).alias("target")

    def events(frame: DataFrame, time: str, target: Column, exposed: int, engaged: int) -> DataFrame:
        counts = F.lit(exposed).alias("exposed"), F.lit(engaged).alias("engaged")
        day = F.to_date(time).alias("day")
        return frame.select(*who_and_what, F.unix_micros(time).alias("at"), day, target.alias("target"), *counts)

    asked = events(targets, "event_time", whole, exposed=0, engaged=0)
    shown = events(exposed, "event_time", no_target, exposed=1, engaged=0)
    engaged = events(exposed.where(F.col("engaged_at").isNotNull()), "engaged_at", no_target, exposed=0, engaged=1)
    return asked.unionByName(shown).unionByName(engaged)


def _tagged(timeline: DataFrame, contents: DataFrame) -> DataFrame:
    """Add the tags of the content's version in force at each row's time; null where there is none."""
    versions = contents.select(
        "platform",
        "content_id",
        "tags",
        F.unix_micros("valid_from").alias("valid_from"),
        F.unix_micros("valid_to").alias("valid_to"),
    ).alias("version")
    in_force = (
        F.expr("timeline.platform = version.platform AND timeline.content_id = version.content_id")
        & (F.col("version.valid_from") <= F.col("timeline.at"))
        & (F.col("version.valid_to").isNull() | (F.col("timeline.at") < F.col("version.valid_to")))
    )
    joined = timeline.alias("timeline").join(versions, in_force, how="left")
    return joined.select("timeline.*", F.array_distinct("version.tags").alias("tags"))


def _rates(timeline: DataFrame) -> DataFrame:
    """Return platform, day, rate: the platform's engagement rate over all earlier days of the history."""
    daily = timeline.groupBy("platform", "day").agg(*(F.sum(name).alias(name) for name in ("exposed", "engaged")))
    before = Window.partitionBy("platform").orderBy("day").rowsBetween(Window.unboundedPreceding, -1)
    engaged, exposed = (F.coalesce(F.sum(name).over(before), F.lit(0)) for name in ("engaged", "exposed"))
    return daily.select("platform", "day", ((engaged + START_ENGAGED) / (exposed + START_EXPOSED)).alias("rate"))


def _earlier(name: str, *keys: str) -> tuple[Column, Column]:
    """Return `<name>_exposed` and `<name>_engaged`: events of the same keys strictly before the row's time."""
    before = Window.partitionBy("platform", *keys).orderBy("at").rangeBetween(Window.unboundedPreceding, -1)
    exposed, engaged = (F.coalesce(F.sum(what).over(before), F.lit(0)) for what in ("exposed", "engaged"))
    return exposed.alias(f"{name}_exposed"), engaged.alias(f"{name}_engaged")
