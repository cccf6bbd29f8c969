"""Settles event days: a day's events of every delivery are judged beside one another, and silver is replaced.

Two runs may do so at once. None puts an older reading of bronze over a newer one: before silver is written, and
after, what was read is compared with what is there now, and the days are settled again where it moved.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial, reduce
from math import ceil
from typing import Any
from uuid import uuid4

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.errors import ConflictError
from salience.interactions.day_rules import is_accepted, is_late_in_day, judge_days, looked_at
from salience.interactions.dimensions import RAW_IDS
from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms
from salience.interactions.rules import DAY_RULES
from salience.settings import MAX_FUTURE_DAYS, MAX_LATENESS_DAYS, CleanSettings
from salience.tables import bronze, silver
from salience.tables.contract import Table
from salience.tables.warehouse import CONFLICTS, Commit, PartitionValue, Warehouse, is_in

Note = Callable[[Table, Commit], None]
Where = Mapping[str, Sequence[PartitionValue]]
Verdicts = Mapping[date, Mapping[str, int]]
"""Delivery day -> excluded, accepted, reused ids, and events by day rule."""
_DAY = timedelta(days=1)
_DELIVERIES, _EVENT_DAYS = "deliveries", "event_days"
_BESIDE = ((silver.REJECTED_EVENTS, _DELIVERIES), (silver.EXCLUDED_EVENTS, _EVENT_DAYS))
"""What is written ahead of the accepted events, and what the notes of commits call the days that it is replaced by."""
_READ = (silver.INTERACTIONS, silver.REJECTED_EVENTS, silver.EXCLUDED_EVENTS, bronze.EVENTS, silver.USERS)
"""What a reading notes the versions of; the accepted events first, so that it knows none whose others it does not."""
_UNKNOWN = -2
"""For a version: not noted. -1 stands for none yet."""


@dataclass(frozen=True)
class Judged:
    """Event days judged by one reading of bronze."""

    versions: Mapping[str, int]
    """Of the tables that the verdicts rest on, and of those they will replace, as these were before; by name."""
    deliveries: tuple[date, ...]
    """Days of the deliveries that are settled."""
    event_days: tuple[date, ...]
    rejected: DataFrame
    """Bronze rows of the deliveries that break row rules."""
    events: DataFrame
    """Events of the event days, with their verdicts; kept by the session."""


class EventDays:
    """Settles one platform's event days."""

    def __init__(self, warehouse: Warehouse, key: PseudonymKey, settings: CleanSettings, note: Note) -> None:
        self.warehouse = warehouse
        self.key = key
        self.settings = settings
        self.note = note
        self.platform = key.platform

    @contextmanager
    def judge(
        self, deliveries: Sequence[date], staged: DataFrame | None = None, also: Sequence[date] = ()
    ) -> Iterator[Judged]:
        """Judge the event days that deliveries touch, and those of deliveries that a dead run did not settle.

        Args:
            deliveries: their days.
            staged: rows that stand for what bronze holds of these deliveries; none to judge what it holds.
            also: event days to judge even if nothing seems to touch them.
        """
        # Exactly these are read: a frame of the newest would be read anew, and otherwise, behind the first commit.
        versions = {str(table): self._newest(table) for table in _READ}
        recent = self._recent_readings()
        torn_deliveries, torn_days = self._torn(recent)
        settled = sorted({*deliveries, *self._unsettled(recent), *torn_deliveries})
        rows = self._bronze(versions[str(bronze.EVENTS)], deliveries, staged)
        delivered = rows.where(is_in("delivery_date", settled))
        passing = rows.where(F.size("violations") == 0)
        withdrawn = self._withdrawn(versions[str(silver.USERS)])
        reconsidered = self._reconsidered(recent, versions[str(silver.USERS)], withdrawn)
        touched = sorted({*also, *torn_days, *self._dirty_days(delivered, settled, reconsidered)})
        events = self._in_reach(passing, touched, settled).where(looked_at("event_date", touched, self.settings))
        named = with_pseudonyms(self.warehouse.spark, events.drop("violations", "payload"), self.key, RAW_IDS)
        judged = judge_days(named, withdrawn, self._erased(), touched, self.settings).persist()
        try:
            yield Judged(versions, tuple(settled), tuple(touched), delivered.where(F.size("violations") > 0), judged)
        finally:
            judged.unpersist()

    def count(self, judged: Judged, deliveries: Sequence[date]) -> dict[date, dict[str, int]]:
        """Return the verdicts on the events of some deliveries."""
        by_rule = [F.count_if(F.col("reason") == rule.name).alias(rule.name) for rule in DAY_RULES]
        of_deliveries = judged.events.where(is_in("delivery_date", deliveries))
        found = of_deliveries.groupBy("delivery_date").agg(
            F.count_if(~is_accepted()).alias("excluded"),
            F.count_if(is_accepted()).alias("accepted"),
            F.count_if("is_reused").alias("reused"),
            *by_rule,
        )
        counted = {row["delivery_date"]: row.asDict() for row in found.collect()}
        nothing = dict.fromkeys(("excluded", "accepted", "reused", *(rule.name for rule in DAY_RULES)), 0)
        return {day: {name: counted.get(day, nothing)[name] for name in nothing} for day in deliveries}

    def write(self, judged: Judged, own: int | None = None) -> bool:
        """Replace in silver what was judged; return whether it was, from first to last, the newest reading of bronze.

        Args:
            judged: what to write.
            own: version of bronze that the judged rows themselves made.
        """
        if self._has_moved(judged, own):
            return False
        of_deliveries: Where = {"platform": [self.platform], "delivery_date": list(judged.deliveries)}
        of_days: Where = {"platform": [self.platform], "event_date": list(judged.event_days)}
        about = {
            "platform": self.platform,
            _DELIVERIES: [day.isoformat() for day in judged.deliveries],
            _EVENT_DAYS: [day.isoformat() for day in judged.event_days],
            "bronze": max(judged.versions[str(bronze.EVENTS)], own or 0),
            "reading": uuid4().hex,
            **judged.versions,
        }
        rejected = judged.rejected.withColumnRenamed("violations", "reasons")
        excluded = judged.events.where(~is_accepted())
        erased = F.col("reason") == "erased"
        excluded = excluded.withColumn("user_id", F.when(~erased, F.col("user_id")))
        # Beside a pseudonym, the hash of the raw row would let anybody try raw ids until one fits.
        keyed = with_pseudonyms(self.warehouse.spark, excluded, self.key, {"row_hash": "row_hash"})
        excluded = keyed.withColumn("row_hash", F.conv(F.substring("row_hash", 1, 15), 16, 10).cast("bigint"))
        frames: list[tuple[Table, DataFrame, Where]] = [
            (silver.REJECTED_EVENTS, rejected, of_deliveries),
            (silver.EXCLUDED_EVENTS, excluded, of_days),
            # The last: its commit says that the reading was settled.
            (silver.INTERACTIONS, judged.events.where(is_accepted()), of_days),
        ]
        try:
            for table, frame, where in frames:
                if all(where.values()):
                    columns = frame.select(*(column.name for column in table.columns))
                    self.note(table, self.warehouse.replace(table, columns, where, about))
        except CONFLICTS:
            return False
        return not self._has_moved(judged, own)

    def settle(
        self, deliveries: Sequence[date], event_days: Sequence[date], counted: Sequence[date]
    ) -> dict[date, dict[str, int]]:
        """Settle what deliveries in bronze touch, as often as other runs change it meanwhile; return `count`.

        Args:
            deliveries: their days.
            event_days: those that were written by an older reading, and may hold no sign of these deliveries any more.
            counted: deliveries whose verdicts are counted.

        Raises:
            ConflictError: they kept changing it.
        """
        for _ in range(self.settings.attempts):
            with self.judge(deliveries, also=event_days) as judged:
                counts = self.count(judged, counted)
                if self.write(judged):
                    return counts
                event_days = judged.event_days
        raise ConflictError(
            f"{self.platform}: other runs kept changing what the event days rest on; clean the same days again"
        )

    def _has_moved(self, judged: Judged, own: int | None) -> bool:
        """Return whether what was read has changed since: other deliveries, or what is known of people."""
        taken, people = (self._commits(table, judged.versions[str(table)]) for table in (bronze.EVENTS, silver.USERS))
        return any(version != own for version, _ in taken) or any(people)

    def _commits(self, table: Table, since: int = -1) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield version and note of the platform's commits to a table after a version, newest first."""
        if self.warehouse.exists(table):
            for version, note, _ in self.warehouse.notes_since(table, since):
                if note.get("platform") == self.platform:
                    yield version, note

    def _newest(self, table: Table) -> int:
        return self.warehouse.version(table) if self.warehouse.exists(table) else -1

    def _unsettled(self, recent: Sequence[tuple[int, dict[str, Any]]]) -> set[date]:
        """Return the days of deliveries that bronze holds newer than the oldest of the newest readings.

        Not than the newest: a run that died may have put an older reading over it, and a third one its own over that.
        """
        # Of a warehouse whose older readings noted no versions, the last one.
        noted = [note for _, note in recent if str(silver.INTERACTIONS) in note] or [note for _, note in recent[:1]]
        return self.taken_since(min((note.get("bronze", -1) for note in noted), default=-1))

    def taken_since(self, version: int) -> set[date]:
        """Return the days of deliveries that were taken after a version of bronze."""
        taken = self._commits(bronze.EVENTS, since=version)
        return {date.fromisoformat(day) for _, note in taken for day in note.get("delivery_days", [])}

    def _recent_readings(self) -> list[tuple[int, dict[str, Any]]]:
        """Return version and note of the newest reading that was settled, and of those that it did not know yet.

        Whatever it knew needs no second look: it settled anew what it found torn or judged otherwise.
        """
        recent: list[tuple[int, dict[str, Any]]] = []
        for version, note in self._commits(silver.INTERACTIONS):
            if recent and version <= recent[0][1].get(str(silver.INTERACTIONS), -1):
                break
            recent.append((version, note))
        return recent

    def _torn(self, recent: Sequence[tuple[int, dict[str, Any]]]) -> tuple[set[date], set[date]]:
        """Return deliveries and event days whose rejected or excluded events another reading left than the accepted.

        A run left them that died in between, or is in between now. Where nothing changes there is no commit; so it is
        enough that the accepted ones were written by a reading that knew the commit to the others.
        """
        deliveries, event_days = set[str](), set[str]()
        for table, key in _BESIDE:
            last = _newest_by_day(recent, key)
            known = min((note.get(str(table), -1) for _, note in recent), default=-1)
            for day, (version, note) in _newest_by_day(self._commits(table, since=known), key).items():
                _, end = last.get(day, (-1, {}))
                if note.get("reading") != end.get("reading") and end.get(str(table), -1) < version:
                    deliveries |= set(note[_DELIVERIES])
                    event_days |= set(note[_EVENT_DAYS])
        return {date.fromisoformat(day) for day in deliveries}, {date.fromisoformat(day) for day in event_days}

    def _reconsidered(
        self, recent: Sequence[tuple[int, dict[str, Any]]], people: int, withdrawn: DataFrame | None
    ) -> Callable[[DataFrame, Table], DataFrame]:
        """Return a function: the rows of a table of silver -> those that what is known of consent now contradicts.

        Only people of whom something else is known than when silver was last settled are looked for, from the first
        day that it bears on.

        Args:
            recent: the newest readings of silver.
            people: version of silver.users that counts now.
            withdrawn: who refuses by it.
        """
        versions = {note.get(str(silver.USERS), _UNKNOWN) for _, note in recent}
        # Between two of them a person may have refused, and one of the readings known it.
        known = versions.pop() if len(versions) == 1 else _UNKNOWN
        if known == people:
            return lambda rows, _: rows.limit(0)
        if known == _UNKNOWN:
            return partial(_judged_otherwise, withdrawn=withdrawn)
        try:
            changed = _difference(self._withdrawn(known), withdrawn)
            if changed is None:
                return lambda rows, _: rows.limit(0)
            (first,) = changed.agg(F.min("valid_from").cast("date")).head()  # type: ignore[misc]
        except (PySparkException, Py4JJavaError):
            # That version has been vacuumed, or had other columns.
            return partial(_judged_otherwise, withdrawn=withdrawn)
        whose = changed.select("user_id").distinct()

        def find(rows: DataFrame, table: Table) -> DataFrame:
            theirs = rows.where(F.col("event_date") >= F.lit(first)).join(whose, on="user_id", how="left_semi")
            return _judged_otherwise(theirs, table, withdrawn)

        return find

    def _bronze(self, version: int, deliveries: Sequence[date], staged: DataFrame | None) -> DataFrame:
        if version < 0:
            assert staged is not None, "nothing was ever taken"
            return staged
        stored = self.warehouse.read(bronze.EVENTS, version).where(F.col("platform") == self.platform)
        if staged is None:
            return stored
        return stored.where(~is_in("delivery_date", deliveries)).unionByName(staged)

    def _dirty_days(
        self, delivered: DataFrame, deliveries: Sequence[date], reconsidered: Callable[[DataFrame, Table], DataFrame]
    ) -> list[date]:
        """Return the event days whose verdicts may change.

        They are those of the deliveries' rows; those that silver holds rows of theirs on, which a corrected one may no
        longer have; the day after an event that is so late that it bears on the next; and those of events whose
        person's consent is known otherwise now.
        """
        bears_on_next = F.col("event_time").isNull() | is_late_in_day(self.settings)
        frames = [delivered.where((F.size("violations") == 0) & F.col("event_date").isNotNull())]
        for table in (silver.INTERACTIONS, silver.EXCLUDED_EVENTS):
            if self.warehouse.exists(table):
                rows = self.warehouse.read(table).where(F.col("platform") == self.platform)
                frames.append(rows.where(is_in("delivery_date", deliveries) & self._can_hold(deliveries)))
                frames.append(reconsidered(rows, table))
        days = [frame.select("event_date", bears_on_next.alias("late")) for frame in frames]
        found = reduce(DataFrame.union, days).distinct().collect()
        dirty = {row["event_date"] for row in found} | {row["event_date"] + _DAY for row in found if row["late"]}
        return sorted(dirty)

    def _can_hold(self, deliveries: Sequence[date]) -> Column:
        """Return the condition on event_date that the deliveries can have events of a day; it spares old partitions."""
        if not deliveries:
            return F.lit(False)
        first = min(deliveries) - timedelta(days=MAX_LATENESS_DAYS)
        last = max(deliveries) + timedelta(days=1 + MAX_FUTURE_DAYS)
        return F.col("event_date").between(F.lit(first), F.lit(last))

    def _in_reach(self, passing: DataFrame, touched: Sequence[date], settled: Sequence[date]) -> DataFrame:
        """Return the rows of every delivery that can hold events of the days, and of those that silver has some of."""
        if not touched:
            return passing.limit(0)
        ahead = 2 + ceil(self.settings.future_tolerance_minutes / (24 * 60))
        first = min([min(touched) - timedelta(days=ahead), *settled])
        last = max([max(touched) + timedelta(days=self.settings.max_lateness_days), *settled])
        # Deliveries that were taken under a longer max_lateness_days count too, on the days before as well.
        looked = sorted({*touched, *(day - _DAY for day in touched)})
        for table in (silver.INTERACTIONS, silver.EXCLUDED_EVENTS):
            if self.warehouse.exists(table):
                rows = self.warehouse.read(table).where(F.col("platform") == self.platform)
                span = rows.where(is_in("event_date", looked)).agg(F.min("delivery_date"), F.max("delivery_date"))
                (oldest, newest), *_ = span.collect()
                first, last = min(first, oldest or first), max(last, newest or last)
        return passing.where(F.col("delivery_date").between(F.lit(first), F.lit(last)))

    def _withdrawn(self, version: int) -> DataFrame | None:
        if version < 0:
            return None
        users = self.warehouse.read(silver.USERS, version)
        refusing = users.where((F.col("platform") == self.platform) & ~F.col("consent_analysis"))
        return None if refusing.isEmpty() else refusing.select("user_id", "valid_from", "valid_to")

    def _erased(self) -> DataFrame | None:
        if not self.warehouse.exists(silver.ERASURES):
            return None
        return self.warehouse.read(silver.ERASURES).where(F.col("platform") == self.platform).select("user_id")


def _newest_by_day(commits: Iterable[tuple[int, dict[str, Any]]], key: str) -> dict[str, tuple[int, dict[str, Any]]]:
    """Return day -> version and note of the newest commit whose note names it under the key."""
    newest: dict[str, tuple[int, dict[str, Any]]] = {}
    for version, note in commits:
        for day in note.get(key, ()):
            newest.setdefault(day, (version, note))
    return newest


def _difference(before: DataFrame | None, now: DataFrame | None) -> DataFrame | None:
    """Return the spans that are in one of the frames only; None where there is no frame."""
    if before is None or now is None:
        return now if before is None else before
    signed = before.withColumn("__sign", F.lit(-1)).unionByName(now.withColumn("__sign", F.lit(1)))
    return signed.groupBy(*now.columns).agg(F.sum("__sign").alias("__sign")).where("__sign != 0").drop("__sign")


def _judged_otherwise(rows: DataFrame, table: Table, withdrawn: DataFrame | None) -> DataFrame:
    """Return the rows of silver whose verdict contradicts what is known of their person's consent."""
    excluded = table is silver.EXCLUDED_EVENTS
    is_consent = F.array_contains("reasons", "consent") if excluded else F.lit(False)
    if withdrawn is None:
        return rows.where(is_consent & F.col("user_id").isNotNull())
    in_time = (F.col("event_time") >= F.col("valid_from")) & (
        F.col("valid_to").isNull() | (F.col("event_time") < F.col("valid_to"))
    )
    spans = withdrawn.withColumnRenamed("user_id", "__who")
    known = rows.join(spans, on=(F.col("user_id") == F.col("__who")) & in_time, how="left")
    # Of an erased person silver keeps no id to look for.
    return known.where(F.col("user_id").isNotNull() & (is_consent != F.col("__who").isNotNull())).select(rows["*"])
