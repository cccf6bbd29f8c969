"""Random numbers out of hashes: the same wherever and whenever a row is computed."""

from pyspark.sql import Column
from pyspark.sql import functions as F

_DRAWS = 1 << 53
"""How many values a draw can take: the whole numbers that a double holds exactly."""


def uniform(hashed: Column) -> Column:
    """Return a number from 0 (included) to 1 (excluded), spread evenly, out of a 64-bit hash."""
    return F.shiftrightunsigned(hashed, 11).cast("double") / F.lit(float(_DRAWS))
