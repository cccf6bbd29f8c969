"""Finds deliveries, the folders `<logs>/<platform>/<dataset>/<day>`, and tells which can be taken."""

import hashlib
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from time import time

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from salience.sources import files
from salience.sources.failures import in_brief, is_unreadable
from salience.sources.files import FileEntry
from salience.sources.fit import added_columns, misfit, raw_schema, required_columns
from salience.sources.mapping import Dataset, SourceMapping

_READERS = 8
"""Footers read at the same time: each is a short wait for the file system."""


@dataclass(frozen=True)
class Delivery:
    """One day's folder of one dataset: what lies in it, and what is wrong with it, if anything."""

    platform: str
    dataset: Dataset
    day: date
    path: str
    files: tuple[FileEntry, ...]
    is_complete: bool
    rows: int | None = None
    """What the footers of its files count; None where they were not read."""
    added: tuple[str, ...] = ()
    """Columns that the mapping does not know."""
    problem: str | None = None
    is_held: bool = False
    """Whether the problem is a threshold that it is past, rather than a file that cannot be used."""
    is_taken: bool = False
    """Whether it was taken in spite of the problem."""

    def __str__(self) -> str:
        """Return <platform>/<dataset>/<folder>."""
        return f"{self.platform}/{self.dataset}/{self.path.split(f'/{self.platform}/{self.dataset}/', 1)[-1]}"

    @property
    def state(self) -> str:
        """The state for ops.deliveries: taken, incomplete, refused or held."""
        if not self.is_complete:
            return "incomplete"
        if self.problem and not self.is_taken:
            return "held" if self.is_held else "refused"
        return "taken"

    @property
    def manifest_hash(self) -> str:
        """SHA-256 over the files' names, sizes and modification times."""
        lines = "\n".join(f"{f.name} {f.size} {f.modified_ms}" for f in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    def refused(self, problem: str) -> "Delivery":
        """Return the delivery with what makes it unusable."""
        return replace(self, problem=problem)

    def held(self, problem: str) -> "Delivery":
        """Return the delivery with the threshold that it is past."""
        return replace(self, problem=problem, is_held=True)

    def taken_though(self, problem: str) -> "Delivery":
        """Return the delivery, taken, with what is wrong with it."""
        return replace(self, problem=problem, is_taken=True)


def find_deliveries(
    spark: SparkSession, logs: str, mapping: SourceMapping, dataset: Dataset, days: Sequence[date]
) -> list[Delivery]:
    """Return the deliveries of one dataset on these days, each looked into; days without a folder are left out."""
    folder = f"{logs.rstrip('/')}/{mapping.platform}/{dataset}"
    paths = {day: f"{folder}/{mapping.partition.folder(day)}" for day in days}
    found = [_list(spark, mapping, dataset, day, path) for day, path in paths.items() if files.exists(spark, path)]
    complete = [delivery for delivery in found if delivery.is_complete and not delivery.problem]
    entries = [entry for delivery in complete for entry in delivery.files]
    with ThreadPoolExecutor(_READERS) as pool:
        footers = dict(zip(entries, pool.map(lambda entry: _footer(spark, entry), entries), strict=True))
    check = _SchemaCheck(spark, mapping, dataset)
    return [check.look_into(delivery, footers) if delivery in complete else delivery for delivery in found]


def is_as_found(spark: SparkSession, mapping: SourceMapping, delivery: Delivery) -> bool:
    """Return whether a delivery's files are still those that were found: names, sizes, times."""
    now = _list(spark, mapping, delivery.dataset, delivery.day, delivery.path)
    return now.manifest_hash == delivery.manifest_hash


def delivered_days(spark: SparkSession, logs: str, mapping: SourceMapping, dataset: Dataset) -> list[str]:
    """Return every day that has a folder, as ISO text, sorted."""
    root = f"{logs.rstrip('/')}/{mapping.platform}/{dataset}"
    below = [""]
    for _ in mapping.partition.of_day:
        below = [f"{path}/{name}" for path in below for name in files.list_folders(spark, f"{root}{path}")]
    days = (mapping.partition.day_in(path.removeprefix("/")) for path in below)
    return sorted(day.isoformat() for day in days if day)


def _list(spark: SparkSession, mapping: SourceMapping, dataset: Dataset, day: date, path: str) -> Delivery:
    """List the data files of a delivery's folder and see whether it is complete."""
    folders = _visible_folders(spark, path)
    hours = [name for name in folders if mapping.partition.is_hour(name)]
    by_folder = {"": files.list_files(spark, path)}
    by_folder |= {f"{hour}/": files.list_files(spark, f"{path}/{hour}") for hour in hours}
    data = [
        replace(entry, name=f"{folder}{entry.name}")
        for folder, entries in by_folder.items()
        for entry in entries
        if not entry.name.startswith(("_", "."))
    ]
    hours_due = mapping.hours_of(day) | set(hours)
    delivery = Delivery(mapping.platform, dataset, day, path, tuple(data), _is_complete(mapping, by_folder, hours_due))
    strange = [name for name in folders if name not in hours]
    strange += [f"{hour}/{name}" for hour in hours for name in _visible_folders(spark, f"{path}/{hour}")]
    if not strange:
        return delivery
    wanted = "none in folders below" if mapping.partition.of_hour is None else f"or in {mapping.partition.of_hour}"
    return delivery.refused(f"it holds the folder {strange[0]}; deliver its files directly, {wanted}")


def _visible_folders(spark: SparkSession, path: str) -> list[str]:
    return [name for name in files.list_folders(spark, path) if not name.startswith(("_", "."))]


def _is_complete(mapping: SourceMapping, by_folder: Mapping[str, Sequence[FileEntry]], hours_due: Set[str]) -> bool:
    """Return whether the signal is there: for the day, or for each of the hours that are due.

    Without a marker, folders without files say nothing: somebody may be about to write them anew.
    """
    marker, minutes = mapping.complete.marker, mapping.complete.settled_minutes
    if minutes is not None:
        written = [entry.modified_ms for entries in by_folder.values() for entry in entries]
        return bool(written) and max(written) <= (time() - 60 * minutes) * 1000
    marked = {folder.rstrip("/") for folder, entries in by_folder.items() if any(e.name == marker for e in entries)}
    return "" in marked or (bool(hours_due) and hours_due <= marked)


def _footer(spark: SparkSession, entry: FileEntry) -> tuple[str, int] | str:
    """Return a file's schema and rows, or what is wrong with it. Spark itself skips an empty file without a word."""
    if entry.size == 0:
        return f"{entry.name} is empty (0 bytes)"
    try:
        if not files.is_parquet(spark, entry):
            return f"{entry.name} is not a Parquet file"
        return files.parquet_footer(spark, entry)
    except Py4JJavaError as error:
        if not is_unreadable(error):
            raise
        return f"{entry.name}: its footer cannot be read ({_cause(error)})"
    except ValueError as error:
        return f"{entry.name}: its footer contradicts itself ({error})"


class _SchemaCheck:
    """Compares the files of one dataset with its mapping; each distinct schema is read and compared once."""

    def __init__(self, spark: SparkSession, mapping: SourceMapping, dataset: Dataset) -> None:
        part = mapping.datasets[dataset]
        self._spark = spark
        self._where = f"conf/sources/{mapping.platform}.yaml {dataset}"
        self._declared = raw_schema(part)
        self._required = required_columns(spark, dataset, part)
        self._known: dict[str, tuple[str | None, tuple[str, ...]]] = {}

    def look_into(self, delivery: Delivery, footers: dict[FileEntry, tuple[str, int] | str]) -> Delivery:
        """Return the delivery with its rows and added columns, or refused.

        One without files is a statement, if it is complete: the day has no rows (any more).
        """
        rows, added = 0, set[str]()
        for entry in delivery.files:
            footer = footers[entry]
            if isinstance(footer, str):
                return delivery.refused(f"{footer}; deliver it again")
            if footer[0] not in self._known:
                self._known[footer[0]] = self._compare(entry)
            problem, more = self._known[footer[0]]
            if problem:
                return delivery.refused(f"{entry.name}: {problem}")
            rows += footer[1]
            added |= set(more)
        return replace(delivery, rows=rows, added=tuple(sorted(added)))

    def _compare(self, entry: FileEntry) -> tuple[str | None, tuple[str, ...]]:
        unknown: list[str] = []
        try:
            found: T.StructType = self._spark.read.parquet(entry.path).schema
        except (PySparkException, Py4JJavaError) as error:
            if not is_unreadable(error):
                raise
            found, unknown = files.readable_schema(self._spark, entry)
            declared = {name.casefold() for name in self._declared.names}
            if not unknown or any(name.casefold() in declared for name in unknown):
                return f"its schema cannot be read ({_cause(error)}); deliver it again", ()
        problem = misfit(self._declared, found, self._required)
        if problem:
            return f"{problem}; deliver it again, or change {self._where}.raw", ()
        return None, (*added_columns(self._declared, found), *unknown)


def _cause(error: PySparkException | Py4JJavaError) -> str:
    text = str(error.java_exception) if isinstance(error, Py4JJavaError) else str(error)
    return in_brief(text)[:300]
