"""The final lists: candidates in order of how likely the person is to engage."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

RANKING_MODEL = "logistic"
"""The engagement model that ranks."""
NAMED_REASONS = 2
"""At most this many own contents are named in a reason."""


def rank(candidates: DataFrame, scores: DataFrame | None, people: DataFrame, k: int) -> tuple[DataFrame, DataFrame]:
    """Pick each person's k best candidates.

    They are ranked by p_engage_24h, unscored ones last, then personal sources before trending, then by score, then by
    content_id.

    Args:
        candidates: platform, user_id, arm, content_id, score, source, because.
        scores: platform, user_id, content_id, model, p_engage_24h; None where there is no engagement model yet.
        people: platform, user_id of everyone to serve.
        k: length of the lists.

    Returns:
        rows of gold.recommendations and of gold.recommendation_shortfalls, both without the release.
    """
    scored = _scored(candidates, scores)
    best_first = Window.partitionBy("platform", "user_id").orderBy(
        F.col("p_engage_24h").desc_nulls_last(),
        F.col("place"),
        F.col("score").desc(),
        F.col("content_id"),
    )
    ranked = scored.withColumn("rank", F.row_number().over(best_first)).where(F.col("rank") <= k)
    recommendations = ranked.select(
        "platform",
        "user_id",
        "arm",
        "rank",
        "content_id",
        "score",
        "p_engage_24h",
        "source",
        reason().alias("reason"),
        "because",
        F.lit(1.0).alias("propensity"),
    )
    served = candidates.groupBy("platform", "user_id").agg(F.count("*").alias("found"))
    missing = F.lit(k) - F.coalesce("found", F.lit(0))
    shortfalls = (
        people.join(served, ["platform", "user_id"], how="left")
        .select("platform", "user_id", missing.cast("int").alias("missing"))
        .where(F.col("missing") > 0)
        .withColumn("reason", F.lit("catalogue_exhausted"))
    )
    return recommendations, shortfalls


def reason() -> Column:
    """Return the sentence that tells a person why a content is in their list, from source, because and score."""
    named = F.transform(F.slice(F.coalesce("because", F.array()), 1, NAMED_REASONS), lambda own: own["content_id"])
    personal = F.when(
        F.size(named) > 0, F.concat(F.lit("Because of what you did with "), F.array_join(named, " and "))
    ).otherwise(F.lit("Chosen for you from what you did before"))
    popular = F.when(F.col("score") > 0, F.concat(F.lit("Popular this week on "), F.col("platform"))).otherwise(
        F.concat(F.lit("New to you on "), F.col("platform"))
    )
    return F.when(F.col("source") == "trending", popular).otherwise(personal)


def _scored(candidates: DataFrame, scores: DataFrame | None) -> DataFrame:
    if scores is None:
        return candidates.withColumn("p_engage_24h", F.lit(None).cast("double"))
    wanted = scores.where(F.col("model") == RANKING_MODEL).select("platform", "user_id", "content_id", "p_engage_24h")
    return candidates.join(wanted, ["platform", "user_id", "content_id"], how="left")
