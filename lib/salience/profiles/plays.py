"""What a play of a video tells: whether its length is known, and whether it was watched to its end."""

from decimal import Decimal

from pyspark.sql import Column
from pyspark.sql import functions as F

COMPLETE_SHARE = Decimal("0.95")
"""A play is complete when this share of the video was watched."""


def is_measured() -> Column:
    """Return whether an interaction is a play whose watch time and video length are known."""
    return (F.col("action") == "play") & F.col("dwell_s").isNotNull() & (F.col("video_length_s") > 0)


def is_complete() -> Column:
    """Return whether an interaction is a measured play of at least COMPLETE_SHARE of the video."""
    return is_measured() & (F.col("dwell_s") >= F.col("video_length_s") * F.lit(COMPLETE_SHARE))
