"""The raw schemas of the two platforms, as conf/sources/feed.yaml and video.yaml map them."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.simulate.contents import content_number
from salience.simulate.dirt import UNKNOWN_ACTION
from salience.simulate.world import MINUTE_MS, TOPICS, World

FEED_ACTIONS = {
    **{"impression": "show", "like": "like", "comment": "comment", "share": "repost", "favourite": "fav"},
    **{"follow": "follow", "unlike": "unlike", "hide": "hide", UNKNOWN_ACTION: "dance"},
}
VIDEO_CODES = {
    **{"impression": 1, "play": 2, "like": 3, "comment": 4, "share": 5, "favourite": 6, "follow": 7, "hide": 8},
    UNKNOWN_ACTION: 99,
}
UNREADABLE_TIME = "yesterday"

# Where a platform's numeric ids of people, contents and creators begin.
FIRST_VIEWER, FIRST_ITEM, FIRST_CREATOR = 100_000_000, 500_000_000, 900_000_000


def user_id(platform: str, user: Column) -> Column:
    """Return the platform's own id of a person: text on the feed, a number for videos; null for null."""
    return F.concat(F.lit("u"), _digits(user)) if platform == "feed" else user + FIRST_VIEWER


def content_id(world: World, content: Column) -> Column:
    """Return the platform's own id of a content: text on the feed, a number for videos; null for null."""
    number = content_number(world, content)
    return F.concat(F.lit("p"), _digits(number)) if world.platform == "feed" else number + FIRST_ITEM


def event_id(platform: str, event: Column) -> Column:
    """Return the platform's own id of an event: text on the feed, a number for videos."""
    return F.concat(F.lit("l"), F.lower(F.hex(event))) if platform == "feed" else event


def creator_id(platform: str, creator: Column) -> Column:
    """Return the platform's own id of a creator: text on the feed, a number for videos."""
    return F.concat(F.lit("a"), _digits(creator)) if platform == "feed" else creator + FIRST_CREATOR


def interactions(deliveries: DataFrame, world: World) -> DataFrame:
    """Return the interaction log of one platform, with its delivery day in `dt`; `deliveries` is `dirt.deliver`."""
    return (_feed_interactions if world.platform == "feed" else _video_interactions)(deliveries, world)


def contents(contents: DataFrame, world: World) -> DataFrame:
    """Return the contents dataset with `dt`: the day of posting, the first day for older ones."""
    before = F.col("posted_ms") < world.start_ms
    delivered = F.when(before, F.lit(world.first_day)).otherwise(world.day_of(F.col("posted_ms")))
    topics = F.transform(F.col("topics"), lambda number: topic_name(world, number))
    content, creator = content_id(world, F.col("content")), creator_id(world.platform, F.col("creator"))
    if world.platform == "feed":
        columns: list[Column | str] = [
            content.alias("post_id"),
            creator.alias("author_uid"),
            F.concat_ws(",", topics).alias("topics"),
            "kind",
            F.col("language").alias("lang"),
            iso_time(F.col("posted_ms"), F.lit(0)).alias("posted_at"),
        ]
    else:
        columns = [
            content.alias("item_id"),
            creator.alias("creator_id"),
            topics.alias("tags"),
            "duration_ms",
            "posted_ms",
            "language",
        ]
    return contents.select(*columns, delivered.alias("dt"))


def users(people: DataFrame, world: World) -> DataFrame:
    """Return the users dataset with `dt`: everyone on the first day, those who move once more on that day."""
    first = F.struct(F.lit(world.first_day).alias("dt"), F.col("region").alias("region"))
    move_date = F.date_add(F.lit(world.first_day), F.col("move_day").cast("int"))
    moved = F.when(
        F.col("move_day").isNotNull(), F.struct(move_date.alias("dt"), F.col("region_moved_to").alias("region"))
    )
    rows = people.withColumn("version", F.explode(F.array_compact(F.array(first, moved))))
    region = F.col("version")["region"].alias("region")
    user = user_id(world.platform, F.col("user"))
    if world.platform == "feed":
        registered = iso_time(F.col("registered_ms"), F.lit(0)).alias("registered_at")
        columns: list[Column | str] = [
            user.alias("uid"),
            region,
            "age_band",
            registered,
            (~F.col("opted_out")).alias("personalised"),
        ]
    else:
        columns = [user.alias("viewer_id"), region, "age_band", "opted_out"]
    return rows.select(*columns, F.col("version")["dt"].alias("dt"))


def topic_name(world: World, number: Column) -> Column:
    """Return the word for a topic's number; null for null."""
    names = F.array(*[F.lit(name) for name in TOPICS[: world.settings.topics]])
    return F.get(names, number.cast("int"))


def iso_time(time_ms: Column, utc_offset_min: Column) -> Column:
    """Return ISO 8601 local time with milliseconds and its offset, like 2026-11-01T10:00:00.123+08:00."""
    local = F.timestamp_millis((time_ms + utc_offset_min * MINUTE_MS).cast("bigint"))
    # The session's time zone is UTC, so the shifted time prints as local time.
    clock = F.date_format(local, "yyyy-MM-dd'T'HH:mm:ss.SSS")
    size = F.abs(utc_offset_min)
    hours, minutes = F.floor(size / F.lit(60)).cast("int"), F.pmod(size, F.lit(60)).cast("int")
    sign = F.when(utc_offset_min < 0, F.lit("-")).otherwise(F.lit("+"))
    return F.concat(clock, sign, F.format_string("%02d:%02d", hours, minutes))


def _feed_interactions(deliveries: DataFrame, world: World) -> DataFrame:
    request = F.concat(F.lit("r"), F.lower(F.hex(F.col("event") - F.pmod(F.col("event"), F.lit(10_000_000)))))
    return deliveries.select(
        event_id("feed", F.col("event")).alias("log_id"),
        user_id("feed", F.col("user")).alias("uid"),
        content_id(world, F.col("content")).alias("post_id"),
        creator_id("feed", F.col("creator")).alias("author_uid"),
        _word(FEED_ACTIONS).alias("act"),
        F.coalesce(iso_time(F.col("event_ms"), F.col("utc_offset_min")), F.lit(UNREADABLE_TIME)).alias("ts"),
        "device",
        F.col("slot").alias("slot"),
        F.concat(request, F.lit("-"), F.col("session").cast("string")).alias("req"),
        F.col("delivery_date").alias("dt"),
    )


def _video_interactions(deliveries: DataFrame, world: World) -> DataFrame:
    context = F.struct(
        F.col("device").alias("device"), F.col("utc_offset_min").alias("tz_min"), F.col("slot").alias("pos")
    )
    return deliveries.select(
        event_id("video", F.col("event")).alias("id"),
        user_id("video", F.col("user")).alias("viewer_id"),
        content_id(world, F.col("content")).alias("item_id"),
        _word(VIDEO_CODES).alias("code"),
        F.col("event_ms").alias("event_ms"),
        "watch_ms",
        "duration_ms",
        context.alias("ctx"),
        F.col("delivery_date").alias("dt"),
    )


def _digits(number: Column) -> Column:
    """Return a number as text of at least seven digits; null for null."""
    return F.when(number.isNotNull(), F.format_string("%07d", number))


def _word(words: dict[str, str] | dict[str, int]) -> Column:
    """Return the platform's word or code for the row's action."""
    found = F.lit(None)
    for action, word in words.items():
        found = F.when(F.col("action") == action, F.lit(word)).otherwise(found)
    return found
