"""What the commits to tables note of themselves. A commit never changes, so each is read once."""

import json
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from salience.tables.staged import delta_log
from salience.tables.storage import java_class

_Note = tuple[dict[str, Any], int]
"""A commit's metadata, and the rows that it wrote."""


def newest_version(spark: SparkSession, path: str) -> int:
    """Return the newest version of the table in a folder, -1 for none; its history would take a job to tell."""
    none = java_class(spark, "scala.Option").empty()
    return int(delta_log(spark, path).update(False, none, none).version())


class Notes:
    """The notes of the commits to tables, as far as somebody asked for them."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._known: dict[str, dict[int, _Note | None]] = {}
        """Folder -> version -> note; None for a commit that has outlived the log's retention."""

    def newest(self, path: str, limit: int) -> list[tuple[int, dict[str, Any], int]]:
        """Return (version, metadata, rows written) of the newest commits to the table in a folder, newest first."""
        known = self._known.setdefault(path, {})
        while True:
            newest = newest_version(self._spark, path)
            wanted = range(newest, max(newest - limit, -1), -1)
            unknown = [version for version in wanted if version not in known]
            if not unknown:
                return [(version, *note) for version in wanted if (note := known[version]) is not None]
            asked = newest - unknown[-1] + 1
            history = DeltaTable.forPath(self._spark, path).history(asked)
            rows = history.select("version", "userMetadata", F.col("operationMetrics")["numOutputRows"].alias("rows"))
            found = {r["version"]: (json.loads(r["userMetadata"] or "{}"), int(r["rows"] or 0)) for r in rows.collect()}
            # Another run may have committed since: the newest that it asked for may be newer by now.
            known |= dict.fromkeys(range(max(found) - asked + 1, max(found))) | found
