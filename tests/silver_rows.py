"""A few rows of silver tables for tests; what a test does not name has a harmless default."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from salience.tables import silver
from salience.tables.contract import Table

EVENT = {"platform": "feed", "content_id": "c1", "action": "impression"}


def user(name: str) -> str:
    """Return a pseudonym that the contract accepts."""
    return name.ljust(64, "0")


def instant(text: str) -> datetime:
    """Return an instant of November 2026, UTC, from `day hour:minute[:second]`, like `2 10:30`."""
    day, clock = text.split()
    return datetime.fromisoformat(f"2026-11-{int(day):02d}T{clock}").replace(tzinfo=UTC)


def interactions(spark: SparkSession, rows: Sequence[dict[str, Any]]) -> DataFrame:
    """Return silver.interactions; each row names `user`, `at` (see `instant`) and what differs from EVENT."""
    full = []
    for n, given in enumerate(rows):
        at = given["at"] if isinstance(given["at"], datetime) else instant(given["at"])
        decimals = {key: Decimal(str(given[key])) for key in ("dwell_s", "video_length_s") if key in given}
        ids = {"event_id": f"e{n:05d}", "user_id": user(given["user"]), "event_time": at}
        full.append(EVENT | ids | {"event_date": at.date(), "delivery_date": at.date()} | given | decimals)
    return _frame(spark, silver.INTERACTIONS, full)


def contents(spark: SparkSession, tags: dict[str, list[str] | None], since: str = "1 00:00") -> DataFrame:
    """Return silver.contents of the feed: one version of each content, in force from `since`."""
    rows = [
        {"platform": "feed", "content_id": content, "tags": of, "valid_from": instant(since)}
        for content, of in tags.items()
    ]
    return _frame(spark, silver.CONTENTS, rows)


def users(spark: SparkSession, rows: Sequence[dict[str, Any]]) -> DataFrame:
    """Return silver.users of the feed; each row names `user`, `attributes`, `valid_from` and perhaps `valid_to`."""
    full = []
    for given in rows:
        times = {key: instant(given[key]) for key in ("valid_from", "valid_to") if key in given}
        full.append({"platform": "feed", "user_id": user(given["user"])} | given | times)
    return _frame(spark, silver.USERS, full)


def _frame(spark: SparkSession, table: Table, rows: Sequence[dict[str, Any]]) -> DataFrame:
    return spark.createDataFrame([tuple(row.get(c.name) for c in table.columns) for row in rows], table.schema)
