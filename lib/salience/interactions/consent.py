"""Who refuses analysis, and which rows of silver were judged otherwise than what is known of that now."""

from collections.abc import Callable
from functools import partial

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.tables import silver
from salience.tables.contract import Table
from salience.tables.warehouse import Warehouse

Find = Callable[[DataFrame, Table], DataFrame]
"""A platform's rows of silver.interactions or silver.excluded_events, and which -> those that contradict."""


def withdrawn(warehouse: Warehouse, platform: str, version: int) -> DataFrame | None:
    """Return user_id, valid_from, valid_to: when people refused analysis; None where nobody ever did.

    Args:
        warehouse: the tables.
        platform: whose people.
        version: of silver.users; -1 where it is not there yet.
    """
    if version < 0:
        return None
    users = warehouse.read(silver.USERS, version)
    refusing = users.where((F.col("platform") == platform) & ~F.col("consent_analysis"))
    return None if refusing.isEmpty() else refusing.select("user_id", "valid_from", "valid_to")


def contradicted(warehouse: Warehouse, platform: str, known: int | None, now: int, refusing: DataFrame | None) -> Find:
    """Return a function that finds the rows whose verdict contradicts what is known of their person's consent.

    Only people of whom something else is known than when silver was judged are looked for, from the first day that it
    bears on.

    Args:
        warehouse: the tables.
        platform: whose people.
        known: version of silver.users that silver was judged by; None where that cannot be told.
        now: version that counts now.
        refusing: who refuses by it, as `withdrawn` says.
    """
    if known == now:
        return _nothing
    if known is None:
        return partial(_judged_otherwise, refusing=refusing)
    try:
        changed = _difference(withdrawn(warehouse, platform, known), refusing)
        if changed is None:
            return _nothing
        (first,) = changed.agg(F.min("valid_from").cast("date")).head()  # type: ignore[misc]
    except (PySparkException, Py4JJavaError):
        # That version has been vacuumed, or had other columns.
        return partial(_judged_otherwise, refusing=refusing)
    whose = changed.select("user_id").distinct()

    def find(rows: DataFrame, table: Table) -> DataFrame:
        theirs = rows.where(F.col("event_date") >= F.lit(first)).join(whose, on="user_id", how="left_semi")
        return _judged_otherwise(theirs, table, refusing)

    return find


def _nothing(rows: DataFrame, table: Table) -> DataFrame:
    return rows.limit(0)


def _difference(before: DataFrame | None, now: DataFrame | None) -> DataFrame | None:
    """Return the spans that are in one of the frames only; None where there is no frame."""
    if before is None or now is None:
        return now if before is None else before
    signed = before.withColumn("__sign", F.lit(-1)).unionByName(now.withColumn("__sign", F.lit(1)))
    return signed.groupBy(*now.columns).agg(F.sum("__sign").alias("__sign")).where("__sign != 0").drop("__sign")


def _judged_otherwise(rows: DataFrame, table: Table, refusing: DataFrame | None) -> DataFrame:
    """Return the rows of silver whose verdict contradicts what is known of their person's consent."""
    excluded = table is silver.EXCLUDED_EVENTS
    is_consent = F.array_contains("reasons", "consent") if excluded else F.lit(False)
    if refusing is None:
        return rows.where(is_consent & F.col("user_id").isNotNull())
    in_time = (F.col("event_time") >= F.col("valid_from")) & (
        F.col("valid_to").isNull() | (F.col("event_time") < F.col("valid_to"))
    )
    spans = refusing.withColumnRenamed("user_id", "__who")
    known = rows.join(spans, on=(F.col("user_id") == F.col("__who")) & in_time, how="left")
    # Of an erased person silver keeps no id to look for.
    return known.where(F.col("user_id").isNotNull() & (is_consent != F.col("__who").isNotNull())).select(rows["*"])
