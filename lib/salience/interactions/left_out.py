"""What silver tells of events that it does not accept: enough to find them in bronze, no raw id and no free text."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms
from salience.interactions.rules import malformed
from salience.settings import CleanSettings


def rejected_rows(spark: SparkSession, rows: DataFrame, key: PseudonymKey, settings: CleanSettings) -> DataFrame:
    """Return bronze rows that break row rules with `reasons`; `event_id` only where it looks like an id."""
    # A malformed id is whatever stood where the id belongs: a shifted column's comment, a name.
    rows = rows.withColumn("event_id", F.when(~malformed("event_id")(settings), F.col("event_id")))
    return _with_keyed_hash(spark, rows.withColumnRenamed("violations", "reasons"), key)


def excluded_rows(spark: SparkSession, rows: DataFrame, key: PseudonymKey) -> DataFrame:
    """Return events that break day rules, without the pseudonyms of the erased."""
    is_erased = F.col("reason") == "erased"
    return _with_keyed_hash(spark, rows.withColumn("user_id", F.when(~is_erased, F.col("user_id"))), key)


def _with_keyed_hash(spark: SparkSession, rows: DataFrame, key: PseudonymKey) -> DataFrame:
    """Put `row_hash`, over the raw row, under the key: without it, anybody could try raw ids until one fits."""
    keyed = with_pseudonyms(spark, rows, key, {"row_hash": "row_hash"})
    return keyed.withColumn("row_hash", F.conv(F.substring("row_hash", 1, 15), 16, 10).cast("bigint"))
