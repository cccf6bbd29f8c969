"""Finds deliveries, `<logs>/<platform>/<dataset>/<partition>=YYYY-MM-DD/`, and tells which can be taken."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from salience.sources import files
from salience.sources.files import FileEntry
from salience.sources.mapping import Dataset, SourceMapping

SUCCESS = "_SUCCESS"


@dataclass(frozen=True)
class Delivery:
    """One day's folder of one dataset: what lies in it, and what is wrong with it, if anything."""

    platform: str
    dataset: Dataset
    day: date
    path: str
    files: tuple[FileEntry, ...]
    is_complete: bool
    schema: T.StructType | None = None
    problem: str | None = None

    @property
    def state(self) -> str:
        """The state for ops.deliveries: taken, incomplete or refused."""
        if not self.is_complete:
            return "incomplete"
        return "refused" if self.problem else "taken"

    @property
    def manifest_hash(self) -> str:
        """SHA-256 over the files' names, sizes and modification times."""
        lines = "\n".join(f"{f.name} {f.size} {f.modified_ms}" for f in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    def refused(self, problem: str) -> "Delivery":
        """Return the delivery with what is wrong with it."""
        return replace(self, problem=problem)


def find_deliveries(
    spark: SparkSession, logs: str, mapping: SourceMapping, dataset: Dataset, days: Sequence[date]
) -> list[Delivery]:
    """Return the deliveries of one dataset on these days, each looked into; days without a folder are left out."""
    folder = f"{logs.rstrip('/')}/{mapping.platform}/{dataset}"
    present = set(files.list_folders(spark, folder))
    found = []
    known: dict[str, T.StructType] = {}
    for day in days:
        name = f"{mapping.partition}={day.isoformat()}"
        if name in present:
            entries = files.list_files(spark, f"{folder}/{name}")
            data = tuple(entry for entry in entries if not entry.name.startswith(("_", ".")))
            complete = any(entry.name == SUCCESS for entry in entries)
            delivery = Delivery(mapping.platform, dataset, day, f"{folder}/{name}", data, complete)
            found.append(_look_into(spark, delivery, known) if complete else delivery)
    return found


def delivered_days(spark: SparkSession, logs: str, mapping: SourceMapping, dataset: Dataset) -> list[str]:
    """Return every day that has a folder, as ISO text, sorted."""
    names = files.list_folders(spark, f"{logs.rstrip('/')}/{mapping.platform}/{dataset}")
    prefix = f"{mapping.partition}="
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _look_into(spark: SparkSession, delivery: Delivery, known: dict[str, T.StructType]) -> Delivery:
    """Check every file and read its schema; `known` keeps Spark's reading of each footer's schema.

    Spark itself would skip an empty file without a word.
    """
    if nested := [name for name in files.list_folders(spark, delivery.path) if not name.startswith(("_", "."))]:
        return delivery.refused(f"it holds the folder {nested[0]}; deliver its files directly, none in folders below")
    for entry in delivery.files:
        if not files.is_parquet(spark, entry):
            what = "is empty (0 bytes)" if entry.size == 0 else "is not a Parquet file"
            return delivery.refused(f"{entry.name} {what}; deliver it again")
    if not delivery.files:
        # A complete delivery of nothing is a statement: the day has no rows (any more).
        return delivery
    for entry in delivery.files:
        try:
            text = files.parquet_schema(spark, entry)
            if text not in known:
                known[text] = spark.read.parquet(entry.path).schema
        except (PySparkException, Py4JJavaError) as error:
            return delivery.refused(f"{entry.name}: its schema cannot be read ({_cause(error)}); deliver it again")
        if delivery.schema is not None and known[text] != delivery.schema:
            return delivery.refused(f"{entry.name} has another schema than {delivery.files[0].name}; deliver it again")
        delivery = replace(delivery, schema=known[text])
    return delivery


def _cause(error: PySparkException | Py4JJavaError) -> str:
    text = str(error.java_exception) if isinstance(error, Py4JJavaError) else str(error)
    return text.splitlines()[0][:300]
