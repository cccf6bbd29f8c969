"""Measure contents and audience on the asked days, and on every other day whose input changed since it was measured.

Reads silver.interactions and silver.users; writes gold.content_daily and gold.audience_daily. Attributes of people that
are delivered late reach the segments of a measured day only when that day is asked for again.
"""

from collections.abc import Callable, Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.metrics.audience import MONTH, audience_daily
from salience.metrics.content import content_daily
from salience.metrics.stale import Span, plan
from salience.settings import settings_as_json
from salience.tables import activity, silver
from salience.tables.contract import Table


def main(job: Job) -> None:
    settings = job.settings.metrics
    platforms = job.settings.platforms
    interactions = job.read(silver.INTERACTIONS).where(F.col("platform").isin(platforms))
    users = job.read(silver.USERS)
    silver_notes = job.warehouse.notes(silver.INTERACTIONS)
    spans = interactions.groupBy("platform").agg(F.min("event_date"), F.max("event_date")).collect()
    log = {platform: Span(first, last) for platform, first, last in spans}
    if not any(span.first <= job.as_of for span in log.values()):
        raise InputError(f"there are no interactions up to {job.as_of}: run jobs/clean_interactions.py for that time")
    measured_by = f"{platforms} {settings_as_json(settings)}"

    def measure(table: Table, window_days: int, rows: Callable[[Sequence[date]], DataFrame]) -> None:
        gold_notes = job.warehouse.notes(table) if job.warehouse.exists(table) else []
        todo = plan(job.days, log, silver_notes, gold_notes, window_days, measured_by)
        job.say(f"measuring {table} on {len(todo.days)} days, {todo.days[0]} to {todo.days[-1]}")
        note = todo.note(job.inputs[str(silver.INTERACTIONS)], measured_by)
        job.write_partitions(table, rows(todo.days), {"platform": platforms, "event_date": todo.days}, note)

    measure(activity.CONTENT_DAILY, 1, lambda days: content_daily(interactions, days, settings))
    measure(activity.AUDIENCE_DAILY, MONTH, lambda days: audience_daily(interactions, users, days, settings))


if __name__ == "__main__":
    raise SystemExit(run_job(main))
