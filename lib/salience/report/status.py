"""What ran, what was checked, what came in and what is in force, as the ledgers tell it; and what is wrong with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from salience.tables import activity, catalog, ops, releases
from salience.tables.contract import Table
from salience.tables.warehouse import Warehouse

_TAKEN = "taken"
_LOOKED_BACK = timedelta(days=7)
_TRAINING, _BETWEEN_TRAININGS = {"learn_confidence", "train_recommender", "train_engagement"}, timedelta(days=8)
_LONGEST_RUN = timedelta(hours=12)
_HOW_THINGS_STAND = ["check_kpis", "measure_drift"]


@dataclass(frozen=True)
class Finding:
    """One line about one thing; `problem` is empty where all is well."""

    line: str
    problem: str = ""


def status(warehouse: Warehouse, day: date, platforms: Sequence[str], now: datetime) -> dict[str, list[Finding]]:
    """Return what is found by heading: runs, audits, deliveries, tables, releases.

    Late is a platform whose interactions of the day, or a later one, were not taken, and a table that knows no such
    day; tables of models may be a week older. Failed is a run that no later one of the same job, for the same days and
    with the same settings, has mended, one that has not ended for half a day (it was killed, or hangs), an audit of
    such a run, and a delivery that was looked at and not taken; all of the week up to the day.

    Args:
        warehouse: the tables.
        day: the last day that ought to be known.
        platforms: that ought to deliver.
        now: the time.
    """
    lately = _read(warehouse, ops.RUNS).where(F.col("started_at") >= F.lit(day - _LOOKED_BACK))
    # Of a run's two rows the one that knows its end.
    runs = _standing(newest_by(lately, ["run_id"], "ended_at"))
    in_force = releases.newest(warehouse)
    return {
        "runs": [_run(row, now) for row in runs.orderBy("started_at").collect()],
        "audits": _audits(_read(warehouse, ops.AUDITS), runs),
        "deliveries": _deliveries(_read(warehouse, ops.DELIVERIES), day, platforms),
        "tables": [*_snapshots(in_force, day), *_day_tables(warehouse, day)],
        "releases": _releases(_read(warehouse, ops.RELEASES)),
    }


def problems(found: dict[str, list[Finding]]) -> list[str]:
    """Return all that is late or failed."""
    return [finding.problem for findings in found.values() for finding in findings if finding.problem]


def newest_by(rows: DataFrame, keys: Sequence[str], time: str) -> DataFrame:
    """Return the newest row of each key."""
    newest = Window.partitionBy(*keys).orderBy(F.col(time).desc())
    return rows.withColumn("_place", F.row_number().over(newest)).where("_place = 1").drop("_place")


def _standing(runs: DataFrame) -> DataFrame:
    """Return the newest run that ended, of each job for the same days with the same settings, and those begun since.

    Of jobs that say how things stand, the newest of all days: the next day's answer takes the place of the last one's.
    """
    days = F.when(~F.col("job").isin(_HOW_THINGS_STAND), F.col("interval_to"))
    alike = Window.partitionBy("job", days, "settings_hash")
    newest_end = F.max(F.when(F.col("ended_at").isNotNull(), F.col("started_at"))).over(alike)
    begun_since = F.coalesce(F.col("started_at") >= newest_end, F.lit(True))
    return runs.withColumn("_stands", begun_since).where("_stands").drop("_stands")


def _read(warehouse: Warehouse, table: Table) -> DataFrame:
    return warehouse.read(table) if warehouse.exists(table) else warehouse.frame(table, [])


def _run(row: Row, now: datetime) -> Finding:
    started, ended = (row[name] and row[name].astimezone(UTC) for name in ("started_at", "ended_at"))
    took = f"after {(ended - started).total_seconds():,.0f} s" if ended else "and goes on"
    line = f"{row['job']:<24} {row['status']:<10} {started:%Y-%m-%d %H:%M} {took:<16} {row['release_id'] or ''}"
    told = row["job"] + (f" for {row['interval_to']}" if row["interval_to"] else "")
    problem = "" if row["status"] == "succeeded" else f"{told} {row['status']}: {row['error']}"
    if ended is None:
        lost = f"{told} started at {started:%Y-%m-%d %H:%M} and has not ended: it was killed, or hangs"
        problem = lost if now - started > _LONGEST_RUN else ""
    return Finding(line.rstrip(), problem)


def _audits(audits: DataFrame, runs: DataFrame) -> list[Finding]:
    """Return what the newest runs' audits say, by job, the failed ones one by one."""
    made = audits.join(F.broadcast(runs.select("run_id", "job")), "run_id")
    counts = made.groupBy("job").agg(F.count("*").alias("made"), F.count_if("passed").alias("passed")).orderBy("job")
    found = [Finding(f"{row['job']:<24} {row['passed']:,} of {row['made']:,} passed") for row in counts.collect()]
    failed = made.where(~F.col("passed")).orderBy("job", "table", "rule", "place").collect()
    return [*found, *map(_failed_audit, failed)]


def _failed_audit(row: Row) -> Finding:
    where = f" of {row['place']}" if row["place"] else ""
    told = f"{row['table']}{where}: {row['rule']} is {row['observed']:g}, at most {row['threshold']:g} passes"
    return Finding(f"  {told}", f"an audit of {row['job']} failed: {told}")


def _deliveries(rows: DataFrame, day: date, platforms: Sequence[str]) -> list[Finding]:
    newest = newest_by(rows, ["platform", "dataset", "delivery_date"], "seen_at")
    taken = newest.where((F.col("state") == _TAKEN) & (F.col("dataset") == "interactions"))
    last: dict[str, date] = dict(taken.groupBy("platform").agg(F.max("delivery_date")).collect())
    found = [_last_delivery(platform, last.get(platform), day) for platform in platforms]
    of_late = F.col("delivery_date").between(day - _LOOKED_BACK, day)
    refused = newest.where((F.col("state") != _TAKEN) & of_late).orderBy("platform", "dataset", "delivery_date")
    return [*found, *map(_refused, refused.collect())]


def _last_delivery(platform: str, last: date | None, day: date) -> Finding:
    line = f"{platform:<24} interactions up to {last or 'never'}"
    return Finding(line, "" if last and last >= day else f"{platform} is late: no interactions of {day} were taken")


def _refused(row: Row) -> Finding:
    told = f"{row['platform']} {row['dataset']} of {row['delivery_date']} is {row['state']}: {row['problem'] or ''}"
    return Finding(f"  {told.rstrip(': ')}", told.rstrip(": "))


def _snapshots(in_force: releases.ReleaseRow | None, day: date) -> list[Finding]:
    """Return from which day each snapshot in force looks back."""
    if in_force is None:
        return [Finding("nothing is published", "late: nothing is published")]
    return [_told(table, date.fromisoformat(releases.as_of_day(of)), day) for table, of in in_force.tables.items()]


def _day_tables(warehouse: Warehouse, day: date) -> list[Finding]:
    """Return the last day of the tables that measure every day."""
    newest = F.max("event_date")
    there = filter(warehouse.exists, (activity.CONTENT_DAILY, activity.AUDIENCE_DAILY))
    last = ((str(table), warehouse.read(table).agg(newest).head()) for table in there)
    return [_told(name, row[0], day) for name, row in last if row and row[0]]


def _told(table: str, known: date, day: date) -> Finding:
    due = day - _BETWEEN_TRAININGS if catalog.by_name(table).made_by in _TRAINING else day
    return Finding(f"{table:<34} knows {known}", f"{table} is late: it knows {known}, not {due}" if known < due else "")


def _releases(rows: DataFrame) -> list[Finding]:
    return [_release(row) for row in rows.orderBy(F.col("release_seq").desc()).limit(5).collect()]


def _release(row: Row) -> Finding:
    at = row["published_at"].astimezone(UTC)
    return Finding(f"{row['release_seq']:>6}  {row['release_id']:<14} {row['action']:<9} {at:%Y-%m-%d %H:%M}")


def as_text(found: dict[str, Iterable[Finding]]) -> str:
    """Return the findings for a person, problems marked."""
    lines = []
    for heading, findings in found.items():
        lines += [heading, *(f"{'!' if finding.problem else ' '} {finding.line}" for finding in findings), ""]
    return "\n".join(lines)
