"""How often a content may be shown to somebody before they tire of it: what was seen, not what showing it causes.

Who is shown a content once more is not like who is not, nor are such contents like others: the figure describes what
was logged. Of 1,000 first showings of which 100 led to engagement, 500 second ones with 40 and 300 third ones with 12,
the third earns .04 / .10 of the first: with a floor of one half the suggestion is 2.
"""

from datetime import datetime, timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from salience.recommend.confidence import MICROSECONDS_PER_DAY
from salience.recommend.split import is_relevant
from salience.settings.recommend import RecommendSettings

CAPPED_DAYS = 7
"""Showings of a content to a person are counted over so many days."""
ENGAGES_WITHIN = timedelta(hours=24)
"""An engagement so long after a showing, or later, is not put down to it."""

_PAIR = ("platform", "user_id", "content_id")


def frequency_caps(interactions: DataFrame, cut: datetime, settings: RecommendSettings) -> DataFrame:
    """Suggest how often, at most, to show a content to a person within CAPPED_DAYS.

    It is the largest n such that the 2nd to n-th showings each led to engagement at least frequency_floor times as
    often as first ones, but not more than frequency_max. A time of which fewer than frequency_min_impressions are known
    ends it.

    Args:
        interactions: silver.interactions of all platforms.
        cut: what happened at this time or later is unknown; UTC.
        settings: window_days, relevant_actions, relevant_rating, rank.

    Returns:
        platform, suggested_frequency_cap (int, from 1; null, or no row, where too few first showings are known, or no
        one of them engaged).
    """
    enough, most = F.lit(settings.rank.frequency_min_impressions), settings.rank.frequency_max
    counted = (
        showings(interactions, cut, settings)
        .where(F.col("ordinal") <= most)
        .groupBy("platform", "ordinal")
        .agg(F.count("*").alias("showings"), F.avg(F.col("engages").cast("double")).alias("rate"))
        .where(F.col("showings") >= enough)
    )
    rates = F.map_from_entries(F.collect_list(F.struct("ordinal", "rate")))
    told = counted.groupBy("platform").agg(rates.alias("rates"))
    first = F.try_element_at("rates", F.lit(1))
    floor = F.lit(settings.rank.frequency_floor) * first
    earns = F.transform(F.sequence(F.lit(1), F.lit(most)), lambda n: F.try_element_at("rates", n) >= floor)
    ends = F.array_position(F.transform(earns, lambda one: F.coalesce(one, F.lit(False))), F.lit(False))
    cap = F.when(ends == 0, F.lit(most)).otherwise(ends - 1)
    return told.select("platform", F.when(first > 0, cap.cast("int")).alias("suggested_frequency_cap"))


def showings(interactions: DataFrame, cut: datetime, settings: RecommendSettings) -> DataFrame:
    """Return the showings of the window whose time to engage is over, and the how-manieth each of them is.

    A showing is an impression, or a view on a platform that logged no impression by then. It engages where a relevant
    action of the same person on the same content comes before the next showing, and within ENGAGES_WITHIN.

    Args:
        interactions, cut, settings: as for `frequency_caps`.

    Returns:
        platform, ordinal (int: showings of the content to the person in the CAPPED_DAYS up to this one, this one
        included), engages (boolean).
    """
    first = cut - timedelta(days=settings.window_days)
    from_then = F.col("event_time") >= F.lit(first - timedelta(days=CAPPED_DAYS))
    known = interactions.where(from_then & (F.col("event_time") < F.lit(cut)) & F.col("content_id").isNotNull())
    impressed = known.where(F.col("action") == "impression").select("platform", F.col("action").alias("shown_by"))
    told = known.join(F.broadcast(impressed.distinct()), "platform", how="left")
    is_showing = F.col("action") == F.coalesce("shown_by", F.lit("view"))
    # An action at the very instant of a showing is that showing's: showings sort first.
    in_order = Window.partitionBy(*_PAIR).orderBy("at", "is_action")
    recent = Window.partitionBy(*_PAIR).orderBy("at").rangeBetween(-CAPPED_DAYS * MICROSECONDS_PER_DAY + 1, 0)
    next_action = F.lead(F.when(F.col("is_action"), F.col("event_time"))).over(in_order)
    return (
        told.where(is_showing | is_relevant(settings))
        .select(*_PAIR, "event_time", F.unix_micros("event_time").alias("at"), (~is_showing).alias("is_action"))
        .withColumn("next_action", next_action)
        .withColumn("ordinal", F.count_if(~F.col("is_action")).over(recent).cast("int"))
        .where(~F.col("is_action") & F.col("event_time").between(F.lit(first), F.lit(cut - ENGAGES_WITHIN)))
        .select(
            "platform",
            "ordinal",
            F.coalesce(F.col("next_action") < F.col("event_time") + F.lit(ENGAGES_WITHIN), F.lit(False)).alias(
                "engages"
            ),
        )
    )
