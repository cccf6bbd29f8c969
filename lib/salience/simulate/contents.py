"""Contents with latent quality and style. Every property is a function of the content's index.

Contents are numbered in the order of posting and take the topics in turn: content `i` has topic `i mod topics`. So an
exposure can draw a content that is already posted, and know all about it, without a join.
"""

import math

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.simulate.draws import index_below, permuted, pick, zipf_rank
from salience.simulate.world import DAY_MS, World

ZIPF_EXPONENT = 0.9
EVERGREEN_SHARE = 0.8
"""Share of exposures that favour a topic's oldest contents; the others favour its newest."""
POSTED_BEFORE_SHARE = 0.6
"""Share of contents posted in the days before the first simulated day."""
POSTED_BEFORE_DAYS = 30
SECOND_TOPIC_SHARE = 0.4
CONTENTS_PER_CREATOR = 10
LANGUAGES = {"en": 0.6, "es": 0.15, "zh": 0.15, "de": 0.1}


def contents(spark: SparkSession, world: World) -> DataFrame:
    """Return one row per content: platform, content (its index), creator, topics, what was posted when, and latents."""
    index = "content"
    topics = F.array_compact(F.array(topic(world, index), second_topic(world, index)))
    numbered = spark.range(0, world.settings.contents, 1, world.settings.partitions).withColumnRenamed("id", index)
    return numbered.select(
        F.lit(world.platform).alias("platform"),
        index,
        creator(world, index).alias("creator"),
        topics.alias("topics"),
        pick(world.uniform("content/kind", index), {"text": 0.55, "image": 0.45}).alias("kind"),
        pick(world.uniform("content/language", index), LANGUAGES).alias("language"),
        duration_ms(world, index).alias("duration_ms"),
        posted_ms(world, index).alias("posted_ms"),
        quality(world, index).alias("quality"),
        F.array(*style(world, index)).alias("style"),
    )


def topic(world: World, index: str) -> Column:
    """Return the first topic's number, 0..topics-1."""
    return F.pmod(index, F.lit(world.settings.topics))


def second_topic(world: World, index: str) -> Column:
    """Return another topic's number, or null for a content with one topic."""
    step = 1 + index_below(world.uniform("content/second_topic", index), world.settings.topics - 1)
    has_two = world.uniform("content/has_second_topic", index) < SECOND_TOPIC_SHARE
    return F.when(has_two, F.pmod(F.col(index) + step, F.lit(world.settings.topics)))


def posted_by(world: World, time_ms: Column) -> Column:
    """Return how many contents are sure to be posted at a time after the start: those of index 0..n-1."""
    new = world.settings.contents - _old(world)
    share = F.least((time_ms - world.start_ms) / F.lit(world.end_ms - world.start_ms), F.lit(1.0))
    return (_old(world) + F.floor(share * new)).cast("bigint")


def posted_in_topic(world: World, topic_number: Column, posted: Column) -> Column:
    """Return how many of the first `posted` contents have that first topic."""
    return F.floor((posted - 1 - topic_number) / F.lit(world.settings.topics)) + 1


def draw_in_topic(world: World, topic_number: Column, in_topic: Column, u: Column) -> Column:
    """Return one of the first `in_topic` contents with that first topic, from a uniform draw.

    Most draws favour the oldest ones, the others the newest: lasting popularity, and attention that moves on.
    """
    is_evergreen = u < EVERGREEN_SHARE
    rest = F.when(is_evergreen, u / EVERGREEN_SHARE).otherwise((u - EVERGREEN_SHARE) / (1 - EVERGREEN_SHARE))
    rank = zipf_rank(rest, in_topic, ZIPF_EXPONENT)
    return F.when(is_evergreen, rank).otherwise(in_topic - 1 - rank) * world.settings.topics + topic_number


def posted_ms(world: World, index: str) -> Column:
    """Return when the content was posted: contents follow one another at even steps with some jitter."""
    old = _old(world)
    new = world.settings.contents - old
    place = F.col(index) + world.uniform("content/posted", index)
    before = (place - old) * (POSTED_BEFORE_DAYS * DAY_MS / old)
    after = (place - old) * ((world.end_ms - world.start_ms) / max(1, new))
    return F.lit(world.start_ms) + F.floor(F.when(F.col(index) < old, before).otherwise(after)).cast("bigint")


def quality(world: World, index: str) -> Column:
    """Return the latent quality, standard normal."""
    return world.normal("content/quality", index)


def style(world: World, index: str) -> tuple[Column, Column]:
    """Return the latent style: two standard normal coordinates that no log shows."""
    return world.normal("content/style/0", index), world.normal("content/style/1", index)


def duration_ms(world: World, index: str) -> Column:
    """Return the length of a video, 6 s to 3 minutes, short ones more often."""
    seconds = 6.0 * F.exp(math.log(30) * F.pow(world.uniform("content/duration", index), F.lit(1.5)))
    return F.floor(seconds * 1000).cast("bigint")


def creator(world: World, index: str) -> Column:
    """Return the creator's index; a creator posts on one first topic."""
    topics = world.settings.topics
    per_topic = max(1, world.settings.contents // (CONTENTS_PER_CREATOR * topics))
    return topic(world, index) + topics * index_below(world.uniform("content/creator", index), per_topic)


def content_number(world: World, index: Column) -> Column:
    """Return the number that the platform knows the content by: it tells nothing of topic and popularity."""
    return permuted(index, world.settings.contents, world.settings.seed) + 1


def _old(world: World) -> int:
    """Return how many contents are older than the first simulated day; each topic has one at least."""
    return max(world.settings.topics, round(world.settings.contents * POSTED_BEFORE_SHARE))
