"""Settles event days: a day's events of every delivery are judged beside one another, and silver is replaced.

Two runs may do so at once. None puts an older reading of bronze over a newer one: before silver is written, and
after, what was read is compared with what is there now, and the days are settled again where it moved.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial, reduce
from math import ceil
from uuid import uuid4

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.errors import ConflictError
from salience.interactions.consent import Find, contradicted, withdrawn
from salience.interactions.day_rules import is_accepted, is_late_in_day, judge_days, looked_at
from salience.interactions.dimensions import RAW_IDS
from salience.interactions.left_out import excluded_rows, rejected_rows
from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms
from salience.interactions.readings import BRONZE, DELIVERIES, EVENT_DAYS, READING, Readings
from salience.interactions.redaction import erased
from salience.interactions.retention import cut_off, withdraw
from salience.interactions.rules import DAY_RULES
from salience.interactions.suspects import suspects
from salience.settings import MAX_FUTURE_DAYS, MAX_LATENESS_DAYS, CleanSettings
from salience.tables import bronze, silver
from salience.tables.conflicts import CONFLICTS
from salience.tables.contract import Table
from salience.tables.partitions import PartitionValue, is_in
from salience.tables.staged import Commit, StagedFiles
from salience.tables.warehouse import Warehouse
from salience.threads import side_by_side

Note = Callable[[Table, Commit], None]
Where = Mapping[str, Sequence[PartitionValue]]
Verdicts = Mapping[date, Mapping[str, int]]
"""Delivery day -> excluded, accepted, reused ids, and events by day rule."""
_DAY = timedelta(days=1)


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
    suspects: DataFrame
    """Events of the event days that were looked at beside one another, with their verdicts; kept by the session."""
    accepted: StagedFiles
    """Rows of silver.interactions on the event days, in no commit yet."""


class EventDays:
    """Settles one platform's event days."""

    def __init__(self, warehouse: Warehouse, key: PseudonymKey, settings: CleanSettings, note: Note) -> None:
        self.warehouse = warehouse
        self.key = key
        self.settings = settings
        self.note = note
        self.platform = key.platform
        self.readings = Readings(warehouse, key.platform)

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
        versions = self.readings.versions()
        left = self.readings.left()
        cut = cut_off(self.warehouse, self.platform)
        settled = cut.kept({*deliveries, *left.deliveries})
        rows = self._bronze(versions[str(bronze.EVENTS)], deliveries, staged)
        delivered = rows.where(is_in("delivery_date", settled))
        passing = rows.where(F.size("violations") == 0)
        people = versions[str(silver.USERS)]
        refusing = withdrawn(self.warehouse, self.platform, people)
        reconsidered = contradicted(self.warehouse, self.platform, left.people, people, refusing)
        touched = cut.open({*also, *left.event_days, *self._dirty_days(delivered, settled, reconsidered)})
        events = self._in_reach(passing, touched, settled).where(looked_at("event_date", touched, self.settings))
        with self._judged(events.drop("violations", "payload"), refusing, touched) as (suspect, others):
            accepted = suspect.where(is_accepted()).repartition("event_date").select(others.columns).union(others)
            files = self.warehouse.stage(silver.INTERACTIONS, accepted)
            try:
                rejected = delivered.where(F.size("violations") > 0)
                yield Judged(versions, tuple(settled), tuple(touched), rejected, suspect, files)
            finally:
                files.discard()

    @contextmanager
    def _judged(
        self, events: DataFrame, refusing: DataFrame | None, days: Sequence[date]
    ) -> Iterator[tuple[DataFrame, DataFrame]]:
        """Yield the days' suspect events with their verdicts, and all others with silver's columns."""
        gone = erased(self.warehouse, self.platform).people
        watched = [people.select("user_id") for people in (refusing, gone) if people is not None]
        with suspects(events, self.settings) as found:
            named = with_pseudonyms(self.warehouse.spark, events, self.key, RAW_IDS, keep=True)
            suspect, others = found.split(named, reduce(DataFrame.union, watched) if watched else None)
            judged = judge_days(suspect.drop(*RAW_IDS), refusing, gone, days, self.settings).persist()
            columns = [column.name for column in silver.INTERACTIONS.columns]
            try:
                yield judged, others.where(is_in("event_date", days)).select(columns)
            finally:
                judged.unpersist()

    def count(self, judged: Judged, deliveries: Sequence[date]) -> dict[date, dict[str, int]]:
        """Return the verdicts on the events of some deliveries."""
        by_rule = [F.count_if(F.col("reason") == rule.name).alias(rule.name) for rule in DAY_RULES]
        found = judged.suspects.where(is_in("delivery_date", deliveries)).groupBy("delivery_date")
        verdicts = found.agg(
            F.count_if(~is_accepted()).alias("excluded"), F.count_if("is_reused").alias("reused"), *by_rule
        )
        # Counted in the files themselves, so that the sum tells whether all events are in one place.
        accepted = judged.accepted.rows.groupBy("delivery_date").agg(F.count("*").alias("accepted"))
        names = ("excluded", "accepted", "reused", *(rule.name for rule in DAY_RULES))
        counts = {day: dict.fromkeys(names, 0) for day in deliveries}
        for row in (*verdicts.collect(), *accepted.where(is_in("delivery_date", deliveries)).collect()):
            counts[row["delivery_date"]] |= {name: n for name, n in row.asDict().items() if name in names}
        return counts

    def write(self, judged: Judged, own: int | None = None) -> bool:
        """Replace in silver what was judged; return whether it was, from first to last, the newest reading of bronze.

        Args:
            judged: what to write.
            own: version of bronze that the judged rows themselves made.
        """
        if self.readings.has_moved(judged.versions, own):
            return False
        of_deliveries: Where = {"platform": [self.platform], "delivery_date": list(judged.deliveries)}
        of_days: Where = {"platform": [self.platform], "event_date": list(judged.event_days)}
        about = {
            "platform": self.platform,
            DELIVERIES: [day.isoformat() for day in judged.deliveries],
            EVENT_DAYS: [day.isoformat() for day in judged.event_days],
            BRONZE: max(judged.versions[str(bronze.EVENTS)], own or 0),
            READING: uuid4().hex,
            **judged.versions,
        }
        spark = self.warehouse.spark
        rejected = rejected_rows(spark, judged.rejected, self.key, self.settings)
        excluded = excluded_rows(spark, judged.suspects.where(~is_accepted()), self.key)
        beside: list[tuple[Table, DataFrame, Where]] = [
            (silver.REJECTED_EVENTS, rejected, of_deliveries),
            (silver.EXCLUDED_EVENTS, excluded, of_days),
        ]
        try:
            withdraw(self.warehouse, self.platform, judged.versions, lambda: self.readings.left().people, self.note)
        except ConflictError:
            return False

        def replace(table: Table, frame: DataFrame, where: Where) -> None:
            columns = frame.select(*(column.name for column in table.columns))
            self.note(table, self.warehouse.replace(table, columns, where, about))

        try:
            side_by_side(*(partial(replace, *what) for what in beside if all(what[-1].values())))
            if judged.event_days:
                # The last: its commit says that the reading was settled.
                commit = self.warehouse.replace_by_staged(judged.accepted, of_days, about)
                self.note(silver.INTERACTIONS, commit)
        except CONFLICTS:
            return False
        return not self.readings.has_moved(judged.versions, own)

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

    def _bronze(self, version: int, deliveries: Sequence[date], staged: DataFrame | None) -> DataFrame:
        if version < 0:
            assert staged is not None, "nothing was ever taken"
            return staged
        stored = self.warehouse.read(bronze.EVENTS, version).where(F.col("platform") == self.platform)
        if staged is None:
            return stored
        return stored.where(~is_in("delivery_date", deliveries)).unionByName(staged)

    def _dirty_days(self, delivered: DataFrame, deliveries: Sequence[date], reconsidered: Find) -> list[date]:
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
