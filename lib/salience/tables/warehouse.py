"""Reads and writes Delta tables by their contract."""

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from time import sleep
from typing import Any

from delta.tables import DeltaMergeBuilder, DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from salience.errors import ConflictError, ContractError, InputError
from salience.tables.conflicts import CONFLICTS, PAUSES_S
from salience.tables.conform import conform
from salience.tables.contract import Kind, Table
from salience.tables.notes import Notes, newest_snapshot
from salience.tables.partitions import PartitionValue, condition, literal
from salience.tables.staged import Commit, StagedFiles
from salience.tables.storage import as_java, as_list, open_folder, opening
from salience.tables.stored import Stored, differences, properties

_HALF_CREATED = ("DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION", "DELTA_TABLE_NOT_FOUND")
METADATA = "spark.databricks.delta.commitInfo.userMetadata"
"""The setting of a session that says what its commits note of themselves."""


class Warehouse:
    """The tables below one folder."""

    def __init__(self, spark: SparkSession, root: str, run_id: str = "") -> None:
        self.spark = spark
        with opening("warehouse", root):
            self.root = _qualified(spark, root)
        self.run_id = run_id
        self._checked: set[str] = set()
        self._notes = Notes(spark)

    def path(self, table: Table) -> str:
        """Return the folder of a table."""
        return f"{self.root}/{table.layer}/{table.name}"

    def exists(self, table: Table) -> bool:
        """Return whether the table was created: its log has a commit or a checkpoint.

        A folder for the log is not enough: a run that creates the table makes it before the first commit.
        """
        file_system, log = open_folder(self.spark, f"{self.path(table)}/_delta_log")
        if not file_system.exists(log):
            return False
        # Not listFiles: on a local disk it asks for each entry's permissions by name, and fails on a temporary file of
        # another writer that has gone by then.
        names = (str(entry.getPath().getName()) for entry in file_system.listStatus(log))
        return any(re.fullmatch(r"\d{20}\..*(json|parquet)", name) for name in names)

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """Return the whole table, columns in contract order.

        Args:
            table: what to read.
            version: of Delta; the newest at each use of the frame where it is left out.

        Raises:
            InputError: the table does not exist yet, or with another schema or other checks.
        """
        self.require_there(table)
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        frame = reader.load(self.path(table))
        return frame.select([column.name for column in table.columns])

    def stored(self, table: Table) -> Stored:
        """Return what Delta knows of an existing table."""
        # Not SHOW TBLPROPERTIES, which hides the text of checks that speak of a token or a password.
        snapshot = newest_snapshot(self.spark, self.path(table))
        metadata, readers = snapshot.metadata(), snapshot.protocol().minReaderVersion()
        configuration = as_java(self.spark, metadata.configuration())
        in_force = {str(key): str(configuration.get(key)) for key in configuration.keySet().toArray()}
        in_force["delta.minReaderVersion"] = str(readers)
        schema = T.StructType.fromJson(json.loads(metadata.schemaString()))
        partitions = tuple(as_list(as_java(self.spark, metadata.partitionColumns())))
        return Stored(schema, metadata.description() or "", partitions, in_force)

    def version(self, table: Table) -> int:
        """Return the newest Delta version of an existing table."""
        return int(newest_snapshot(self.spark, self.path(table)).version())

    def replace(
        self,
        table: Table,
        frame: DataFrame,
        where: Mapping[str, Sequence[PartitionValue]],
        note: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Replace exactly the partitions named by `where` with `frame`, in one commit.

        Args:
            table: a table that is not a ledger.
            frame: the new rows; all of them lie in the named partitions.
            where: partition column -> its values; partitions without new rows end empty.
            note: what the commit's metadata should say beside the run.

        Raises:
            ContractError: the frame's columns or types differ from the contract; every difference is listed.
        """
        if table.kind is Kind.LEDGER:
            raise ContractError(f"{table}: ledgers are only appended to")
        return self._write(table, frame, note, mode="overwrite", options={"replaceWhere": condition(where)})

    def stage(self, table: Table, frame: DataFrame) -> StagedFiles:
        """Write rows of a table that no reader sees before `replace_by_staged`.

        Raises:
            ContractError: the frame's columns or types differ from the contract; every difference is listed.
        """
        conformed = self._prepared(table, frame)
        return StagedFiles(self.spark, table, self.path(table), conformed)

    def replace_by_staged(
        self,
        files: StagedFiles,
        where: Mapping[str, Sequence[PartitionValue]],
        note: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Replace exactly the partitions named by `where` with what staged files hold of them, in one commit."""
        values = {column: [str(value) for value in wanted] for column, wanted in where.items()}
        return files.commit(condition(where), values, {"run_id": self.run_id, **(note or {})})

    def delete_before(self, table: Table, column: str, day: date, note: Mapping[str, Any] | None = None) -> Commit:
        """Delete the partitions of a day table of days before one, in one commit.

        Args:
            table: a day table.
            column: the partition column that holds the day.
            day: the first day that stays.
            note: what the commit's metadata should say beside the run.
        """
        older = {"replaceWhere": f"{column} < {literal(day)}"}
        return self._write(table, self.frame(table, []), note, mode="overwrite", options=older)

    def delete(self, table: Table, where: Mapping[str, Sequence[PartitionValue]]) -> Commit:
        """Delete exactly the partitions named by `where`, in one commit, whatever they hold by then.

        It is tried again where other runs write them, or put their files together, at this moment.

        Raises:
            ConflictError: other runs kept doing so.
        """
        for pause in PAUSES_S:
            try:
                return self.replace(table, self.frame(table, []), where)
            except CONFLICTS:
                sleep(pause)
        raise ConflictError(f"{table}: other runs kept writing the same partitions; run it again")

    def append(self, table: Table, frame: DataFrame, note: Mapping[str, Any] | None = None) -> Commit:
        """Append rows to a ledger.

        Raises:
            ContractError: the frame's columns or types differ from the contract, or the table is no ledger.
        """
        if table.kind is not Kind.LEDGER:
            raise ContractError(f"{table}: only ledgers are appended to; replace its partitions instead")
        return self._write(table, frame, note, mode="append", options={})

    def append_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append a few rows, given as mappings by column name, to a ledger."""
        if rows:
            self.append(table, self.frame(table, rows))

    def frame(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> DataFrame:
        """Return a few rows as a frame of the table's schema."""
        names = [column.name for column in table.columns]
        return self.spark.createDataFrame([tuple(row.get(name) for name in names) for row in rows], table.schema)

    def merge(
        self,
        table: Table,
        given: DataFrame,
        condition: str,
        change: Mapping[str, SparkColumn] | None,
        note: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Change the stored rows that match one of `given`, or delete them, in one commit; none where none does.

        It is tried again where other runs write the same rows at this moment.

        Args:
            table: what to change.
            given: what to match them with.
            condition: SQL over `stored` and `given`; the table's history keeps its literals.
            change: column -> new value, over `stored` and `given`; None to delete the rows.
            note: what the commit's metadata should say beside the run.

        Raises:
            ConflictError: other runs kept writing them.
        """

        def changing(merging: DeltaMergeBuilder) -> DeltaMergeBuilder:
            return merging.whenMatchedDelete() if change is None else merging.whenMatchedUpdate(set=dict(change))

        return self._merged(table, given, condition, changing, note)

    def insert_missing(
        self, table: Table, given: DataFrame, condition: str, note: Mapping[str, Any] | None = None
    ) -> Commit:
        """Insert those of `given`, with the table's columns, that no stored row matches; otherwise as `merge`.

        Raises:
            ContractError: the frame's columns or types differ from the contract; every difference is listed.
            ConflictError: other runs kept writing the same rows.
        """
        given = conform(table, given)
        return self._merged(table, given, condition, lambda merging: merging.whenNotMatchedInsertAll(), note)

    def _merged(
        self,
        table: Table,
        given: DataFrame,
        condition: str,
        clauses: Callable[[DeltaMergeBuilder], DeltaMergeBuilder],
        note: Mapping[str, Any] | None,
    ) -> Commit:
        self.require_there(table)
        # Of its own, since this is how a merge's metadata is told, and threads share a session's settings.
        session = self.spark.newSession()
        session.conf.set(METADATA, json.dumps({"run_id": self.run_id, **(note or {})}, default=str))
        for pause in PAUSES_S:
            stored = DeltaTable.forPath(session, self.path(table)).alias("stored")
            try:
                (counted,) = clauses(stored.merge(given.alias("given"), condition)).execute().collect()
            except CONFLICTS:
                sleep(pause)
                continue
            return Commit(self.version(table), int(counted["num_affected_rows"]))
        raise ConflictError(f"{table}: other runs kept writing the same rows; run it again")

    def ensure(self, table: Table) -> DeltaTable:
        """Create the table if it is missing: columns, comments, partitions, constraints, all in one commit."""
        create = DeltaTable.createIfNotExists(self.spark).location(self.path(table)).comment(table.comment)
        create = create.addColumns(table.schema).partitionedBy(*table.partitions)
        for key, value in properties(table).items():
            create = create.property(key, value)
        for pause in PAUSES_S:
            try:
                return create.execute()
            except (*CONFLICTS, AnalysisException) as error:
                # Another run is creating it at this moment.
                if isinstance(error, AnalysisException) and not any(name in str(error) for name in _HALF_CREATED):
                    raise
                sleep(pause)
        file_system, log = open_folder(self.spark, f"{self.path(table)}/_delta_log")
        if file_system.exists(log) and not len(file_system.listStatus(log)):
            # Whoever was creating the table died before its first commit; Delta itself cannot get past that.
            file_system.delete(log, False)
        return create.execute()

    def notes(self, table: Table, limit: int = 100) -> list[tuple[int, dict[str, Any], int]]:
        """Return (version, metadata, rows written) of the newest commits, newest first."""
        return self._notes.newest(self.path(table), limit)

    def notes_since(self, table: Table, version: int = -1) -> Iterator[tuple[int, dict[str, Any], int]]:
        """Yield (version, metadata, rows written) of every commit after a version, newest first.

        Delta keeps its history for `delta.logRetentionDuration`. It is read in ever larger pieces, as far as is asked.
        """
        limit, last = 10, None
        while True:
            page = self.notes(table, limit)
            for note in page:
                if note[0] <= version:
                    return
                if last is None or note[0] < last:
                    last = note[0]
                    yield note
            if len(page) < limit:
                return
            limit *= 10

    def require_there(self, table: Table) -> None:
        """Check that a table can be read.

        Raises:
            InputError: it does not exist yet, or with another schema or other checks.
        """
        if not self.exists(table):
            raise InputError(f"{table}: no such table in {self.root}; run jobs/{table.made_by}.py first")
        self._require_current(table)

    def _require_current(self, table: Table) -> None:
        """Refuse an existing table that is not as the contract says, looking once; comments may differ."""
        if str(table) in self._checked:
            return
        found = [d.text for d in differences(table, self.stored(table)) if not d.is_comment]
        if found:
            what = "the stored table differs from the contract"
            raise InputError(f"{table}: {what} (run jobs/upgrade_warehouse.py): {'; '.join(found)}")
        self._checked.add(str(table))

    def _write(
        self, table: Table, frame: DataFrame, note: Mapping[str, Any] | None, mode: str, options: Mapping[str, str]
    ) -> Commit:
        conformed = self._prepared(table, frame)
        write_id = uuid.uuid4().hex
        metadata = json.dumps({"run_id": self.run_id, "write_id": write_id, **(note or {})}, default=str)
        writer = conformed.write.format("delta").mode(mode).options(**options).option("userMetadata", metadata)
        if table.partitions:
            # One sorted-out shuffle instead of a small file per task and partition.
            writer = writer.option("optimizeWrite", "true")
        writer.save(self.path(table))
        return self._commit(table, write_id)

    def _prepared(self, table: Table, frame: DataFrame) -> DataFrame:
        """Return the frame as the contract says, and see to it that the table is there and is so, too."""
        conformed = conform(table, frame)
        if self.exists(table):
            self._require_current(table)
        else:
            self.ensure(table)
        return conformed

    def _commit(self, table: Table, write_id: str) -> Commit:
        """Return the commit that carries the mark; the newest, with no rows, where there was nothing to commit."""
        newest = self.notes(table, 1)
        # Another writer may have committed since, and Delta commits nothing where nothing is written or removed.
        notes = newest if newest[0][1].get("write_id") == write_id else self.notes(table)
        ours = next((entry for entry in notes if entry[1].get("write_id") == write_id), None)
        return Commit(version=ours[0], rows=ours[2]) if ours else Commit(version=newest[0][0], rows=0)


def _qualified(spark: SparkSession, folder: str) -> str:
    """Return the folder with its file system and without a relative part, as Delta wants it."""
    file_system, path = open_folder(spark, folder)
    # Hadoop asks no server before the first question.
    file_system.exists(path)
    return str(file_system.makeQualified(path).toString())
