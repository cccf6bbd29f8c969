"""Lists folders and looks into files on any file system that Hadoop knows (local disk, HDFS, object stores)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from salience.tables.storage import as_list, java_class, open_folder, opening

PARQUET_MAGIC = int.from_bytes(b"PAR1", "big")


@dataclass(frozen=True)
class FileEntry:
    """One file of a folder: name, path, size in bytes, modification time in milliseconds since 1970."""

    name: str
    path: str
    size: int
    modified_ms: int


def exists(spark: SparkSession, path: str) -> bool:
    """Return whether there is a file or folder at `path`.

    Raises:
        InputError: its file system cannot be reached.
    """
    with opening("logs", path):
        file_system, hadoop_path = open_folder(spark, path)
        return bool(file_system.exists(hadoop_path))


def list_folders(spark: SparkSession, path: str) -> list[str]:
    """Return the sorted names of the folders in a folder; none if it does not exist."""
    file_system, hadoop_path = open_folder(spark, path)
    if not file_system.exists(hadoop_path):
        return []
    return sorted(str(s.getPath().getName()) for s in file_system.listStatus(hadoop_path) if s.isDirectory())


def list_files(spark: SparkSession, path: str) -> list[FileEntry]:
    """Return the files directly in a folder, sorted by name; none if it does not exist."""
    file_system, hadoop_path = open_folder(spark, path)
    if not file_system.exists(hadoop_path):
        return []
    found = [
        FileEntry(str(s.getPath().getName()), str(s.getPath()), int(s.getLen()), int(s.getModificationTime()))
        for s in file_system.listStatus(hadoop_path)
        if s.isFile()
    ]
    return sorted(found, key=lambda entry: entry.name)


def is_parquet(spark: SparkSession, entry: FileEntry) -> bool:
    """Return whether a file begins and ends as every Parquet file does."""
    if entry.size < 12:
        return False
    file_system, hadoop_path = open_folder(spark, entry.path)
    stream = file_system.open(hadoop_path)
    try:
        head = stream.readInt()
        stream.seek(entry.size - 4)
        return bool(head == PARQUET_MAGIC and stream.readInt() == PARQUET_MAGIC)
    finally:
        stream.close()


def parquet_footer(spark: SparkSession, entry: FileEntry) -> tuple[str, int]:
    """Return what a Parquet file's footer says: its schema as text (equal texts read as equal Spark schemas), its rows.

    Raises:
        py4j.protocol.Py4JJavaError: the footer cannot be read.
        ValueError: it contradicts itself.
    """
    with _reader(spark, entry) as reader:
        about = reader.getFooter().getFileMetaData()
        by_spark = about.getKeyValueMetaData().get("org.apache.spark.sql.parquet.row.metadata")
        return f"{about.getSchema().toString()}{by_spark}", _rows(reader.getFooter())


def readable_schema(spark: SparkSession, entry: FileEntry) -> tuple[T.StructType, list[str]]:
    """Return the columns of a Parquet file that are of types which Spark knows, and the names of the others."""
    jvm: Any = spark.sparkContext._jvm
    parquet = jvm.org.apache.spark.sql.execution.datasources.parquet
    convert = parquet.ParquetToSparkSchemaConverter(spark._jsparkSession.sessionState().conf()).convert
    known, unknown = T.StructType(), []
    with _reader(spark, entry) as reader:
        for field in as_list(reader.getFooter().getFileMetaData().getSchema().getFields()):
            alone = jvm.org.apache.parquet.schema.MessageType("one", jvm.java.util.Collections.singletonList(field))
            try:
                known.fields += T.StructType.fromJson(json.loads(convert(alone).json())).fields
            except (PySparkException, Py4JJavaError):
                unknown.append(str(field.getName()))
    return T.StructType(known.fields), unknown


@contextmanager
def _reader(spark: SparkSession, entry: FileEntry) -> Iterator[Any]:
    configuration = spark.sparkContext._jsc.hadoopConfiguration()
    path = java_class(spark, "org.apache.hadoop.fs.Path")(entry.path)
    source = java_class(spark, "org.apache.parquet.hadoop.util.HadoopInputFile").fromPath(path, configuration)
    reader = java_class(spark, "org.apache.parquet.hadoop.ParquetFileReader").open(source)
    try:
        yield reader
    finally:
        reader.close()


def _rows(footer: Any) -> int:
    """Return the rows of a file's row groups. Readers believe this number, so a wrong one would hide rows."""
    columns, rows = footer.getFileMetaData().getSchema().getColumns(), 0
    flat = next((n for n in range(columns.size()) if columns.get(n).getMaxRepetitionLevel() == 0), None)
    for group in as_list(footer.getBlocks()):
        rows += (of_group := int(group.getRowCount()))
        if flat is not None and group.getColumns().get(flat).getValueCount() != of_group:
            raise ValueError(f"a row group of {of_group} rows holds another number of values in a column")
    return rows
