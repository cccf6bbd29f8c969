"""Audits of deliveries: the share of each reason, their volume, and that nothing of them is lost."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from math import inf

from pyspark.sql import functions as F

from salience.interactions.rules import Rule
from salience.interactions.staging import ByDay
from salience.interactions.thresholds import audit_shares, audit_volume
from salience.settings import CleanSettings
from salience.sources.deliveries import Delivery
from salience.sources.mapping import BRONZE_TABLES
from salience.tables import ops, silver
from salience.tables.audits import Audit
from salience.tables.contract import Table
from salience.tables.partitions import is_in
from salience.tables.warehouse import Warehouse


def hold(deliveries: Sequence[Delivery], by_day: Mapping[date, Sequence[Audit]], audits: list[Audit]) -> list[Delivery]:
    """Return the deliveries, held where they failed an audit of their day; add these to `audits`."""
    audits += [audit for of_day in by_day.values() for audit in of_day]
    failed = {day: "; ".join(a.short() for a in of_day if not a.passed) for day, of_day in by_day.items()}
    return [d.held(failed[d.day]) if failed.get(d.day) else d for d in deliveries]


def forget(audits: list[Audit], deliveries: Sequence[Delivery], table: Table | None = None) -> None:
    """Take the audits of deliveries out of the list, since they are made anew; those on one table, if it is given."""
    places = {str(delivery) for delivery in deliveries}
    audits[:] = [a for a in audits if a.place not in places or (table is not None and a.table != str(table))]


def share_audits(
    delivery: Delivery, counts: Mapping[str, int], rules: Sequence[Rule], settings: CleanSettings
) -> list[Audit]:
    """Return the audits on the share of a delivery's events that break each of the rules.

    Args:
        delivery: whose events they are.
        counts: `emitted`, and by rule.
        rules: the rules.
        settings: their thresholds.
    """
    table = str(BRONZE_TABLES[delivery.dataset])
    by_reason = {rule.name: counts[rule.name] for rule in rules}
    return audit_shares(table, str(delivery), counts["emitted"], by_reason, settings.thresholds)


def volume_audits(
    warehouse: Warehouse, deliveries: Sequence[Delivery], settings: CleanSettings
) -> dict[date, list[Audit]]:
    """Return the audits on the volume of deliveries, and on columns that their mapping does not know."""
    good = [delivery for delivery in deliveries if delivery.state == "taken"]
    if not good:
        return {}
    weeks = settings.thresholds.volume.weeks
    past = _past_rows(warehouse, good, weeks) | {delivery.day: delivery.rows or 0 for delivery in good}
    audits = {}
    for delivery in good:
        table, place = str(BRONZE_TABLES[delivery.dataset]), str(delivery)
        same_weekday = (delivery.day - timedelta(weeks=n) for n in range(1, weeks + 1))
        known = [past[day] for day in same_weekday if day in past]
        audits[delivery.day] = audit_volume(table, place, delivery.rows or 0, known, settings.thresholds)
        if delivery.added:
            rule = f"columns that the mapping does not know: {', '.join(delivery.added)}"
            audits[delivery.day].append(Audit(table, rule, place, len(delivery.added), inf))
    return audits


def _past_rows(warehouse: Warehouse, deliveries: Sequence[Delivery], weeks: int) -> dict[date, int]:
    """Return the rows of a dataset's deliveries on the same weekdays of some weeks before, as they were last taken."""
    if not warehouse.exists(ops.DELIVERIES):
        return {}
    days = {delivery.day - timedelta(weeks=n) for delivery in deliveries for n in range(1, weeks + 1)}
    of_dataset = (F.col("platform") == deliveries[0].platform) & (F.col("dataset") == deliveries[0].dataset)
    taken = warehouse.read(ops.DELIVERIES).where(of_dataset & (F.col("state") == "taken"))
    same = taken.where(is_in("delivery_date", sorted(days)))
    known = same.select("delivery_date", F.coalesce("rows", "emitted").alias("rows"), "seen_at").collect()
    return {row["delivery_date"]: row["rows"] for row in sorted(known, key=lambda row: row["seen_at"])}


def audit_events(deliveries: Sequence[Delivery], counts: ByDay) -> list[Audit]:
    """Return `audit_counts` of interactions; odd are ids that came before at another time."""
    rule = "event ids that came before at another time, among the events of this run's event days"
    return audit_counts(silver.INTERACTIONS, deliveries, counts, "reused", rule)


def audit_counts(table: Table, deliveries: Sequence[Delivery], counts: ByDay, odd: str, odd_rule: str) -> list[Audit]:
    """Return the audits on what is about to be written: that it is all that was delivered; and what is odd, if any."""
    audits = []
    for delivery in deliveries:
        c = counts[delivery.day]
        lost = abs(c["emitted"] - c["rejected"] - c["excluded"] - c["accepted"])
        rule = "rows lost or made: |emitted - rejected - excluded - accepted|"
        audits.append(Audit(str(table), rule, str(delivery), lost))
        if c[odd]:
            audits.append(Audit(str(table), odd_rule, str(delivery), c[odd], inf))
    return audits
