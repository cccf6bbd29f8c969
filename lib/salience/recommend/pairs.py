"""What models of a platform learn from: its weighted pairs, and what is known of contents."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.recommend.availability import newest_versions, unavailable
from salience.recommend.confidence import preferences
from salience.settings.recommend import RecommendSettings


def pairs(interactions: DataFrame, cut: datetime, settings: RecommendSettings) -> DataFrame:
    """Return what each person did before `cut`, as `models.interface.training` takes it.

    Returns:
        user_id, content_id, weight (double, > 0), age_days: 0, for the weights are faded already, each interaction by
        its own age.
    """
    age = F.lit(0.0).alias("age_days")
    return preferences(interactions, cut, settings).select("user_id", "content_id", "weight", age)


def tags(contents: DataFrame, cut: datetime) -> DataFrame:
    """Return the tags that each content had before `cut`: content_id, tags."""
    return newest_versions(contents, "content_id", cut).select("content_id", "tags")


def hidden(contents: DataFrame, cut: datetime) -> list[str]:
    """Return the content_id of those that may not be shown as of `cut`; the catalogue bounds how many there are."""
    return [str(one) for one in unavailable(contents, cut).toArrow()["content_id"].to_pylist()]
