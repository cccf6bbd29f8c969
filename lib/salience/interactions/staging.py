"""Reads deliveries once, judges their rows, and keeps them until it is known which are taken."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.interactions.bronze_rows import bronze_rows
from salience.interactions.pseudonyms import PseudonymKey
from salience.interactions.rules import ROW_RULES
from salience.settings import CleanSettings
from salience.sources.deliveries import Delivery
from salience.sources.failures import is_unreadable, reason
from salience.sources.mapping import Dataset, SourceMapping
from salience.sources.typed import FIRST_OF_ROW
from salience.tables.warehouse import is_in

_TOTALS = ("rows", "emitted", "rejected", "passing")
ByDay = Mapping[date, Mapping[str, int]]
"""Delivery day -> name -> events."""


@dataclass(frozen=True)
class Staged:
    """Judged rows of the deliveries that can be read, kept by the session; and what became of every delivery."""

    rows: DataFrame
    """Bronze's columns."""
    outcomes: tuple[Delivery, ...]
    counts: ByDay
    """Events: `emitted`, `rejected`, `passing`, and by row rule."""

    @property
    def deliveries(self) -> list[Delivery]:
        """The deliveries that can be taken."""
        return [delivery for delivery in self.outcomes if delivery.state == "taken"]

    @property
    def days(self) -> list[date]:
        """Their days."""
        return [delivery.day for delivery in self.deliveries]

    def left_with(self, outcomes: Sequence[Delivery]) -> "Staged":
        """Return what is left when some of the deliveries are not taken after all."""
        left = replace(self, outcomes=tuple(outcomes))
        return (
            self if left.days == self.days else replace(left, rows=self.rows.where(is_in("delivery_date", left.days)))
        )


@contextmanager
def staged(
    spark: SparkSession,
    mapping: SourceMapping,
    dataset: Dataset,
    key: PseudonymKey,
    deliveries: Sequence[Delivery],
    settings: CleanSettings,
    erased: DataFrame | None = None,
) -> Iterator[Staged]:
    """Stage the deliveries that look good; those that cannot be read to their end are refused, each by itself."""

    def read(good: Sequence[Delivery]) -> DataFrame:
        return bronze_rows(spark, mapping, dataset, key, good, settings, erased)

    problems: dict[date, str] = {}
    while True:
        outcomes = tuple(d.refused(problems[d.day]) if d.day in problems else d for d in deliveries)
        good = [delivery for delivery in outcomes if delivery.state == "taken"]
        rows = read(good).persist()
        try:
            counts, found = _try_to_count(rows, dataset, good, read)
            if not found:
                yield Staged(rows.drop(FIRST_OF_ROW), outcomes, counts)
                return
            problems |= found
        finally:
            rows.unpersist()


def _try_to_count(
    rows: DataFrame, dataset: Dataset, good: Sequence[Delivery], read: Callable[[Sequence[Delivery]], DataFrame]
) -> tuple[ByDay, dict[date, str]]:
    """Return the counts, or the days of the deliveries that cannot be read and why."""
    try:
        counts = _count(rows, dataset)
    except (PySparkException, Py4JJavaError) as error:
        if not is_unreadable(error):
            raise
        if len(good) == 1:
            return {}, {good[0].day: _blame(error, good[0], read)}
        halves = good[: len(good) // 2], good[len(good) // 2 :]
        found: dict[date, str] = {}
        for half in halves:
            # Kept too, so that every column is read: the bad value may be in one that no count asks for.
            part = read(half).persist()
            found |= _try_to_count(part, dataset, half, read)[1]
            part.unpersist()
        if not found:
            raise
        return {}, found
    nothing = dict.fromkeys((*_TOTALS, *(rule.name for rule in ROW_RULES[dataset])), 0)
    counts = {d.day: counts.get(d.day, nothing) for d in good}
    return counts, {
        d.day: f"{counts[d.day]['rows']} rows were read of the {d.rows} that its files count; clean it again"
        for d in good
        if counts[d.day]["rows"] != d.rows
    }


def _blame(
    error: PySparkException | Py4JJavaError, delivery: Delivery, read: Callable[[Sequence[Delivery]], DataFrame]
) -> str:
    """Return which file of a delivery cannot be read and why; where the error does not name it, each is read alone."""
    for entry in delivery.files:
        if f"/{entry.name}" in str(error):
            return f"{entry.name}: {reason(error)}"
    for entry in delivery.files:
        try:
            read([replace(delivery, path=entry.path, files=(entry,))]).write.format("noop").mode("overwrite").save()
        except (PySparkException, Py4JJavaError) as own:
            if is_unreadable(own):
                return f"{entry.name}: {reason(own)}"
    return reason(error)


def _count(rows: DataFrame, dataset: Dataset) -> dict[date, dict[str, int]]:
    """Count rows by delivery: raw ones, emitted ones, and those that break each row rule."""
    totals = {
        "rows": F.count_if(FIRST_OF_ROW),
        "emitted": F.count("*"),
        "rejected": F.count_if(F.size("violations") > 0),
        "passing": F.count_if(F.size("violations") == 0),
    }
    by_rule = [F.count_if(F.array_contains("violations", rule.name)).alias(rule.name) for rule in ROW_RULES[dataset]]
    found = rows.groupBy("delivery_date").agg(*(total.alias(name) for name, total in totals.items()), *by_rule)
    counted = (row.asDict() for row in found.collect())
    return {row.pop("delivery_date"): row for row in counted}
