"""How jobs measure a gold day table: the asked days, and every other one whose input changed since it was measured."""

from collections.abc import Callable, Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.job import Job
from salience.metrics.stale import Span, plan
from salience.recommend.caching import kept
from salience.tables import audits, retention, silver, suppression
from salience.tables.contract import Table

Rows = Callable[[Sequence[date]], DataFrame]
"""Returns the exact rows of days."""
Totals = Callable[[Sequence[date]], dict[str, int]]
"""Returns what columns have to add up to, over the same days."""


def nothing(_: Sequence[date]) -> dict[str, int]:
    """Return no totals."""
    return {}


class Measuring:
    """Measures from silver.interactions; what is written is audited while exact, then small cells are hidden."""

    def __init__(self, job: Job) -> None:
        """Read silver.interactions of the platforms.

        Raises:
            InputError: there are none up to the as-of day.
        """
        self.job, self.platforms = job, job.settings.platforms
        self.interactions = job.read(silver.INTERACTIONS).where(F.col("platform").isin(self.platforms))
        self._notes = job.warehouse.notes(silver.INTERACTIONS)
        spans = self.interactions.groupBy("platform").agg(F.min("event_date"), F.max("event_date")).collect()
        self._log = {platform: Span(first, last) for platform, first, last in spans}
        if not any(span.first <= job.as_of for span in self._log.values()):
            raise job.no_past()

    def measure(
        self,
        table: Table,
        window_days: int,
        by: str,
        rows: Rows,
        totals: Totals = nothing,
        first_day: date = date.min,
    ) -> None:
        """Measure a table and replace its days.

        Args:
            table: a day table with small cells.
            window_days: days of interactions that a row looks back on, the day itself included.
            by: the settings that the figures depend on.
            rows, totals: see there.
            first_day: days before it stay as they were measured, since something else that they rest on is gone.
        """
        job, fewest = self.job, self.job.settings.privacy.min_cell_people
        measured_by = f"{self.platforms} {by} of {fewest} people at least"
        notes = job.warehouse.notes(table) if job.warehouse.exists(table) else []
        first_whole = retention.first_whole_day(job.warehouse, table, self.platforms, window_days)
        first = max(first_whole or date.min, first_day)
        todo = plan(job.days, self._log, self._notes, notes, window_days, measured_by, first)
        place = f"{todo.days[0]} to {todo.days[-1]}"
        job.say(f"measuring {table} on {len(todo.days)} days, {place}")
        with kept(rows(todo.days)) as measured:
            found = audits.audit_days(table, measured, place, totals(todo.days))
            shown = suppression.publishable(table, measured, fewest)
            audits.enforce(job.warehouse, [*found, suppression.audit_suppressed(table, shown, place, fewest)])
            note = todo.note(job.inputs[str(silver.INTERACTIONS)], measured_by)
            job.write_partitions(table, shown, {"platform": self.platforms, "event_date": todo.days}, note)
