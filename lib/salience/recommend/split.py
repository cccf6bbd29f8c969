"""The time protocol: train before T1, choose between T1 and T2, report between T2 and T3."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.recommend.confidence import seen_contents
from salience.settings.recommend import RecommendSettings


@dataclass(frozen=True)
class Cuts:
    """T1, T2 and T3, UTC."""

    train_end: datetime
    choose_end: datetime
    report_end: datetime

    def describe(self) -> str:
        """Return the protocol in one line."""
        t1, t2, t3 = (f"{t:%Y-%m-%dT%H:%M:%SZ}" for t in (self.train_end, self.choose_end, self.report_end))
        return (
            f"time split: parameters chosen on [{t1}, {t2}) by a fit before it, then fitted before {t2} and judged on "
            f"[{t2}, {t3}); people with history before the cut and a relevant new content after it"
        )


def end_of(day: date) -> datetime:
    """Return the first instant after a UTC day."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def cuts(as_of: date, evaluation_days: float) -> Cuts:
    """Cut two windows of `evaluation_days` off the end of the as-of day."""
    end, window = end_of(as_of), timedelta(days=evaluation_days)
    return Cuts(end - 2 * window, end - window, end)


def relevant_pairs(interactions: DataFrame, start: datetime, end: datetime, settings: RecommendSettings) -> DataFrame:
    """Return the pairs with a relevant action in [start, end): user_id, content_id.

    Relevant are settings.relevant_actions; a `rate` among them only from settings.relevant_rating on.
    """
    in_window = (F.col("event_time") >= F.lit(start)) & (F.col("event_time") < F.lit(end))
    named = F.col("content_id").isNotNull()
    return interactions.where(in_window & is_relevant(settings) & named).select("user_id", "content_id").distinct()


def is_relevant(settings: RecommendSettings) -> Column:
    """Return whether an interaction is a relevant action; never null where `action` is not."""
    good_enough = (F.col("action") != "rate") | (F.col("rating") >= settings.relevant_rating)
    return F.col("action").isin(settings.relevant_actions) & F.coalesce(good_enough, F.lit(False))


def judged_people(
    interactions: DataFrame, preferences: DataFrame, cut: datetime, end: datetime, settings: RecommendSettings
) -> DataFrame:
    """Return the people that recommenders are judged on, with what they should find.

    They have a preference (any weight) before the cut and at least one relevant content in [cut, end) that they had
    nothing to do with before it.

    Args:
        interactions: rows of silver.interactions of one platform.
        preferences: weighted pairs as of the cut.
        cut, end: the window in which people may find something.
        settings: what is relevant.

    Returns:
        user_id, seen (array of content_id) and relevant (the same, sorted).
    """
    seen = seen_contents(interactions, cut)
    known = preferences.select("user_id").distinct()
    wanted = relevant_pairs(interactions, cut, end, settings).groupBy("user_id")
    relevant = wanted.agg(F.array_sort(F.collect_set("content_id")).alias("wanted"))
    new = F.array_except("wanted", "seen")
    return (
        relevant.join(known, "user_id", how="left_semi")
        .join(seen, "user_id", how="inner")
        .select("user_id", "seen", new.alias("relevant"))
        .where(F.size("relevant") > 0)
    )
