"""What people do after an exposure: engagement, plays, follows, undo, hiding."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.simulate import contents as c
from salience.simulate.draws import pick, sigmoid
from salience.simulate.world import HOUR_MS, MINUTE_MS, World

FIRST_ACTION = {"like": 0.62, "comment": 0.12, "share": 0.1, "favourite": 0.16}
AFTER_LIKE = {"comment": 0.4, "share": 0.3, "favourite": 0.3}
SECOND_ACTION_SHARE, FOLLOW_SHARE, UNLIKE_SHARE = 0.25, 0.06, 0.05
"""Shares of engaged exposures with a second action and with a follow, and of likes that are taken back."""
FOLLOW_FROM_PROFILE_SHARE = 0.5
"""Share of follows from the creator's page, which name no content."""
HIDE_SHARE = {"of_interest": 0.003, "other": 0.012}
LONGEST_DELAY_MS = 20 * HOUR_MS
"""Engagement follows within 24 hours, second action and undo included."""
ACTIONS = ("impression", "play", "first", "second", "follow", "unlike", "hide")
"""The last digit of an event's number says which of an exposure's events it is."""


def events(exposures: DataFrame, world: World) -> DataFrame:
    """Return one row per clean event that happens before the simulated days end.

    Columns: platform, event (unique number), user, content (null for some follows), creator, action, event_ms,
    utc_offset_min, device, session, slot; for plays watch_ms and duration_ms; for impressions p_engage and engaged.
    """
    user, exposure, content = F.col("user"), F.col("exposure"), F.col("content")
    acted = exposures.withColumns(
        {
            "engaged": world.uniform("exposure/engaged", "user", "exposure") < F.col("p_engage"),
            "first": pick(_draw(world, "first_action"), FIRST_ACTION),
            "engaged_after_ms": _delay_ms(world),
        }
    )
    one_each = acted.withColumn("happening", F.explode(F.array_compact(F.array(*_events(world)))))
    happening = F.col("happening")
    is_impression, is_play = happening["action"] == "impression", happening["action"] == "play"
    all_events = one_each.select(
        "platform",
        ((user * 1_000_000 + exposure) * 10 + happening["ordinal"]).alias("event"),
        "user",
        F.when(~happening["from_profile"], content).alias("content"),
        c.creator(world, "content").alias("creator"),
        happening["action"].alias("action"),
        (F.col("exposure_ms") + happening["delay_ms"]).alias("event_ms"),
        "utc_offset_min",
        "device",
        "session",
        "slot",
        F.when(is_play, _watch_ms(world)).alias("watch_ms"),
        F.when(is_play, c.duration_ms(world, "content")).alias("duration_ms"),
        F.when(is_impression, F.col("p_engage")).alias("p_engage"),
        F.when(is_impression, F.col("engaged")).alias("engaged"),
    )
    return all_events.where(F.col("event_ms") < world.end_ms)


def _events(world: World) -> list[Column]:
    """Return the structs of everything that may follow an exposure, null for what does not."""
    engaged, first, delay = F.col("engaged"), F.col("first"), F.col("engaged_after_ms")
    second = F.when(first == "like", pick(_draw(world, "second_action"), AFTER_LIKE)).otherwise("like")
    has_second = engaged & (_draw(world, "has_second") < SECOND_ACTION_SHARE)
    follows = engaged & (_draw(world, "follows") < FOLLOW_SHARE)
    from_profile = _draw(world, "from_profile") < FOLLOW_FROM_PROFILE_SHARE
    second_delay = delay + 15_000 + _up_to(world, "second_delay", 10 * MINUTE_MS)
    follow_delay = delay + _up_to(world, "follow_delay", HOUR_MS)
    listed = [
        _event("impression", F.lit("impression"), F.lit(0)),
        F.when(engaged, _event("first", first, delay)),
        F.when(has_second, _event("second", second, second_delay)),
        F.when(follows, _event("follow", F.lit("follow"), follow_delay, from_profile)),
        F.when(_hides(world), _event("hide", F.lit("hide"), 1_000 + _up_to(world, "hide_delay", 10_000))),
    ]
    if world.platform == "feed":
        takes_back = engaged & (first == "like") & (_draw(world, "takes_back") < UNLIKE_SHARE)
        later = delay + MINUTE_MS + _up_to(world, "unlike_delay", 30 * MINUTE_MS)
        listed.append(F.when(takes_back, _event("unlike", F.lit("unlike"), later)))
    else:
        play_delay = 500 + _up_to(world, "play_delay", 2_000)
        listed.append(F.when(_plays(world), _event("play", F.lit("play"), play_delay)))
    return listed


def _event(ordinal: str, action: Column, delay_ms: Column, from_profile: Column | None = None) -> Column:
    return F.struct(
        F.lit(ACTIONS.index(ordinal)).alias("ordinal"),
        action.alias("action"),
        delay_ms.cast("bigint").alias("delay_ms"),
        (F.lit(False) if from_profile is None else from_profile).alias("from_profile"),
    )


def _draw(world: World, name: str) -> Column:
    return world.uniform(f"exposure/{name}", "user", "exposure")


def _up_to(world: World, name: str, longest_ms: int) -> Column:
    return F.floor(_draw(world, name) * longest_ms).cast("bigint")


def _delay_ms(world: World) -> Column:
    """Return the time from exposure to engagement: log-normal, median 5 minutes, 20 s at least, 20 hours at most."""
    z = world.normal("exposure/delay", "user", "exposure")
    delay = F.floor(F.exp(1.4 * z) * (5 * MINUTE_MS)).cast("bigint")
    return F.least(F.greatest(delay, F.lit(20_000)), F.lit(LONGEST_DELAY_MS))


def _hides(world: World) -> Column:
    share = F.when(F.col("affinity") > 0, HIDE_SHARE["of_interest"]).otherwise(HIDE_SHARE["other"])
    return ~F.col("engaged") & (_draw(world, "hides") < share)


def _plays(world: World) -> Column:
    wants = sigmoid(-0.2 + 1.5 * F.col("affinity") + 0.4 * c.quality(world, "content"))
    return F.col("engaged") | (_draw(world, "plays") < wants)


def _watch_ms(world: World) -> Column:
    """Return how long a video is watched; the share watched grows with affinity, and some watch to the end."""
    share = F.least(F.lit(1.0), 1.15 * F.pow(_draw(world, "watched"), 1.0 / (0.6 + 1.5 * F.col("affinity"))))
    return F.floor(c.duration_ms(world, "content") * share).cast("bigint")
