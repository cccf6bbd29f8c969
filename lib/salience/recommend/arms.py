"""Who is recommended what: some people are held out of what is personal, so that it can be told what that is worth."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.settings.recommend import HoldoutSettings
from salience.stats.draws import uniform
from salience.tables.recommendations import ARMS

PERSONALISED, HELD_OUT, NOT_PERSONALISED = ARMS
"""People who get what is personal (where there is something), those who would, and those who refuse."""


def with_arms(people: DataFrame, platform: str, settings: HoldoutSettings) -> DataFrame:
    """Return everyone's arm; among those who do not refuse it is drawn, by a hash of platform and person.

    Args:
        people: user_id, personalised (false for those who refuse).
        platform: of the people; each platform draws anew.
        settings: share and salt. The same salt holds the same people out again, whoever joins them.

    Returns:
        user_id, arm.
    """
    # A second round of the hash, as one alone keeps traces of small differences in its input.
    draw = uniform(F.xxhash64(F.xxhash64(F.lit(platform), "user_id"), F.lit(settings.salt)))
    drawn = F.when(draw < F.lit(settings.share), HELD_OUT).otherwise(PERSONALISED)
    return people.select("user_id", F.when(F.col("personalised"), drawn).otherwise(NOT_PERSONALISED).alias("arm"))
