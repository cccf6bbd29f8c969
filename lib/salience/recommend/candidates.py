"""Contents worth ranking for each person: personal ones first, then what is popular of late."""

from datetime import datetime

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from salience.recommend.arms import PERSONALISED
from salience.recommend.availability import newest_versions, unavailable
from salience.recommend.confidence import histories, preferences, seen_contents
from salience.recommend.explain import EXPLAINED, explain
from salience.recommend.foldin import Model, fold_in
from salience.recommend.popularity import popularity
from salience.recommend.topk import collect_items, top_k
from salience.settings.recommend import RecommendSettings

BECAUSE = "array<struct<content_id:string,contribution:double,share:double>>"


def personal(
    people: DataFrame,
    interactions: DataFrame,
    contents: DataFrame,
    cut: datetime,
    item_factors: DataFrame,
    model: Model,
    settings: RecommendSettings,
) -> DataFrame:
    """List the contents that ALS ranks highest for each person of the personalised arm with a history, and why.

    Args:
        people: user_id, arm.
        interactions, contents: rows of silver of one platform.
        cut: what happened at this time or later is unknown; UTC.
        item_factors: content_id, features of the model.
        model: the same, for tasks.
        settings: length of the lists, weights.

    Returns:
        user_id, arm, top: array of (content_id, score, because), best first.
    """
    history = histories(preferences(interactions, cut, settings))
    asking = people.where(F.col("arm") == PERSONALISED).select("user_id", "arm").join(history, "user_id", how="inner")
    asking = asking.join(seen_contents(interactions, cut), "user_id", how="inner")
    available = item_factors.join(unavailable(contents, cut), "content_id", how="left_anti")
    return explain(top_k(fold_in(asking, model), collect_items(available), settings.candidates), model)


def for_nobody(spark: SparkSession) -> DataFrame:
    """Return what `personal` does where there is no model: nobody's list."""
    return spark.createDataFrame([], f"user_id string, arm string, top {EXPLAINED}")


def trending(
    people: DataFrame,
    interactions: DataFrame,
    contents: DataFrame,
    cut: datetime,
    personal_lists: DataFrame,
    settings: RecommendSettings,
) -> DataFrame:
    """Fill each person's list with what is popular of late and in neither their past nor their personal list.

    Every available content takes part, also one that nobody touched yet, so a list stays short only where the catalogue
    has no more.

    Returns:
        user_id, arm, top: array of (content_id, score), best first, only as long as the list has room.
    """
    lists = personal_lists.select("user_id", F.col("top.content_id").alias("listed"))
    asking = (
        people.select("user_id", "arm")
        .join(lists, "user_id", how="left")
        .join(seen_contents(interactions, cut), "user_id", how="left")
    )
    room = F.lit(settings.candidates) - F.coalesce(F.size("listed"), F.lit(0))
    nothing = F.array().cast("array<string>")
    masked = F.concat(F.coalesce("seen", nothing), F.coalesce("listed", nothing))
    asking = asking.select(
        "user_id", "arm", room.alias("room"), masked.alias("seen"), F.array(F.lit(1.0)).alias("features")
    )
    items = trending_items(interactions, contents, cut, settings)
    filled = top_k(asking.where("room > 0"), collect_items(items), settings.candidates)
    return filled.select("user_id", "arm", F.slice("top", F.lit(1), F.col("room")).alias("top"))


def trending_items(
    interactions: DataFrame, contents: DataFrame, cut: datetime, settings: RecommendSettings
) -> DataFrame:
    """Return every available content with its popularity of late: content_id, features (one score)."""
    popular = popularity(interactions, cut, [settings.trending_half_life_days], settings)
    known = newest_versions(contents, "content_id", cut).select("content_id")
    untouched = known.join(popular, "content_id", how="left_anti").select("content_id", F.array(F.lit(0.0)))
    return popular.union(untouched).join(unavailable(contents, cut), "content_id", how="left_anti")


def as_rows(lists: DataFrame, platform: str, source: str, because: Column | None = None) -> DataFrame:
    """Turn lists into rows of gold.recommendation_candidates without the release.

    Args:
        lists: user_id, arm, top: array of structs with content_id and score.
        platform: of the people.
        source: what proposed the contents.
        because: the reasons, in terms of `item`, an element of `top`; None for sources that are not personal.
    """
    return lists.select("user_id", "arm", F.explode("top").alias("item")).select(
        F.lit(platform).alias("platform"),
        "user_id",
        "arm",
        F.col("item.content_id").alias("content_id"),
        F.col("item.score").alias("score"),
        F.lit(source).alias("source"),
        (F.lit(None) if because is None else because).cast(BECAUSE).alias("because"),
    )


def placed(rows: DataFrame) -> DataFrame:
    """Add `place`: personal sources before trending, then by score, then by content_id."""
    best_first = Window.partitionBy("platform", "user_id").orderBy(
        F.col("source") == "trending", F.col("score").desc(), F.col("content_id")
    )
    return rows.withColumn("place", F.row_number().over(best_first))
