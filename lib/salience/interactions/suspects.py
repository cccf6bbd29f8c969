"""Tells cheaply which events the day rules have to look at beside one another; all others are accepted as they are.

Looking at events in their order takes sorting all of them, twice. Nearly all are the only ones of their id, of people
who did little on that day, and far from another of the same kind: counting hashes tells that in one pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, sqrt

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.settings import BotSettings, CleanSettings

MOST_KEYS = 1_000_000
"""So many keys every task can be given, 8 bytes each; where there are more, all events are looked at."""
_KEY, _SLOTS = "__key", "__slots"
_USER = "raw_user_id"
_SLOTS_A_DAY = 64
_SLOT_S = 24 * 60 * 60 // _SLOTS_A_DAY


@dataclass(frozen=True)
class Suspects:
    """The hashes that more events have than go unsuspected; None where they are too many to be told."""

    keys: DataFrame | None
    settings: CleanSettings

    def split(self, events: DataFrame, besides: DataFrame | None = None) -> tuple[DataFrame, DataFrame]:
        """Return the events that have to be looked at, and the others.

        Args:
            events: with bronze's columns.
            besides: user_id of people whose events are all looked at; events then have user_id, too.
        """
        if self.keys is None:
            return events, events.limit(0)
        is_suspect, marked = F.lit(False), events
        for n, key in enumerate(_keys(self.settings)):
            hot = F.broadcast(self.keys.select(F.col(_KEY).alias(f"{_KEY}{n}")))
            marked = marked.join(hot, on=key == F.col(f"{_KEY}{n}"), how="left")
            is_suspect |= F.col(f"{_KEY}{n}").isNotNull()
        if besides is not None:
            people = besides.select(F.col("user_id").alias("__who")).distinct()
            marked = marked.join(people, on=F.col("user_id") == F.col("__who"), how="left")
            is_suspect |= F.col("__who").isNotNull()
        return marked.where(is_suspect).select(events.columns), marked.where(~is_suspect).select(events.columns)


@contextmanager
def suspects(events: DataFrame, settings: CleanSettings) -> Iterator[Suspects]:
    """Count what events share.

    An event is suspect if its id stands in other rows, if its person's day may be a machine's, or if the person did the
    same to the same content before or after. So whatever bears on the verdict of a suspect event is suspect itself, and
    an event that is not is accepted; a hash that two things share by chance only makes more of them suspect.

    Args:
        events: those that the day rules look at, with bronze's columns.
        settings: the rules' thresholds.
    """
    keys = events.select(_slot().alias(_SLOTS), F.explode(F.array(*_keys(settings))).alias(_KEY))
    is_day = F.col(_KEY) % 2 == 0
    shared = keys.where(F.col(_KEY).isNotNull()).groupBy(_KEY)
    counted = shared.agg(F.count("*").alias("count"), F.bit_or(F.when(is_day, F.col(_SLOTS))).alias(_SLOTS))
    is_hot = F.when(is_day, _may_be_a_machines(settings.bot)).otherwise(F.col("count") > 1)
    hot = counted.where(is_hot).select(_KEY).persist()
    try:
        is_few = hot.limit(MOST_KEYS + 1).count() <= MOST_KEYS
        yield Suspects(hot if is_few else None, settings)
    finally:
        hot.unpersist()


def _slot() -> Column:
    """Return a number with one bit set: which part of its day an event lies in. They are 64, of 22.5 minutes each."""
    part = (F.pmod(F.unix_seconds("event_time"), F.lit(24 * 60 * 60)) / _SLOT_S).cast("int")
    return F.call_function("shiftleft", F.lit(1).cast("bigint"), part)


def _may_be_a_machines(bot: BotSettings) -> Column:
    """Return whether a person's day may be a machine's, by its number of events and the parts of the day they lie in.

    Few days of many events are, and putting the events of all in order takes long. If n gaps that sum up to t vary by
    less than v (their coefficient of variation), none is longer than t (1/n + v/sqrt(n)): the squares of the others'
    deviations from the mean are at least what offsets that of the longest. Whoever paused for longer is not regular,
    copies of events or not.
    """
    gaps = bot.regular_events - 1
    longest = min(1 / gaps + bot.regular_variation / sqrt(gaps), 1)
    paused = F.bin(_SLOTS).rlike(f"10{{{ceil(_SLOTS_A_DAY * longest)},}}1")
    many = F.col("count") > min(bot.max_events_per_day, bot.max_events_per_minute)
    return many | ((F.col("count") >= bot.regular_events) & ~paused)


def _keys(settings: CleanSettings) -> list[Column]:
    """Return the hashes of what events may share: their id, a tap, a person's day; only those of days are even."""
    of_same = F.xxhash64(F.lit("same"), F.col(_USER), F.col("content_id"), F.col("action"))
    may_tap = F.col("action").isin(*settings.double_tap.actions) & F.col("content_id").isNotNull()
    return [
        F.xxhash64(F.lit("id"), F.col("event_id")).bitwiseOR(F.lit(1)),
        F.when(may_tap, of_same.bitwiseOR(F.lit(1))),
        F.shiftleft(F.xxhash64(F.lit("day"), F.col(_USER), F.col("event_date")), 1),
    ]
