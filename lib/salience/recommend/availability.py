"""Which contents may be shown, and to whom, as of a cut."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.profiles.consent import refusing


def newest_versions(dimension: DataFrame, key: str, cut: datetime) -> DataFrame:
    """Return the rows of a dimension's newest version before `cut`, one for each key.

    Args:
        dimension: rows of silver.contents or silver.users of one platform.
        key: content_id or user_id.
        cut: versions from this time on are not known yet.
    """
    known = dimension.where(F.col("valid_from") < F.lit(cut))
    columns = [F.col(name) for name in dimension.columns if name != key]
    newest = known.groupBy(key).agg(F.max_by(F.struct(*columns), "valid_from").alias("newest"))
    return newest.select(key, "newest.*")


def unavailable(contents: DataFrame, cut: datetime) -> DataFrame:
    """Return the contents that were not published before `cut` or had expired: content_id."""
    unpublished = F.coalesce(F.col("published_at") >= F.lit(cut), F.lit(False))
    expired = F.coalesce(F.col("available_until") <= F.lit(cut), F.lit(False))
    return newest_versions(contents, "content_id", cut).where(unpublished | expired).select("content_id")


def people(users: DataFrame, interactions: DataFrame, cut: datetime) -> DataFrame:
    """Return everyone to serve: in silver.users, or with an interaction, before `cut`.

    Returns:
        user_id, personalised (false only for people who are `refusing`).
    """
    known = users.where(F.col("valid_from") < F.lit(cut)).select("user_id")
    active = interactions.where(F.col("event_time") < F.lit(cut)).select("user_id")
    refused = refusing(users, cut).select("user_id", F.lit(False).alias("personalised"))
    everyone = known.union(active).distinct().join(refused, "user_id", how="left")
    return everyone.select("user_id", F.coalesce("personalised", F.lit(True)).alias("personalised"))
