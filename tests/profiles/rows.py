"""Versions of contents with their history, for the tests of the profiles."""

from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from salience.tables import silver
from tests.silver_rows import instant


def content_versions(spark: SparkSession, *rows: dict[str, object]) -> DataFrame:
    """Return silver.contents; each row names what differs from a content c1 of the feed that holds from 1 November."""
    full = []
    for given in rows:
        row: dict[str, object] = {"platform": "feed", "content_id": "c1", "valid_from": "1 00:00"} | given
        for name in ("valid_from", "valid_to", "published_at"):
            value = row.get(name)
            row[name] = instant(value) if isinstance(value, str) else value
        assert all(isinstance(row[name], datetime | None) for name in ("valid_from", "valid_to", "published_at"))
        full.append(tuple(row.get(column.name) for column in silver.CONTENTS.columns))
    return spark.createDataFrame(full, silver.CONTENTS.schema)
