"""What cleaning may still touch once old deliveries of events are deleted from bronze.

Silver's event days are made of bronze. Where a delivery that could hold events of a day is gone, the day is frozen: it
is never settled again, whatever calls for it (a late or corrected delivery, a reading that a dead run left torn, a
consent that is known otherwise), for that would lose the rows of what is gone. Deliveries that could hold events of
frozen days are refused. Only a refusal of consent still reaches frozen days: `withdraw` takes its events out of silver.
A refusal that is taken back brings none of a frozen day back, for excluded events are kept without their details.

Deliveries of all other datasets stay in bronze: dimensions are made of all of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import functions as F

from salience.errors import InputError
from salience.interactions.consent import contradicted, withdrawn
from salience.interactions.readings import EVENT_DAYS, Readings
from salience.settings import AHEAD_DAYS, CleanSettings
from salience.sources.deliveries import Delivery
from salience.tables import bronze, silver
from salience.tables.contract import Table
from salience.tables.partitions import is_in
from salience.tables.retention import deleted_before
from salience.tables.staged import Commit
from salience.tables.warehouse import Warehouse

_EVENT = ["platform", "event_id", "event_time"]


@dataclass(frozen=True)
class CutOff:
    """Up to where deliveries of events are gone from bronze: those of earlier days than `kept_from`; None for none."""

    kept_from: date | None

    @property
    def frozen_before(self) -> date:
        """Event days before this one may have, or may bear on, events of deliveries that are gone."""
        return self.kept_from + timedelta(days=AHEAD_DAYS) if self.kept_from else date.min

    def kept(self, deliveries: Iterable[date]) -> list[date]:
        """Return the days of deliveries that are not gone, sorted."""
        return sorted(day for day in deliveries if self.kept_from is None or day >= self.kept_from)

    def open(self, event_days: Iterable[date]) -> list[date]:
        """Return the event days that may be settled, sorted."""
        return sorted(day for day in event_days if day >= self.frozen_before)


def cut_off(warehouse: Warehouse, platform: str) -> CutOff:
    """Return what bronze keeps by now. Whoever reads bronze has to ask after that: the ledger is written first."""
    return CutOff(deleted_before(warehouse, bronze.EVENTS, [platform]))


def refuse_closed(warehouse: Warehouse, found: Sequence[Delivery], settings: CleanSettings) -> list[Delivery]:
    """Return one dataset's deliveries; those that could hold events of frozen days are refused."""
    events = [delivery for delivery in found if delivery.dataset == "interactions"]
    if not events:
        return list(found)
    cut = cut_off(warehouse, events[0].platform)
    if cut.kept_from is None:
        return list(found)
    closed_before = cut.frozen_before + timedelta(days=settings.max_lateness_days)
    why = (
        f"older than what bronze keeps (retention.bronze_days): deliveries before {closed_before} may hold events of "
        "days whose other deliveries are deleted; what silver holds of them stays"
    )
    return [d.refused(why) if d.is_complete and d.day < closed_before else d for d in found]


def require_settled(warehouse: Warehouse, before: date) -> None:
    """Check that nothing of what bronze is about to lose still has to be settled.

    Args:
        warehouse: the tables.
        before: deliveries of earlier days go.

    Raises:
        InputError: a run died before it settled a delivery, or an event day that will be frozen.
    """
    if not warehouse.exists(bronze.EVENTS):
        return
    cut = CutOff(before)
    old = warehouse.read(bronze.EVENTS).where(F.col("delivery_date") < F.lit(cut.frozen_before))
    passing = old.where(F.size("violations") == 0)
    for (platform,) in old.select("platform").distinct().orderBy("platform").collect():
        left = Readings(warehouse, platform).left()
        waiting = is_in("delivery_date", sorted(left.deliveries)) & (F.col("platform") == platform)
        torn = [day for day in left.event_days if day < cut.frozen_before]
        if torn or not passing.where(waiting).isEmpty():
            raise InputError(
                f"{platform}: a run died before it settled all of its deliveries before {cut.frozen_before}; clean any "
                "day of its interactions first (jobs/clean_interactions.py), which settles them"
            )


def withdraw(
    warehouse: Warehouse,
    platform: str,
    versions: Mapping[str, int],
    known: Callable[[], int | None],
    note: Callable[[Table, Commit], None],
) -> None:
    """Take the events of frozen days whose people refused analysis by then out of silver.interactions.

    They become excluded events, as if their day had been settled anew. Both commits name the event days, so that what
    is measured from them is measured anew, but no platform, so that they pass for no reading of bronze: a run that dies
    in between leaves them to be found again.

    Args:
        warehouse: the tables.
        platform: whose events.
        versions: of the tables by name; silver.users counts.
        known: returns the version of silver.users that silver was judged by; None where that cannot be told.
        note: told of every commit.
    """
    cut = cut_off(warehouse, platform)
    if cut.kept_from is None:
        return
    now = versions[str(silver.USERS)]
    find = contradicted(warehouse, platform, known(), now, withdrawn(warehouse, platform, now))
    frozen = (F.col("platform") == platform) & (F.col("event_date") < F.lit(cut.frozen_before))
    refused = find(warehouse.read(silver.INTERACTIONS).where(frozen), silver.INTERACTIONS)
    days = sorted(row[0] for row in refused.select("event_date").distinct().collect())
    if not days:
        return
    accepted = warehouse.read(silver.INTERACTIONS, warehouse.version(silver.INTERACTIONS))
    of_days = accepted.where(is_in("event_date", days) & (F.col("platform") == platform))
    refused = find(of_days, silver.INTERACTIONS).select(*accepted.columns)
    # Row by row: whole days would bring back what an erasure takes out of them at this moment.
    moved = refused
    if warehouse.exists(silver.ERASURES):
        gone = warehouse.read(silver.ERASURES).where(F.col("platform") == platform)
        moved = moved.join(gone, on="user_id", how="left_anti")
    kept_from = deleted_before(warehouse, silver.EXCLUDED_EVENTS, [platform])
    if kept_from is not None:
        moved = moved.where(F.col("event_date") >= F.lit(kept_from))
    moved = moved.select(
        "event_date",
        "platform",
        F.lit("consent").alias("reason"),
        F.array(F.lit("consent")).alias("reasons"),
        "event_id",
        "event_time",
        "user_id",
        F.lit(None).cast("string").alias("winner_event_id"),
        "delivery_date",
        # The raw row is gone; this stands for it as well as any number does.
        F.xxhash64("event_id", "event_time", "user_id").alias("row_hash"),
    )
    about = {EVENT_DAYS: [day.isoformat() for day in days]}
    listed = ", ".join(f"DATE'{day}'" for day in days)
    same = " AND ".join(f"stored.{name} = given.{name}" for name in _EVENT)
    here = f"stored.platform = '{platform}' AND stored.event_date IN ({listed}) AND {same}"
    missing = warehouse.insert_missing(silver.EXCLUDED_EVENTS, moved, f"{here} AND stored.reason = 'consent'", about)
    note(silver.EXCLUDED_EVENTS, missing)
    note(silver.INTERACTIONS, warehouse.merge(silver.INTERACTIONS, refused.select(*_EVENT), here, None, about))
