"""Tells cheaply which events the day rules have to look at beside one another; all others are accepted as they are.

Looking at events in their order takes sorting all of them, twice. Nearly all are the only ones of their id, of people
who did little on that day or paused for long, and far from another of the same kind: counting hashes tells that in one
pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from math import ceil, sqrt
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.interactions.rules import MAY_BE_BOT
from salience.settings import BotSettings, CleanSettings

MOST_KEYS = 1_000_000
"""So many keys every task can be given, 8 bytes each; where there are more, all events are looked at."""
_KEY, _TOLD, _OF_SEVERAL = "__key", "__told", "__of_several"
_USER = "raw_user_id"
_SLOTS_A_DAY = 64
_SLOT_S = 24 * 60 * 60 // _SLOTS_A_DAY


@dataclass(frozen=True)
class Suspects:
    """The hashes that more events have than go unsuspected; None where they are too many to be told."""

    keys: DataFrame | None
    settings: CleanSettings

    def split(self, events: DataFrame, besides: DataFrame | None = None) -> tuple[DataFrame, DataFrame]:
        """Return the events that have to be looked at, with `MAY_BE_BOT`, and the others.

        Args:
            events: with bronze's columns.
            besides: user_id of people whose events are all looked at; events then have user_id, too.
        """
        if self.keys is None:
            return events.withColumn(MAY_BE_BOT, F.lit(True)), events.limit(0)
        marked, is_hot = events, []
        for n, key in enumerate((_of_id(), _of_tap(self.settings), _of_day())):
            hot = F.broadcast(self.keys.select(F.col(_KEY).alias(f"{_KEY}{n}")))
            marked = marked.join(hot, on=key == F.col(f"{_KEY}{n}"), how="left")
            is_hot.append(F.col(f"{_KEY}{n}").isNotNull())
        *_, may_be_bot = is_hot
        is_suspect = reduce(or_, is_hot)
        if besides is not None:
            people = besides.select(F.col("user_id").alias("__who")).distinct()
            marked = marked.join(people, on=F.col("user_id") == F.col("__who"), how="left")
            is_suspect |= F.col("__who").isNotNull()
        suspect = marked.where(is_suspect).select(*events.columns, may_be_bot.alias(MAY_BE_BOT))
        return suspect, marked.where(~is_suspect).select(events.columns)


@contextmanager
def suspects(events: DataFrame, settings: CleanSettings) -> Iterator[Suspects]:
    """Count what events share.

    An event is suspect if its id stands in other rows, if its person's day may be a machine's, or if the person did the
    same to the same content before or after. So whatever the rules on copies and double taps compare a suspect event
    with is suspect itself, as are all events of a day that may be a machine's; one that is not suspect is accepted. A
    hash that two things share by chance makes more of them suspect; that two days do is not to be expected of 63 bits.

    Args:
        events: those that the day rules look at, with bronze's columns.
        settings: the rules' thresholds.
    """
    keys = events.select(
        _slot().alias("slot"),
        _who().alias("who"),
        F.explode(F.array(_of_id(), _of_tap(settings), _of_day())).alias(_KEY),
    )
    is_day = F.col(_KEY) % 2 == 0
    told = F.when(is_day, F.col("slot")).otherwise(F.col("who"))
    shared = keys.where(F.col(_KEY).isNotNull()).groupBy(_KEY)
    counted = shared.agg(F.count("*").alias("count"), F.bit_or(told).alias(_TOLD))
    is_hot = F.when(is_day, _may_be_a_machines(settings.bot)).otherwise(F.col("count") > 1)
    is_of_several = ~is_day & (F.col(_TOLD).bitwiseAND(F.shiftrightunsigned(_TOLD, 32)) != 0)
    hot = [counted.where(is_hot).select(_KEY, is_of_several.alias(_OF_SEVERAL)).persist()]
    try:
        number, of_several = hot[0].agg(F.count("*"), F.count_if(_OF_SEVERAL)).collect()[0]
        if of_several and number <= MOST_KEYS:
            hot.append(_with_days_of_several(events, hot[0]).persist())
            number = hot[1].count()
        yield Suspects(hot[-1].select(_KEY) if number <= MOST_KEYS else None, settings)
    finally:
        for keys in hot:
            keys.unpersist()


def _with_days_of_several(events: DataFrame, hot: DataFrame) -> DataFrame:
    """Return the hashes, and those of the days of people who share an id with somebody else.

    Such an event may be a copy of the other's. It counts nowhere then, and the pause beside it is none.
    """
    ids = F.broadcast(hot.where(_OF_SEVERAL).select(F.col(_KEY).alias("__id")))
    days = events.join(ids, on=_of_id() == F.col("__id"), how="left_semi").select(_of_day().alias(_KEY))
    return hot.select(_KEY).union(days).distinct()


def _slot() -> Column:
    """Return a number with one bit set: which part of its day an event lies in. They are 64, of 22.5 minutes each."""
    part = (F.pmod(F.unix_seconds("event_time"), F.lit(24 * 60 * 60)) / _SLOT_S).cast("int")
    return F.call_function("shiftleft", F.lit(1).cast("bigint"), part)


def _who() -> Column:
    """Return 32 bits of a person's hash below their opposites: of two people, some bit is set in both halves."""
    bits = F.xxhash64(_USER).bitwiseAND(F.lit(0xFFFFFFFF))
    return bits.bitwiseOR(F.shiftleft(F.bitwise_not(bits), 32))


def _may_be_a_machines(bot: BotSettings) -> Column:
    """Return whether a person's day may be a machine's, by its number of events and the parts of the day they lie in.

    Few days of many events are, and putting the events of all in order takes long. If n gaps that sum up to t vary by
    less than v (their coefficient of variation), none is longer than t (1/n + v/sqrt(n)): the longest lies at most
    sqrt(n - 1) standard deviations above the mean. Of a day t is less than the day itself, and n at least what the rule
    asks for; so many parts of the day in a row that hold no event last for longer than that. Copies of the person's own
    events lie where these lie.
    """
    gaps = bot.regular_events - 1
    longest = min(1 / gaps + bot.regular_variation / sqrt(gaps), 1)
    paused = F.bin(_TOLD).rlike(f"10{{{ceil(_SLOTS_A_DAY * longest)},}}1")
    many = F.col("count") > min(bot.max_events_per_day, bot.max_events_per_minute)
    return many | ((F.col("count") >= bot.regular_events) & ~paused)


def _of_id() -> Column:
    """Return the hash of an event's id: an odd number, as all but those of days."""
    return F.xxhash64(F.lit("id"), F.col("event_id")).bitwiseOR(F.lit(1))


def _of_tap(settings: CleanSettings) -> Column:
    """Return the hash of what a person did to a content; null where that is no double tap however often."""
    of_same = F.xxhash64(F.lit("same"), F.col(_USER), F.col("content_id"), F.col("action"))
    may_tap = F.col("action").isin(*settings.double_tap.actions) & F.col("content_id").isNotNull()
    return F.when(may_tap, of_same.bitwiseOR(F.lit(1)))


def _of_day() -> Column:
    """Return the hash of a person's day: an even number."""
    return F.shiftleft(F.xxhash64(F.lit("day"), F.col(_USER), F.col("event_date")), 1)
