"""What the commits to tables note of themselves. A commit never changes, so each is read once."""

import json
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from salience.tables.storage import as_java, delta_log, java_class

_Note = tuple[dict[str, Any], int]
"""A commit's metadata, and the rows that it wrote."""


def newest_snapshot(spark: SparkSession, path: str) -> Any:
    """Return what Delta knows of the newest version of the table in a folder; its version is -1 where there is none."""
    none = java_class(spark, "scala.Option").empty()
    return delta_log(spark, path).update(False, none, none)


class Notes:
    """The notes of the commits to tables, as far as somebody asked for them."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._known: dict[str, dict[int, _Note | None]] = {}
        """Folder -> version -> note; None for a commit that has outlived the log's retention."""

    def newest(self, path: str, limit: int) -> list[tuple[int, dict[str, Any], int]]:
        """Return (version, metadata, rows written) of the newest commits to the table in a folder, newest first."""
        known = self._known.setdefault(path, {})
        newest = int(newest_snapshot(self._spark, path).version())
        wanted = range(newest, max(newest - limit, -1), -1)
        known |= {version: self._read(path, version) for version in wanted if version not in known}
        return [(version, *note) for version in wanted if (note := known[version]) is not None]

    def _read(self, path: str, version: int) -> _Note | None:
        """Read what a commit says of itself, in its first line; DeltaTable.history() takes a job for each look."""
        log = delta_log(self._spark, path)
        file = java_class(self._spark, "org.apache.spark.sql.delta.util.FileNames").unsafeDeltaFile(
            log.logPath(), version
        )
        try:
            lines = log.store().readAsIterator(file, log.newDeltaHadoopConf())
        except Py4JJavaError as error:
            if "FileNotFoundException" in str(error.java_exception):
                return None
            raise
        try:
            for line in as_java(self._spark, lines):
                info = json.loads(line).get("commitInfo")
                if info is not None:
                    rows = info.get("operationMetrics", {}).get("numOutputRows", 0)
                    return json.loads(info.get("userMetadata") or "{}"), int(rows)
        finally:
            lines.close()
        return {}, 0
