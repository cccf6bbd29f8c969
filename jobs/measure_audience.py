"""Measure contents and audience on the asked days, and on every other day whose input changed since it was measured.

Reads silver.interactions and silver.users; writes gold.content_daily and gold.audience_daily, each audited while exact,
then without figures about few people (privacy.min_cell_people). Attributes of people that are delivered late reach the
segments of a measured day only when that day is asked for again. A day whose input silver holds only in part, as
retention deletes the rest, keeps what was measured of it.
"""

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.job import Job, run_job
from salience.metrics.audience import MONTH, audience_daily
from salience.metrics.content import content_daily, content_totals
from salience.metrics.stale import Span, plan
from salience.settings import settings_as_json
from salience.tables import activity, audits, retention, silver, suppression
from salience.tables.contract import Table

Rows = Callable[[Sequence[date]], DataFrame]
Totals = Callable[[Sequence[date]], dict[str, int]]


def main(job: Job) -> None:
    settings, platforms = job.settings.metrics, job.settings.platforms
    interactions = job.read(silver.INTERACTIONS).where(F.col("platform").isin(platforms))
    users, silver_notes = job.read(silver.USERS), job.warehouse.notes(silver.INTERACTIONS)
    spans = interactions.groupBy("platform").agg(F.min("event_date"), F.max("event_date")).collect()
    log = {platform: Span(first, last) for platform, first, last in spans}
    if not any(span.first <= job.as_of for span in log.values()):
        raise job.no_past()
    fewest = job.settings.privacy.min_cell_people
    measured_by = f"{platforms} {settings_as_json(settings)} of {fewest} people at least"

    def measure(table: Table, window_days: int, rows: Rows, totals: Totals = lambda _: {}) -> None:
        gold_notes = job.warehouse.notes(table) if job.warehouse.exists(table) else []
        first_whole = retention.first_whole_day(job.warehouse, table, platforms, window_days)
        todo = plan(job.days, log, silver_notes, gold_notes, window_days, measured_by, first_whole)
        place = f"{todo.days[0]} to {todo.days[-1]}"
        job.say(f"measuring {table} on {len(todo.days)} days, {place}")
        measured = rows(todo.days).persist()
        found = audits.audit_days(table, measured, place, totals(todo.days))
        shown = suppression.publishable(table, measured, fewest)
        audits.enforce(job.warehouse, [*found, suppression.audit_suppressed(table, shown, place, fewest)])
        note = todo.note(job.inputs[str(silver.INTERACTIONS)], measured_by)
        job.write_partitions(table, shown, {"platform": platforms, "event_date": todo.days}, note)
        measured.unpersist()

    of_contents = (partial(function, interactions, settings=settings) for function in (content_daily, content_totals))
    measure(activity.CONTENT_DAILY, 1, *of_contents)
    measure(activity.AUDIENCE_DAILY, MONTH, lambda days: audience_daily(interactions, users, days, settings))


if __name__ == "__main__":
    raise SystemExit(run_job(main))
