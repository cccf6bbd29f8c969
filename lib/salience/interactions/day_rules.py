"""Day rules: they judge the events of a day beside one another, whatever the order of their deliveries."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.interactions.rules import (
    DAY_RULES,
    EVENTS_OF_DAY,
    GAPS_MS,
    IS_ERASED,
    IS_TOO_FAST,
    IS_WITHDRAWN,
    MAY_BE_BOT,
    PLACE,
    SINCE_SAME_S,
    SQUARED_GAPS_MS2,
)
from salience.settings import CleanSettings
from salience.sources.typed import names_where
from salience.tables.partitions import is_in

_MINUTE_US = 60_000_000


def looked_at(event_date: str, days: Sequence[date], settings: CleanSettings) -> Column:
    """Return the condition that an event lies on one of the days, or so shortly before it that it bears on it."""
    before = [day - timedelta(days=1) for day in days if day - timedelta(days=1) not in days]
    return is_in(event_date, days) | (is_in(event_date, before) & is_late_in_day(settings))


def is_late_in_day(settings: CleanSettings) -> Column:
    """Return the condition that an event lies so shortly before midnight that it bears on the next day's verdicts."""
    seconds_left = F.unix_timestamp(F.date_add(F.col("event_time").cast("date"), 1)) - F.unix_timestamp("event_time")
    return seconds_left <= settings.double_tap.seconds + 1


def judge_days(
    events: DataFrame,
    withdrawn: DataFrame | None,
    erased: DataFrame | None,
    days: Sequence[date],
    settings: CleanSettings,
) -> DataFrame:
    """Return the days' events with `reasons` (empty for an accepted one), `reason`, `winner_event_id`, `is_reused`.

    An event is (platform, event_id, event_time). Among its copies the one with the smallest (delivery_date, row_hash)
    wins, so the verdict does not depend on the order in which deliveries were taken. The copies bear on no other rule.
    An id that comes again at another time is another event; `is_reused` marks it.

    Args:
        events: one platform's events that pass the row rules and are `looked_at`, under pseudonyms; and `MAY_BE_BOT`.
        withdrawn: user_id, valid_from, valid_to: when people refused analysis; a person's spans do not overlap.
        erased: user_id of erased people.
        days: the days to judge.
        settings: the rules' thresholds.
    """
    by_id = events.repartition("event_id")
    order = ("event_time", "delivery_date", "row_hash", "source_file")
    place = F.row_number().over(Window.partitionBy("event_id", "event_time").orderBy(*order[1:]))
    is_reused = F.lag("event_time").over(Window.partitionBy("event_id").orderBy(*order)) != F.col("event_time")
    placed = by_id.withColumn(PLACE, place).withColumn("is_reused", F.coalesce(is_reused, F.lit(False)))
    # One shuffle for all that is known and counted per person.
    known = _with_consent(placed.repartition("user_id"), withdrawn, erased)
    known = _with_tallies(known, settings.bot.max_events_per_minute)
    reasons = names_where({rule.name: rule.broken(settings) for rule in DAY_RULES})
    judged = known.where(is_in("event_date", days)).withColumn("reasons", reasons)
    judged = judged.withColumn("reason", F.get("reasons", F.lit(0)))
    winner = F.when(F.col("reason") == "duplicate", F.col("event_id"))
    winner = winner.when(F.col("reason") == "double_tap", F.col("__same_before"))
    judged = judged.withColumn("winner_event_id", winner)
    kept = (name for name in events.columns if name != MAY_BE_BOT)
    return judged.select(*kept, "reasons", "reason", "winner_event_id", "is_reused")


def is_accepted() -> Column:
    """Return the condition that a judged event is accepted."""
    return F.col("reason").isNull()


def _with_consent(events: DataFrame, withdrawn: DataFrame | None, erased: DataFrame | None) -> DataFrame:
    known = events
    if withdrawn is None:
        known = known.withColumn(IS_WITHDRAWN, F.lit(False))
    else:
        spans = withdrawn.select(F.col("user_id").alias("__who"), "valid_from", "valid_to")
        before_end = F.col("valid_to").isNull() | (F.col("event_time") < F.col("valid_to"))
        during = (F.col("user_id") == F.col("__who")) & (F.col("event_time") >= F.col("valid_from")) & before_end
        known = known.join(spans, on=during, how="left").withColumn(IS_WITHDRAWN, F.col("__who").isNotNull())
        known = known.drop("__who", "valid_from", "valid_to")
    if erased is None:
        return known.withColumn(IS_ERASED, F.lit(False))
    gone = erased.select(F.col("user_id").alias("__who")).distinct()
    known = known.join(gone, on=F.col("user_id") == F.col("__who"), how="left")
    return known.withColumn(IS_ERASED, F.col("__who").isNotNull()).drop("__who")


def _with_tallies(events: DataFrame, most: int) -> DataFrame:
    """Count what the rules on bots and double taps ask for; copies of an event are left out of every count.

    `most` is how many events 60 seconds may hold.
    """
    is_copy = F.col(PLACE) > 1
    micros = F.unix_micros("event_time")
    of_day = Window.partitionBy("user_id", "event_date", "__is_copy")
    in_order = of_day.orderBy("__micros", "event_id")
    same = Window.partitionBy("user_id", "content_id", "action", "__is_copy").orderBy("__micros", "event_id")
    gap_ms = F.floor((F.col("__micros") - F.lag("__micros").over(in_order)) / 1000)
    # A follow without a content may go to any account, so it is like no other.
    has_same = ~is_copy & F.col("content_id").isNotNull()
    return (
        events.withColumn("__is_copy", is_copy)
        .withColumn("__micros", micros)
        .withColumn("__gap_ms", gap_ms)
        # One event more than a minute may hold: looking back so many is linear, counting a minute's is not.
        .withColumn("__fast", F.col("__micros") - F.lag("__micros", most).over(in_order) < _MINUTE_US)
        .withColumn(EVENTS_OF_DAY, F.when(~is_copy, F.count("*").over(of_day)))
        .withColumn(IS_TOO_FAST, F.when(~is_copy, F.max("__fast").over(of_day)))
        .withColumn(GAPS_MS, F.sum("__gap_ms").over(of_day))
        .withColumn(SQUARED_GAPS_MS2, F.sum(F.col("__gap_ms") * F.col("__gap_ms")).over(of_day))
        .withColumn(SINCE_SAME_S, F.when(has_same, (F.col("__micros") - F.lag("__micros").over(same)) / 1_000_000))
        .withColumn("__same_before", F.when(has_same, F.lag("event_id").over(same)))
    )
