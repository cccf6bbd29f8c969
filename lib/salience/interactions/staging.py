"""Reads deliveries once, judges their rows, and keeps them until it is known which are taken."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from salience.interactions.bronze_rows import bronze_rows
from salience.interactions.pseudonyms import PseudonymKey
from salience.interactions.rules import ROW_RULES
from salience.settings import CleanSettings
from salience.sources.deliveries import Delivery
from salience.sources.failures import is_unreadable, reason
from salience.sources.mapping import BRONZE_TABLES, Dataset, InteractionsMapping, SourceMapping
from salience.sources.typed import FIRST_OF_ROW
from salience.tables.partitions import is_in
from salience.tables.staged import StagedFiles
from salience.tables.warehouse import Warehouse

_TOTALS = ("rows", "emitted", "rejected", "passing")
ByDay = Mapping[date, Mapping[str, int]]
"""Delivery day -> name -> events."""
Read = Callable[[Sequence[Delivery]], DataFrame]
"""Deliveries -> their rows with bronze's columns and `FIRST_OF_ROW`."""


@dataclass(frozen=True)
class Staged:
    """Judged rows of the deliveries that can be read, in bronze's files; and what became of every delivery."""

    files: StagedFiles | None
    """None where there are no such deliveries."""
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

    @property
    def rows(self) -> DataFrame | None:
        """Their rows, with bronze's columns."""
        return self.files.rows.where(is_in("delivery_date", self.days)) if self.files else None

    def left_with(self, outcomes: Sequence[Delivery]) -> "Staged":
        """Return what is left when some of the deliveries are not taken after all."""
        return replace(self, outcomes=tuple(outcomes))


@contextmanager
def staged(
    warehouse: Warehouse,
    mapping: SourceMapping,
    dataset: Dataset,
    key: PseudonymKey,
    deliveries: Sequence[Delivery],
    settings: CleanSettings,
    erased: DataFrame | None = None,
) -> Iterator[Staged]:
    """Stage the deliveries that look good; those that cannot be read to their end are refused, each by itself."""
    table = BRONZE_TABLES[dataset]

    def read(good: Sequence[Delivery]) -> DataFrame:
        return bronze_rows(warehouse.spark, mapping, dataset, key, good, settings, erased)

    problems: dict[date, str] = {}
    while True:
        outcomes = tuple(d.refused(problems[d.day]) if d.day in problems else d for d in deliveries)
        good = [delivery for delivery in outcomes if delivery.state == "taken"]
        if not good:
            yield Staged(None, outcomes, {})
            return
        try:
            files = warehouse.stage(table, read(good).drop(FIRST_OF_ROW))
        except (PySparkException, Py4JJavaError) as error:
            found = _unreadable(good, read) if is_unreadable(error) else {}
            if not found:
                raise  # it was not the reading that failed
            problems |= found
            continue
        try:
            counts = _counts(files.rows, dataset, good, None if _is_one_a_row(mapping, dataset) else read(good))
            found = {d.day: _too_few(counts[d.day], d) for d in good if counts[d.day]["rows"] != d.rows}
            if not found:
                yield Staged(files, outcomes, counts)
                return
            problems |= found
        finally:
            files.discard()


def _is_one_a_row(mapping: SourceMapping, dataset: Dataset) -> bool:
    """Return whether every raw row stands for one row of ours."""
    part = mapping.datasets[dataset]
    return not (isinstance(part, InteractionsMapping) and part.emit)


def _too_few(counts: Mapping[str, int], delivery: Delivery) -> str:
    return f"{counts['rows']} rows were read of the {delivery.rows} that its files count; clean it again"


def _unreadable(good: Sequence[Delivery], read: Read) -> dict[date, str]:
    """Return the days of the deliveries that cannot be read to their end, and why."""
    try:
        _read_all(read(good))
    except (PySparkException, Py4JJavaError) as error:
        if not is_unreadable(error):
            raise
        if len(good) == 1:
            return {good[0].day: _blame(error, good[0], read)}
        half = len(good) // 2
        return _unreadable(good[:half], read) | _unreadable(good[half:], read)
    return {}


def _read_all(rows: DataFrame) -> None:
    """Read every column: the bad value may be in any."""
    rows.write.format("noop").mode("overwrite").save()


def _blame(error: PySparkException | Py4JJavaError, delivery: Delivery, read: Read) -> str:
    """Return which file of a delivery cannot be read and why; where the error does not name it, each is read alone."""
    for entry in delivery.files:
        if f"/{entry.name}" in str(error):
            return f"{entry.name}: {reason(error)}"
    for entry in delivery.files:
        try:
            _read_all(read([replace(delivery, path=entry.path, files=(entry,))]))
        except (PySparkException, Py4JJavaError) as own:
            if is_unreadable(own):
                return f"{entry.name}: {reason(own)}"
    return reason(error)


def _counts(rows: DataFrame, dataset: Dataset, good: Sequence[Delivery], typed: DataFrame | None) -> ByDay:
    """Count rows by delivery: raw ones, emitted ones, and those that break each row rule.

    Args:
        rows: bronze's.
        dataset: whose rows they are.
        good: their deliveries.
        typed: what raw rows are counted in; None where each is one of `rows`.
    """
    nothing = dict.fromkeys((*_TOTALS, *(rule.name for rule in ROW_RULES[dataset])), 0)
    counts = {delivery.day: dict(nothing) for delivery in good}
    # Few rows break several rules, and those not in many ways.
    for day, rules, number in rows.groupBy("delivery_date", "violations").count().collect():
        for name in ("rows", "emitted", "rejected" if rules else "passing", *rules):
            counts[day][name] = counts[day].get(name, 0) + number
    if typed is not None:
        for day, number in typed.where(FIRST_OF_ROW).groupBy("delivery_date").count().collect():
            counts[day]["rows"] = number
    return counts
