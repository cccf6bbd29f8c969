"""Content profiles: what happened to a content in the window, and what share of its audience engaged."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.actions import ACTIONS
from salience.profiles.plays import is_complete, is_measured
from salience.profiles.versions import valid_at_end_of
from salience.profiles.weights import days_until_end, in_window
from salience.settings import ProfileSettings
from salience.stats.intervals import wilson_high, wilson_low
from salience.stats.small_cells import PEOPLE, SUPPRESSED

_KEY = ["platform", "content_id"]


def content_profiles(
    interactions: DataFrame,
    contents: DataFrame,
    as_of: date,
    settings: ProfileSettings,
    *,
    positive_actions: Sequence[str],
) -> DataFrame:
    """Describe every content with an interaction in the window: gold.content_profiles without release_id.

    Rates are shares of people, not of events: engaged_reach / reach, with the 95 % Wilson interval. `freshness_days` is
    null where the time of publication is unknown. Everything is exact; `people` says how many people stand behind what
    has no count of people of its own, for stats/small_cells.py, which takes it away when the release is published.

    Args:
        interactions: silver.interactions; rows after `as_of` are left out.
        contents: silver.contents with its history; the versions of the end of `as_of` count.
        as_of: last day of the window.
        settings: the window.
        positive_actions: actions that count as engagement.
    """
    window = interactions.where(in_window(as_of, settings.window_days) & F.col("content_id").isNotNull())
    versions = valid_at_end_of(contents, as_of).select(*_KEY, "tags", "published_at")
    counted = _counts(_counts_by_person(window), positive_actions).join(versions, _KEY, how="left")
    engaged, reach = F.col("engaged_reach"), F.col("reach")
    pairs = F.array(*[F.struct(F.lit(action).alias("action"), F.col(action).alias("n")) for action in ACTIONS])
    return counted.select(
        *_KEY,
        F.map_from_entries(F.filter(pairs, lambda pair: pair["n"] > 0)).alias("actions"),
        F.col("impression").alias("impressions"),
        "reach",
        "engagers",
        "engaged_reach",
        F.try_divide(engaged, reach).alias("engagement_rate_by_reach"),
        wilson_low(engaged, reach).alias("engagement_rate_by_reach_ci_low"),
        wilson_high(engaged, reach).alias("engagement_rate_by_reach_ci_high"),
        F.coalesce(F.col("watched_s").cast("double"), F.lit(0.0)).alias("watch_time_s"),
        F.try_divide("complete_plays", "measured_plays").alias("completion_rate_by_plays"),
        "tags",
        days_until_end(F.col("published_at"), as_of).alias("freshness_days"),
        PEOPLE,
        F.lit(None).cast("int").alias(SUPPRESSED),
    )


def _counts_by_person(window: DataFrame) -> DataFrame:
    """Count each person's actions on each content, and their plays that can be measured."""
    return window.groupBy(*_KEY, "user_id").agg(
        *[F.count_if(F.col("action") == action).alias(action) for action in ACTIONS],
        F.count_if(is_measured()).alias("measured_plays"),
        F.count_if(is_complete()).alias("complete_plays"),
        F.sum("dwell_s").alias("watched_s"),
    )


def _counts(by_person: DataFrame, positive_actions: Sequence[str]) -> DataFrame:
    """Add people up: sums of their counts, and how many of them were reached and engaged."""
    was_reached = F.col("impression") > 0
    has_engaged = F.greatest(F.lit(0), *[F.col(action) for action in positive_actions]) > 0
    who_did = {
        "everyone": F.lit(True),
        "watchers": F.col("watched_s") > 0,
        "measured_players": F.col("measured_plays") > 0,
        "completers": F.col("complete_plays") > 0,
        "non_completers": F.col("measured_plays") > F.col("complete_plays"),
        **{action: F.col(action) > 0 for action in ACTIONS},
    }
    return by_person.groupBy(_KEY).agg(
        F.count_if(was_reached).alias("reach"),
        F.count_if(has_engaged).alias("engagers"),
        F.count_if(was_reached & has_engaged).alias("engaged_reach"),
        *[F.sum(name).alias(name) for name in (*ACTIONS, "measured_plays", "complete_plays", "watched_s")],
        F.create_map(*(part for who, it_is in who_did.items() for part in (F.lit(who), F.count_if(it_is)))).alias(
            PEOPLE
        ),
    )
