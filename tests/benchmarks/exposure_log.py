"""A log of exposures of any size, drawn by Spark: what the speed of the features is measured on."""

from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

LAST, DAYS = date(2026, 11, 14), 14
CONTENTS, CREATORS, TOPICS = 20_000, 2_000, 24
EXPOSURES_A_PERSON, ENGAGED_SHARE = 50, 0.08
_DAY_S = 86_400


def write(spark: SparkSession, exposures: int, folder: Path) -> None:
    """Write `exposures` impressions, and likes half a minute after some of them, as folder/interactions; and contents.

    People and contents are drawn with a skew: the tenth of the people who see most see a quarter of everything, and the
    most popular tenth of the contents is a third of it.
    """
    first_s = (LAST - date(1970, 1, 1)).days * _DAY_S - (DAYS - 1) * _DAY_S
    drawn = spark.range(0, exposures, 1, 8).select(
        F.concat(F.lit("e"), "id").alias("event_id"),
        F.sha2(F.floor(F.pow(F.rand(1), 1.5) * (exposures // EXPOSURES_A_PERSON)).cast("string"), 256).alias("user_id"),
        F.floor(F.pow(F.rand(2), 2) * CONTENTS).alias("content"),
        (F.lit(first_s) + F.floor(F.rand(3) * DAYS * _DAY_S)).alias("second"),
        (F.floor(F.rand(4) * 8) + 1).cast("int").alias("position"),
        F.when(F.rand(5) < ENGAGED_SHARE, F.array(F.lit("impression"), F.lit("like")))
        .otherwise(F.array(F.lit("impression")))
        .alias("actions"),
    )
    event = drawn.withColumn("action", F.explode("actions"))
    at = F.timestamp_seconds(F.col("second") + F.when(F.col("action") == "like", 30).otherwise(0))
    interactions = event.select(
        F.lit("feed").alias("platform"),
        F.concat("event_id", "action").alias("event_id"),
        "user_id",
        F.concat(F.lit("a"), F.col("content") % CREATORS).alias("creator_id"),
        F.concat(F.lit("c"), "content").alias("content_id"),
        "action",
        at.alias("event_time"),
        F.to_date(at).alias("event_date"),
        F.lit(None).cast("int").alias("utc_offset_min"),
        "position",
    )
    interactions.write.mode("overwrite").parquet(str(folder / "interactions"))
    before = F.lit("2026-10-25").cast("timestamp")
    spark.range(CONTENTS).select(
        F.lit("feed").alias("platform"),
        F.concat(F.lit("c"), "id").alias("content_id"),
        F.concat(F.lit("a"), F.col("id") % CREATORS).alias("creator_id"),
        F.array(F.concat(F.lit("t"), F.col("id") % TOPICS), F.concat(F.lit("t"), F.col("id") % 7)).alias("tags"),
        F.lit("photo").alias("media_type"),
        before.alias("published_at"),
        before.alias("valid_from"),
        F.lit(None).cast("timestamp").alias("valid_to"),
    ).write.mode("overwrite").parquet(str(folder / "contents"))
