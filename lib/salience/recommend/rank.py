"""The final lists: candidates in order of what is expected of them, varied, capped, and some of them by lot.

The relevance of a candidate is p_engage_24h x what an engagement with the content is worth x its freshness: worth.py
says what these are, rerank.py how lists are picked by it.
"""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.recommend.arms import PERSONALISED
from salience.recommend.explore import lot
from salience.recommend.rerank import rerank
from salience.settings.recommend import RankSettings, RecommendSettings
from salience.tables.recommendations import SHORTFALL_REASONS

RANKING_MODEL = "logistic"
"""The engagement model that ranks."""
NAMED_REASONS = 2
"""At most this many own contents are named in a reason."""
EXPLORE = "explore"
"""The source of what is shown by lot."""
NOTHING_AVAILABLE, TOO_SMALL, EXHAUSTED = SHORTFALL_REASONS
"""Why a list is short: of the contents that may be shown there are none, fewer than k, or fewer that are new to one."""


def rank(
    candidates: DataFrame,
    scores: DataFrame | None,
    facts: DataFrame,
    caps: DataFrame,
    cut: datetime,
    settings: RecommendSettings,
) -> DataFrame:
    """Pick each person's k best candidates.

    People of the arm `personalised` get them by relevance and variety, the last places by lot; see rerank.py. Those of
    other arms get the k first ones by place.

    Args:
        candidates: platform, user_id, arm, place, content_id, score, source, because.
        scores: platform, user_id, content_id, model, p_engage_24h; None where there is no engagement model yet.
        facts: platform, and what worth.facts returns.
        caps: platform, suggested_frequency_cap.
        cut: what happened at this time or later is unknown; UTC.
        settings: k, rank.

    Returns:
        rows of gold.recommendations without the release.
    """
    judged = _judged(_scored(candidates, scores), facts, cut, settings.rank)
    lists = rerank(judged, settings.k, settings.rank).join(F.broadcast(caps), "platform", how="left")
    is_drawn = F.col("is_drawn")
    return lists.select(
        "platform",
        "user_id",
        "arm",
        "rank",
        "content_id",
        "score",
        "p_engage_24h",
        F.when(is_drawn, EXPLORE).otherwise(F.col("source")).alias("source"),
        F.when(~is_drawn, F.col("because")).alias("because"),
        "propensity",
        "suggested_frequency_cap",
    ).withColumn("reason", reason())


def shortfalls(candidates: DataFrame, people: DataFrame, available: DataFrame, k: int) -> DataFrame:
    """Return who has fewer than k candidates, and so a shorter list, and why.

    Args:
        candidates: platform, user_id.
        people: platform, user_id of everyone to serve.
        available: platform, available: how many contents may be shown to somebody.
        k: length of the lists.

    Returns:
        rows of gold.recommendation_shortfalls without the release.
    """
    person = ["platform", "user_id"]
    served = candidates.groupBy(*person).agg(F.count("*").alias("found"))
    missing = (F.lit(k) - F.coalesce("found", F.lit(0))).cast("int").alias("missing")
    short = people.join(served, person, how="left").select(*person, missing).where(F.col("missing") > 0)
    why = F.when(F.col("available") == 0, NOTHING_AVAILABLE).when(F.col("available") < k, TOO_SMALL)
    told = short.join(F.broadcast(available), "platform", how="inner")
    return told.select(*person, "missing", why.otherwise(EXHAUSTED).alias("reason"))


def reason() -> Column:
    """Return the sentence that tells a person why a content is in their list, from source, because and score."""
    named = F.transform(F.slice(F.coalesce("because", F.array()), 1, NAMED_REASONS), lambda own: own["content_id"])
    personal = F.when(
        F.size(named) > 0, F.concat(F.lit("Because of what you did with "), F.array_join(named, " and "))
    ).otherwise(F.lit("Chosen for you from what you did before"))
    popular = F.when(F.col("score") > 0, F.concat(F.lit("Popular of late on "), "platform")).otherwise(
        F.concat(F.lit("New to you on "), "platform")
    )
    return (
        F.when(F.col("source") == EXPLORE, F.lit("Shown to learn whether you like it"))
        .when(F.col("source") == "trending", popular)
        .when(
            F.col("source") == "segment_popular",
            F.concat(F.lit("Popular among people like you on "), F.col("platform")),
        )
        .otherwise(personal)
    )


def _scored(candidates: DataFrame, scores: DataFrame | None) -> DataFrame:
    if scores is None:
        return candidates.withColumn("p_engage_24h", F.lit(None).cast("double"))
    wanted = scores.where(F.col("model") == RANKING_MODEL).select("platform", "user_id", "content_id", "p_engage_24h")
    return candidates.join(wanted, ["platform", "user_id", "content_id"], how="left")


def _judged(scored: DataFrame, facts: DataFrame, cut: datetime, settings: RankSettings) -> DataFrame:
    """Add what `rerank` judges by. Of other arms than `personalised` it learns nothing: their lists go by place."""
    is_personal = F.col("arm") == PERSONALISED
    told = scored.join(facts, ["platform", "content_id"], how="left")
    value, nothing = F.coalesce("engagement_value", F.lit(1.0)), F.array().cast("array<string>")
    return told.select(
        *scored.columns,
        F.when(is_personal, F.col("p_engage_24h") * value).alias("expected"),
        F.when(is_personal, F.coalesce("boost", F.lit(1.0))).otherwise(F.lit(1.0)).alias("boost"),
        F.when(is_personal, F.col("creator_id")).alias("creator_id"),
        F.when(is_personal, F.coalesce("tags", nothing)).otherwise(nothing).alias("tags"),
        F.when(is_personal, lot(cut, settings.exploration_salt)).alias("lot"),
    )
