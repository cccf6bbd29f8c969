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
