"""Who is shown what and when, and the planted probability of engagement."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.simulate import contents as c
from salience.simulate.draws import index_below, sigmoid, zipf_rank
from salience.simulate.people import INTEREST_WEIGHTS, offset_min
from salience.simulate.world import DAY_MS, HOUR_MS, MINUTE_MS, TOPIC_EXPONENT, World

IN_INTERESTS_SHARE = 0.6
"""Share of exposures drawn from the person's strong topics; the others are from any topic."""
INSTEAD_EXPONENT = 0.3
"""Skew of the contents that are shown instead of one that the person has already seen."""
SESSION_LENGTH = 8
"""Exposures a session."""

LUNCH, EVENING = (0.25, 12.5, 1.5), (0.6, 20.0, 2.0)
"""Daily rhythm in local time: share of sessions, hour, standard deviation in hours; the rest is spread evenly."""

INTERCEPT = -5.3
AFFINITY, QUALITY, STYLE, PROPENSITY, SLOT = 3.6, 0.6, 0.4, 0.5, -0.03
"""What the log odds of engagement gain per unit of affinity, quality, product of styles, propensity, slot."""
SECOND_TOPIC_AFFINITY = 0.7
"""How much a strong topic counts that is the content's second one."""


def exposures(people: DataFrame, world: World) -> DataFrame:
    """Return one row per exposure of `people.people`, with the planted probability `p_engage`.

    Columns beside those of people: exposure (number within the person), session, slot (from 1), exposure_ms,
    utc_offset_min, content, affinity, p_engage. A content is already posted when it is shown, and rarely comes twice to
    the same person. Exposures of the last sessions may lie after the simulated days; `events.events` leaves them out.
    """
    drawn = _with_content(_timed(people, world), world)
    same = Window.partitionBy("user", "content").orderBy("exposure")
    again = drawn.withColumn("is_repeat", F.row_number().over(same) > 1)
    shown = again.withColumn("content", F.when(F.col("is_repeat"), _any_content(world)).otherwise(F.col("content")))
    described = shown.drop("is_repeat", "posted").withColumn("second_topic", c.second_topic(world, "content"))
    felt = described.withColumn("affinity", affinity(c.topic(world, "content"), F.col("second_topic")))
    return felt.drop("second_topic").withColumn("p_engage", p_engage(world))


def affinity(first_topic: Column, second_topic: Column) -> Column:
    """Return 0..1: how strongly the person is interested in a content's topics (their numbers, null for none)."""
    return F.greatest(_interest_in(first_topic), SECOND_TOPIC_AFFINITY * _interest_in(second_topic))


def p_engage(world: World) -> Column:
    """Return the planted probability that a positive action follows the exposure."""
    style_0, style_1 = c.style(world, "content")
    return sigmoid(
        INTERCEPT
        + AFFINITY * F.col("affinity")
        + QUALITY * c.quality(world, "content")
        + STYLE * (F.col("style_0") * style_0 + F.col("style_1") * style_1)
        + PROPENSITY * F.col("propensity")
        + SLOT * (F.col("slot") - 1)
    )


def _interest_in(topic: Column) -> Column:
    weight = F.lit(0.0)
    for number, value in enumerate(INTEREST_WEIGHTS, start=1):
        weight = F.when(topic == F.col(f"interest_{number}"), F.lit(value)).otherwise(weight)
    return weight


def _timed(people: DataFrame, world: World) -> DataFrame:
    """Explode people into exposures with session, slot and time.

    Each step is a column of its own: Spark would otherwise repeat a draw's expression wherever its value is used.
    """
    numbers = F.when(F.col("exposures") > 0, F.sequence(F.lit(0).cast("bigint"), F.col("exposures") - 1))
    numbered = people.withColumn("exposure", F.explode(numbers))
    slot, day = F.col("slot"), F.col("day")
    sessions = numbered.withColumns(
        {
            "session": F.floor(F.col("exposure") / F.lit(SESSION_LENGTH)).cast("bigint"),
            "slot": (F.pmod("exposure", F.lit(SESSION_LENGTH)) + 1).cast("int"),
        }
    )
    active_days = F.col("last_day") - F.col("first_day") + 1
    dated = sessions.withColumns(
        {
            "day": F.col("first_day") + index_below(world.uniform("session/day", "user", "session"), active_days),
            "kind": world.uniform("session/kind", "user", "session"),
            "z": world.normal("session/hour", "user", "session"),
        }
    )
    moved = F.coalesce(F.col("move_day") <= day, F.lit(False))
    placed = dated.withColumn("now_in", F.when(moved, F.col("region_moved_to")).otherwise(F.col("region")))
    local = placed.withColumns(
        {
            "utc_offset_min": offset_min(F.col("now_in")),
            "local_ms": F.floor(_local_hour(world) * HOUR_MS).cast("bigint"),
        }
    )
    utc_ms = world.start_ms + day * DAY_MS + F.col("local_ms") - F.col("utc_offset_min") * MINUTE_MS
    started = local.withColumn("session_ms", utc_ms)
    # A local day sticks out of the simulated UTC days at either end: such a session moves by a day and keeps its hour.
    shift = (
        F.when(F.col("session_ms") < world.start_ms, DAY_MS).when(F.col("session_ms") >= world.end_ms, -DAY_MS)
    ).otherwise(0)
    pause_ms = 20_000 * (slot - 1) + F.floor(world.uniform("exposure/pause", "user", "exposure") * 15_000)
    timed = started.withColumn("exposure_ms", (F.col("session_ms") + shift + pause_ms).cast("bigint"))
    return timed.drop("day", "kind", "z", "now_in", "local_ms", "session_ms")


def _local_hour(world: World) -> Column:
    """Return the local hour in [0, 24) at which a session starts."""
    kind, z = F.col("kind"), F.col("z")
    anywhere = 24.0 * world.uniform("session/any_hour", "user", "session")
    peaks = (
        F.when(kind < LUNCH[0], LUNCH[1] + LUNCH[2] * z)
        .when(kind < LUNCH[0] + EVENING[0], EVENING[1] + EVENING[2] * z)
        .otherwise(anywhere)
    )
    return F.pmod(peaks + F.col("chronotype"), F.lit(24.0))


def _with_content(timed: DataFrame, world: World) -> DataFrame:
    """Add a posted content, more often than not of the person's strong topics, and how many were `posted` by then."""
    topic = F.col("topic")
    strong = F.array_compact(F.array("interest_1", "interest_2", "interest_3"))
    listed = timed.withColumns({"strong": strong, "posted": c.posted_by(world, F.col("exposure_ms"))})
    of_mine = index_below(world.uniform("exposure/interest", "user", "exposure"), F.size("strong")).cast("int")
    of_all = zipf_rank(world.uniform("exposure/topic", "user", "exposure"), world.settings.topics, TOPIC_EXPONENT)
    in_interests = world.uniform("exposure/in_interests", "user", "exposure") < IN_INTERESTS_SHARE
    themed = listed.withColumn("topic", F.when(in_interests, F.get("strong", of_mine)).otherwise(of_all))
    counted = themed.withColumns(
        {
            "in_topic": c.posted_in_topic(world, topic, F.col("posted")),
            "u": world.uniform("exposure/content", "user", "exposure"),
        }
    )
    content = c.draw_in_topic(world, topic, F.col("in_topic"), F.col("u"))
    return counted.withColumn("content", content).drop("strong", "topic", "in_topic", "u")


def _any_content(world: World) -> Column:
    """Return any posted content, older ones more often; for an exposure that would repeat one."""
    u = world.uniform("exposure/instead", "user", "exposure")
    return zipf_rank(u, F.col("posted"), INSTEAD_EXPONENT)
