"""Segments of people by what is known of them: `<attribute>=<value>`."""

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.profiles.versions import valid_before

EVERYONE = "all"
"""The segment of everybody."""


def segment(attribute: str) -> Column:
    """Return `<attribute>=<value>` of a column `attributes` (a map); null where the value is unknown."""
    return F.concat(F.lit(f"{attribute}="), F.col("attributes")[attribute])


def segments_before(users: DataFrame, cut: datetime, attributes: Sequence[str]) -> DataFrame:
    """Return the segments that each person belongs to by what was known before `cut`; EVERYONE is not among them.

    Args:
        users: rows of silver.users, with their history.
        cut: what is told of people from this time on is not known yet; UTC.
        attributes: names of attributes.

    Returns:
        platform, user_id, segment: a row for each attribute whose value is known.
    """
    named = F.array_compact(F.array(*map(segment, attributes)).cast("array<string>"))
    return valid_before(users, cut).select("platform", "user_id", F.explode(named).alias("segment"))


def combined(users: DataFrame, cut: datetime, attributes: Sequence[str], fewest: int) -> DataFrame:
    """Return the one segment of each person all of whose attributes are known, like `age_band=18-24, region=north`.

    Args:
        users, cut, attributes: as `segments_before` takes them, of one platform.
        fewest: people that a segment has at least; those of smaller ones are in none.

    Returns:
        user_id, segment.
    """
    parts = [segment(name) for name in sorted(attributes)]
    # concat, other than concat_ws, is null where a part is.
    joined = [part for one in parts for part in (F.lit(", "), one)][1:]
    named = valid_before(users, cut).select("user_id", F.concat(*(joined or [F.lit(None)])).alias("segment"))
    known = named.where(F.col("segment").isNotNull())
    large = known.groupBy("segment").count().where(F.col("count") >= fewest)
    return known.join(large, "segment", how="left_semi").select("user_id", "segment")
