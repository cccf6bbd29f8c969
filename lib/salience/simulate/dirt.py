"""Spoils and duplicates clean events on purpose, delivers them, and counts what cleaning must find."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.actions import CONTENTLESS_ACTIONS
from salience.settings import CleanSettings
from salience.simulate.draws import index_below, pick
from salience.simulate.world import DAY_MS, MINUTE_MS, World

REASONS = ("missing_user_id", "missing_content_id", "missing_time", "unknown_action", "future_event", "too_late")
"""Kinds of dirt that make a row break the row rule of that name, and no other."""
KINDS = (*REASONS, "late", "duplicate", "duplicate_next_day")
UNKNOWN_ACTION = "unknown"


def deliver(events: DataFrame, world: World, clean: CleanSettings) -> DataFrame:
    """Return one row per delivered row: some events spoilt, some delivered late, some twice.

    Adds `delivery_date`, `verdict` (accepted, duplicate, or the one row rule that the row breaks) and `is_late`
    (delivered after the UTC day of the event). An event has at most one kind of dirt; `events` is `events.events`.
    """
    drawn = events.withColumns(
        {"event_day": world.day_of(F.col("event_ms")), "lag": _lag(world), "drawn": _drawn(world)}
    )
    labelled = drawn.withColumn("dirt", _possible_dirt(world, clean))
    spoilt = labelled.select(
        *[_spoilt(name, world, clean).alias(name) for name in events.columns], "event_day", "lag", "dirt"
    )
    copies = spoilt.withColumn("copy", F.explode(_copies())).withColumn("delivery_date", F.col("copy")["delivery_date"])
    return copies.select(
        *events.columns,
        "delivery_date",
        F.col("copy")["verdict"].alias("verdict"),
        (F.col("delivery_date") > F.col("event_day")).alias("is_late"),
    )


def truth(deliveries: DataFrame) -> DataFrame:
    """Count `deliver`'s rows by their labels, per platform and delivery.

    Columns: platform, delivery_date, emitted, accepted, late (accepted ones), excluded_duplicate, rejected, and one per
    reason of rejection; emitted = accepted + excluded_duplicate + rejected.
    """
    verdict = F.col("verdict")
    return deliveries.groupBy("platform", "delivery_date").agg(
        F.count("*").alias("emitted"),
        F.count_if(verdict == "accepted").alias("accepted"),
        F.count_if((verdict == "accepted") & F.col("is_late")).alias("late"),
        F.count_if(verdict == "duplicate").alias("excluded_duplicate"),
        F.count_if(verdict.isin(*REASONS)).alias("rejected"),
        *[F.count_if(verdict == reason).alias(reason) for reason in REASONS],
    )


def _drawn(world: World) -> Column:
    """Return the kind of dirt that is drawn for the event, or none."""
    share = world.settings.dirt_share
    shares = {kind: share / len(KINDS) for kind in KINDS} | {"none": 1 - share}
    return pick(world.uniform("dirt/kind", "event"), shares)


def _possible_dirt(world: World, clean: CleanSettings) -> Column:
    """Return the drawn kind, or null for none and for one that cleaning would see as another or not at all."""
    drawn = F.col("drawn")
    lag = F.when(drawn == "late", F.col("lag")).otherwise(1)
    # A follow may do without a content, so cleaning would not miss it.
    needs_none = (drawn == "missing_content_id") & F.col("action").isin(*CONTENTLESS_ACTIONS)
    needs_content = drawn.isin("missing_content_id", "unknown_action")
    needs_lag = drawn.isin("late", "duplicate_next_day")
    too_long = (F.date_add("event_day", lag) > F.lit(world.last_day)) | (lag > clean.max_lateness_days)
    impossible = needs_none | (needs_content & F.col("content").isNull()) | (needs_lag & too_long)
    return F.when((drawn != "none") & ~impossible, drawn)


def _lag(world: World) -> Column:
    """Return after how many days a late event is delivered, 1 or 2."""
    return (1 + index_below(world.uniform("dirt/lag", "event"), 2)).cast("int")


def _spoilt(name: str, world: World, clean: CleanSettings) -> Column:
    """Return a column of the events as the row's dirt leaves it."""
    value, dirt = F.col(name), F.col("dirt")
    nulled = {"user": "missing_user_id", "content": "missing_content_id"}
    if name in nulled:
        return F.when(F.coalesce(dirt != nulled[name], F.lit(True)), value)
    if name == "action":
        return F.when(dirt == "unknown_action", F.lit(UNKNOWN_ACTION)).otherwise(value)
    if name == "event_ms":
        ahead = 2 * DAY_MS + clean.future_tolerance_minutes * MINUTE_MS
        behind = (clean.max_lateness_days + F.col("lag") + 1) * F.lit(DAY_MS)
        moved = F.when(dirt == "future_event", value + ahead).when(dirt == "too_late", value - behind)
        return F.when(F.coalesce(dirt != "missing_time", F.lit(True)), F.coalesce(moved, value))
    return value


def _copies() -> Column:
    """Return the deliveries of a row: when, and what cleaning must say to each."""
    dirt, day = F.col("dirt"), F.col("event_day")

    def copy(delivery_date: Column, verdict: Column) -> Column:
        return F.struct(delivery_date.alias("delivery_date"), verdict.alias("verdict"))

    accepted, duplicate = F.lit("accepted"), F.lit("duplicate")
    return (
        F.when(dirt == "late", F.array(copy(F.date_add(day, F.col("lag")), accepted)))
        .when(dirt == "duplicate", F.array(copy(day, accepted), copy(day, duplicate)))
        .when(dirt == "duplicate_next_day", F.array(copy(day, accepted), copy(F.date_add(day, 1), duplicate)))
        .when(dirt.isin(*REASONS), F.array(copy(day, dirt)))
        .otherwise(F.array(copy(day, accepted)))
    )
