"""Data files of a table that are written but in no commit yet: nobody sees them before they are committed.

So rows are written once, however much is looked at before it is known which of them are taken. Delta offers that to
its own commands only, by the classes that are used here.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from salience.errors import ConflictError
from salience.tables.conflicts import CONFLICTS
from salience.tables.contract import Table
from salience.tables.storage import CONVERTERS, as_java, as_list, delta_log, java_class, open_folder


@dataclass(frozen=True)
class Commit:
    """One write that happened: the Delta version that it made and the rows that it wrote."""

    version: int
    rows: int


class StagedFiles:
    """Files below a table's folder; they are discarded unless they are committed."""

    def __init__(self, spark: SparkSession, table: Table, path: str, frame: DataFrame) -> None:
        """Write a frame that conforms to an existing table's contract; checks and nulls are looked at, too."""
        self._spark = spark
        self.table = table
        self._path = path
        self._log = delta_log(spark, path)
        transaction = self._log.startTransaction()
        self._metadata = transaction.metadata()
        self._files = tuple(as_list(as_java(spark, transaction.writeFiles(frame._jdf))))
        self._left = list(self._files)

    @property
    def rows(self) -> DataFrame:
        """What was written, with the table's columns."""
        snapshot, none = self._log.unsafeVolatileSnapshot(), java_class(self._spark, "scala.Option").empty()
        written = self._log.createDataFrame(snapshot, self._as_scala(self._files), False, none)
        frame = DataFrame(written, self._spark)
        return frame.select(*(column.name for column in self.table.columns))

    def commit(self, condition: str, values: Mapping[str, Sequence[str]], note: Mapping[str, Any]) -> Commit:
        """Replace the rows of a condition on partitions with those of the files.

        Args:
            condition: SQL.
            values: partition column -> its values as text; files of other partitions are not taken.
            note: the commit's metadata.

        Raises:
            ConflictError: the table was changed otherwise, or files were deleted, since they were staged.
        """
        taken = [file for file in self._files if _lies_in(file, values)]
        transaction = self._log.startTransaction()
        if not transaction.metadata().equals(self._metadata):
            raise ConflictError(f"{self.table}: it was upgraded while rows for it were written; run the job again")
        if not all(self._is_there(file) for file in taken):
            what = "files were vacuumed while rows were written, within a shorter time than the job takes"
            raise ConflictError(f"{self.table}: {what}; run it again (setting `erasure.vacuum_retention_hours`)")
        parsed = self._spark._jsparkSession.sessionState().sqlParser().parseExpression(condition)
        replaced = transaction.filterFiles(self._as_scala([parsed]), False)
        removed = [file.remove() for file in as_list(as_java(self._spark, replaced))]
        option = java_class(self._spark, "scala.Option")
        operation = java_class(self._spark, "org.apache.spark.sql.delta.DeltaOperations$Write")(
            java_class(self._spark, "org.apache.spark.sql.SaveMode").Overwrite,
            option.apply(self._as_scala(self.table.partitions)),
            option.apply(condition),
            option.apply(json.dumps(note, default=str)),
            *(option.empty() for _ in range(5)),
        )
        rows = sum(int(file.numLogicalRecords().get()) for file in taken)
        size = sum(int(file.size()) for file in taken)
        self._tell(transaction, {"numFiles": len(taken), "numOutputRows": rows, "numOutputBytes": size})
        # There may be a commit, however the attempt ends, unless it is certain that there is none: who discarded its
        # files would spoil the table.
        self._left = [file for file in self._files if not _lies_in(file, values)]
        try:
            version = int(transaction.commit(self._as_scala([*taken, *removed]), operation))
        except CONFLICTS:
            self._left += taken
            raise
        return Commit(version, rows)

    def _tell(self, transaction: Any, metrics: Mapping[str, int]) -> None:
        """Have the table's history show what Delta's own commands count while they write."""
        session = self._spark._jsparkSession
        counted = java_class(self._spark, "scala.collection.immutable.HashMap")()
        for name, value in metrics.items():
            metric = java_class(self._spark, "org.apache.spark.sql.execution.metric.SQLMetrics").createMetric(
                session.sparkContext(), name
            )
            metric.set(value)
            counted = counted.updated(name, metric)
        transaction.registerSQLMetrics(session, counted)

    def _is_there(self, file: Any) -> bool:
        file_system, path = open_folder(self._spark, f"{self._path}/{file.path()}")
        return bool(file_system.exists(path))

    def _as_scala(self, items: Iterable[Any]) -> Any:
        listed = java_class(self._spark, "java.util.ArrayList")()
        for item in items:
            listed.add(item)
        return java_class(self._spark, CONVERTERS).asScala(listed).toSeq()

    def discard(self) -> None:
        """Delete the files that no commit took."""
        while self._left:
            file = self._left.pop()
            file_system, path = open_folder(self._spark, f"{self._path}/{file.path()}")
            file_system.delete(path, False)


def _lies_in(file: Any, values: Mapping[str, Sequence[str]]) -> bool:
    return all(file.partitionValues().apply(column) in wanted for column, wanted in values.items())
