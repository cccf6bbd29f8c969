"""The truth that the simulator planted, as frames to write beside the logs. Ids are the platform's own, as text."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.simulate import raw
from salience.simulate.people import INTEREST_WEIGHTS
from salience.simulate.world import World


def exposures(events: DataFrame, world: World) -> DataFrame:
    """Return platform, event_id, raw_user_id, content_id, p_engage and engaged (the drawn outcome) of every exposure.

    `events` is `events.events`: the exposures before any dirt.
    """
    return events.where("action = 'impression'").select(
        "platform",
        raw.event_id(world.platform, F.col("event")).cast("string").alias("event_id"),
        raw.user_id(world.platform, F.col("user")).cast("string").alias("raw_user_id"),
        raw.content_id(world, F.col("content")).cast("string").alias("content_id"),
        "p_engage",
        "engaged",
    )


def contents(contents: DataFrame, world: World) -> DataFrame:
    """Return platform, content_id, topics (main topic first), quality, style and posted_at."""
    return contents.select(
        "platform",
        raw.content_id(world, F.col("content")).cast("string").alias("content_id"),
        F.transform("topics", lambda number: raw.topic_name(world, number)).alias("topics"),
        "quality",
        "style",
        F.timestamp_millis("posted_ms").alias("posted_at"),
    )


def users(people: DataFrame, world: World) -> DataFrame:
    """Return platform, raw_user_id, interests, propensity, style, exposures, and the first and last active day."""
    interests = [
        F.when(
            F.col(f"interest_{number}").isNotNull(),
            F.struct(raw.topic_name(world, F.col(f"interest_{number}")).alias("topic"), F.lit(weight).alias("weight")),
        )
        for number, weight in enumerate(INTEREST_WEIGHTS, start=1)
    ]
    return people.select(
        "platform",
        raw.user_id(world.platform, F.col("user")).cast("string").alias("raw_user_id"),
        F.array_compact(F.array(*interests)).alias("interests"),
        "propensity",
        F.array("style_0", "style_1").alias("style"),
        "exposures",
        *[
            F.date_add(F.lit(world.first_day), F.col(name).cast("int")).alias(name)
            for name in ("first_day", "last_day")
        ],
    )
