"""User profiles: when a person is active, what interests them, how lately and how often they came."""

from collections.abc import Mapping
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.interactions.undone import without_undone
from salience.profiles.versions import valid_at_end_of
from salience.profiles.weights import EXACT_WEIGHT, action_weight, faded, in_window
from salience.settings import ProfileSettings

FAVOURITE_CREATORS = 5
NEW_DAYS = 7
"""A person whose first interaction is among the last so many days is new."""

_KEY = ["platform", "user_id"]
_TAGS = "array<struct<tag:string,weight:double>>"


def user_profiles(
    interactions: DataFrame,
    contents: DataFrame,
    as_of: date,
    settings: ProfileSettings,
    *,
    action_weights: Mapping[str, float],
    rating_scale_max: float,
) -> DataFrame:
    """Describe everyone with an interaction in the window: gold.user_profiles without release_id.

    Hours and weekdays are local where the source gives the offset, else UTC; every action counts in them. Interest tags
    and favourite creators sum the weights of the actions that were not undone, each faded by its own age; what adds up
    to nothing or less is left out. `monetary` is null where nothing was bought or more than one currency was paid; so
    is `monetary_currency`, and also where no purchase names one.

    `lifecycle_status` is `dormant` after `dormant_after_days` days without an interaction; else `new` where the first
    interaction in the window is among its last 7 days, provided that the platform's log reaches further back (a log
    that starts later cannot tell); else `active`.

    Args:
        interactions: silver.interactions; rows after `as_of` are left out.
        contents: silver.contents with its history; the versions of the end of `as_of` count.
        as_of: last day of the window.
        settings: window, half-life, number of tags.
        action_weights: weight per action; an absent one weighs nothing.
        rating_scale_max: a `rate` weighs its action's weight x rating / this.
    """
    window = interactions.where(in_window(as_of, settings.window_days))
    weighted = _engaged(window, contents, as_of, settings, action_weight(action_weights, rating_scale_max))
    described = (
        _activity(window)
        .join(_interest_tags(weighted, settings.interest_tags), _KEY, how="left")
        .join(_favourite_creators(weighted), _KEY, how="left")
        .join(F.broadcast(_log_starts(window)), "platform", how="left")
    )
    recency = F.date_diff(F.lit(as_of), F.col("last_date"))
    return described.select(
        *_KEY,
        recency.alias("recency_days"),
        "frequency",
        "monetary",
        "monetary_currency",
        "watch_time_s",
        _shares(_hour_counts(), F.col("interactions")).alias("active_hours"),
        _shares(_weekday_counts(), F.col("interactions")).alias("active_weekdays"),
        F.coalesce("interest_tags", F.array().cast(_TAGS)).alias("interest_tags"),
        F.coalesce("favourite_creators", F.array().cast("array<string>")).alias("favourite_creators"),
        _lifecycle_status(recency, as_of, settings.dormant_after_days).alias("lifecycle_status"),
    )


def local_hour() -> Column:
    """Return the local hour, 0..23, of `event_time` at `utc_offset_min` (UTC where that is null)."""
    return F.floor(F.pmod(_local_seconds(), F.lit(86_400)) / F.lit(3_600)).cast("int")


def local_weekday() -> Column:
    """Return the local weekday, 0 for Monday to 6 for Sunday, of `event_time` at `utc_offset_min`."""
    # The first of January 1970 was a Thursday.
    return F.pmod(F.floor(_local_seconds() / F.lit(86_400)) + 3, F.lit(7)).cast("int")


def _local_seconds() -> Column:
    return F.unix_seconds("event_time") + F.coalesce("utc_offset_min", F.lit(0)) * 60


def _activity(window: DataFrame) -> DataFrame:
    """Count per person; all sums are of integers and decimals, so they do not depend on the rows' order."""
    bought = F.col("action") == "purchase"
    currency = F.when(bought, F.col("currency"))
    # A purchase without a currency beside one with a currency is of another one, for all that is known.
    named, bought_at_all = F.count(currency), F.count_if(bought)
    one_currency = F.min(currency).eqNullSafe(F.max(currency)) & ((named == 0) | (named == bought_at_all))
    spent = F.when(one_currency, F.sum(F.when(bought, F.col("value"))))
    timed = window.withColumns({"hour": local_hour(), "weekday": local_weekday()})
    return timed.groupBy(_KEY).agg(
        F.max("event_date").alias("last_date"),
        F.min("event_date").alias("first_date"),
        F.size(F.collect_set("event_date")).alias("frequency"),
        F.count("*").alias("interactions"),
        spent.cast("decimal(22,4)").alias("monetary"),
        F.when(one_currency, F.min(currency)).alias("monetary_currency"),
        F.coalesce(F.sum("dwell_s").cast("double"), F.lit(0.0)).alias("watch_time_s"),
        *[F.count_if(F.col("hour") == hour).alias(f"hour_{hour}") for hour in range(24)],
        *[F.count_if(F.col("weekday") == day).alias(f"weekday_{day}") for day in range(7)],
    )


def _hour_counts() -> list[str]:
    return [f"hour_{hour}" for hour in range(24)]


def _weekday_counts() -> list[str]:
    return [f"weekday_{day}" for day in range(7)]


def _shares(counts: list[str], total: Column) -> Column:
    return F.array(*[F.col(name) / total for name in counts])


def _engaged(
    window: DataFrame, contents: DataFrame, as_of: date, settings: ProfileSettings, weight: Column
) -> DataFrame:
    """Return platform, user_id, creator_id, tags and the exact, faded weight of each interaction that weighs."""
    versions = valid_at_end_of(contents, as_of).select(
        "platform", "content_id", "tags", F.col("creator_id").alias("content_creator_id")
    )
    weighing = without_undone(window).withColumn("weight", weight).where(F.col("weight") != 0)
    fading = faded(F.col("weight"), as_of, settings.interest_half_life_days).cast(EXACT_WEIGHT)
    return weighing.join(versions, ["platform", "content_id"], how="left").select(
        *_KEY, F.coalesce("creator_id", "content_creator_id").alias("creator_id"), "tags", fading.alias("weight")
    )


def _interest_tags(engaged: DataFrame, most: int) -> DataFrame:
    tagged = engaged.select(*_KEY, F.explode(F.array_distinct("tags")).alias("tag"), "weight")
    strongest = _strongest(tagged, "tag", most)
    total = F.aggregate(
        "strongest", F.lit(0).cast("decimal(38,18)"), lambda sum_, x: (sum_ - x["minus_weight"]).cast("decimal(38,18)")
    )
    shares = F.transform(
        "strongest",
        lambda x: F.struct(
            x["tag"].alias("tag"), (-x["minus_weight"].cast("double") / F.col("total").cast("double")).alias("weight")
        ),
    )
    return strongest.withColumn("total", total).select(*_KEY, shares.alias("interest_tags"))


def _favourite_creators(engaged: DataFrame) -> DataFrame:
    known = engaged.where(F.col("creator_id").isNotNull())
    strongest = _strongest(known, "creator_id", FAVOURITE_CREATORS)
    return strongest.select(*_KEY, F.col("strongest")["creator_id"].alias("favourite_creators"))


def _strongest(weighted: DataFrame, name: str, most: int) -> DataFrame:
    """Return each person's `most` values of a column with the largest sums of weights; ties go by the value."""
    summed = weighted.groupBy(*_KEY, name).agg(F.sum("weight").alias("weight")).where(F.col("weight") > 0)
    ordered = F.array_sort(F.collect_list(F.struct((-F.col("weight")).alias("minus_weight"), name)))
    return summed.groupBy(_KEY).agg(F.slice(ordered, 1, most).alias("strongest"))


def _log_starts(window: DataFrame) -> DataFrame:
    """Return the first day in the window that each platform's log has."""
    return window.groupBy("platform").agg(F.min("event_date").alias("log_starts"))


def _lifecycle_status(recency_days: Column, as_of: date, dormant_after_days: int) -> Column:
    lately = F.lit(as_of - timedelta(days=NEW_DAYS))
    return (
        F.when(recency_days >= dormant_after_days, "dormant")
        .when((F.col("first_date") > lately) & (F.col("log_starts") <= lately), "new")
        .otherwise("active")
    )
