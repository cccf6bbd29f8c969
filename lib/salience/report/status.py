"""What ran, what was checked, what came in and what is in force, as the ledgers tell it; and what is wrong with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from salience.tables import ops, releases
from salience.tables.contract import Table
from salience.tables.warehouse import Warehouse

_TAKEN = "taken"
_LOOKED_BACK = timedelta(days=7)


@dataclass(frozen=True)
class Finding:
    """One line about one thing; `problem` is empty where all is well."""

    line: str
    problem: str = ""


def status(warehouse: Warehouse, day: date, platforms: Sequence[str]) -> dict[str, list[Finding]]:
    """Return what is found by heading: runs, audits, deliveries, releases.

    Late is a platform whose interactions of the day, or a later one, were not taken, and a release in force that looks
    at no such day. Failed is a job whose newest run did, an audit that the newest run of a job made, and a delivery of
    the week up to the day that was looked at and not taken.

    Args:
        warehouse: the tables.
        day: the last day that ought to be known.
        platforms: that ought to deliver.
    """
    runs = newest_by(_read(warehouse, ops.RUNS), ["job"], "ended_at")
    return {
        "runs": [_run(row) for row in runs.orderBy("ended_at").collect()],
        "audits": _audits(_read(warehouse, ops.AUDITS), runs),
        "deliveries": _deliveries(_read(warehouse, ops.DELIVERIES), day, platforms),
        "releases": _releases(warehouse, day),
    }


def problems(found: dict[str, list[Finding]]) -> list[str]:
    """Return all that is late or failed."""
    return [finding.problem for findings in found.values() for finding in findings if finding.problem]


def newest_by(rows: DataFrame, keys: Sequence[str], time: str) -> DataFrame:
    """Return the newest row of each key."""
    newest = Window.partitionBy(*keys).orderBy(F.col(time).desc())
    return rows.withColumn("_place", F.row_number().over(newest)).where("_place = 1").drop("_place")


def _read(warehouse: Warehouse, table: Table) -> DataFrame:
    return warehouse.read(table) if warehouse.exists(table) else warehouse.frame(table, [])


def _run(row: Row) -> Finding:
    took = (row["ended_at"] - row["started_at"]).total_seconds()
    line = f"{row['job']:<24} {row['status']:<10} {row['ended_at']:%Y-%m-%d %H:%M} after {took:,.0f} s"
    line += f"  {row['release_id'] or ''}"
    failed = row["status"] != "succeeded"
    return Finding(line.rstrip(), f"the last run of {row['job']} failed: {row['error']}" if failed else "")


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


def _releases(warehouse: Warehouse, day: date) -> list[Finding]:
    if not warehouse.exists(ops.RELEASES) or warehouse.read(ops.RELEASES).isEmpty():
        return [Finding("nothing is published", "late: nothing is published")]
    rows = warehouse.read(ops.RELEASES).orderBy(F.col("release_seq").desc()).limit(5).collect()
    lines = (
        f"{row['release_seq']:>6}  {row['release_id']:<14} {row['action']:<9} {row['published_at']:%Y-%m-%d %H:%M}"
        for row in rows
    )
    as_of = releases.as_of_day(rows[0]["release_id"])
    late = f"late: the release in force looks back from {as_of}, not {day}" if as_of < day.isoformat() else ""
    return [Finding(line, late if n == 0 else "") for n, line in enumerate(lines)]


def as_text(found: dict[str, Iterable[Finding]]) -> str:
    """Return the findings for a person, problems marked."""
    lines = []
    for heading, findings in found.items():
        lines += [heading, *(f"{'!' if finding.problem else ' '} {finding.line}" for finding in findings), ""]
    return "\n".join(lines)
