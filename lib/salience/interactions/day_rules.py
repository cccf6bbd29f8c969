"""Day rules: they judge the events of a day beside one another, whatever the order of their deliveries."""

from datetime import date, timedelta
from math import ceil

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.settings import CleanSettings
from salience.tables.warehouse import is_in

DUPLICATE = "duplicate"
_PLACE = "__place"


def events_of_days(events: DataFrame, platform: str, days: list[date], settings: CleanSettings) -> DataFrame:
    """Return the rows of bronze.events that pass the row rules and lie on the given event days.

    Only deliveries that can hold such events are read: from the day that the future tolerance allows to the last day
    that max_lateness_days allows.
    """
    ahead = 1 + ceil(settings.future_tolerance_minutes / (24 * 60))
    first = min(days) - timedelta(days=ahead)
    last = max(days) + timedelta(days=settings.max_lateness_days)
    of_platform = F.col("platform") == platform
    in_reach = F.col("delivery_date").between(F.lit(first), F.lit(last))
    return events.where(of_platform & in_reach & is_in("event_date", days) & (F.size("violations") == 0))


def judge_days(events: DataFrame) -> DataFrame:
    """Return the events with `reason` (null for an accepted one) and `winner_event_id`.

    An event is (platform, event_id, event_time). Among its copies the one with the smallest (delivery_date, row_hash)
    wins, so the verdict does not depend on the order in which deliveries were taken.
    """
    copies = Window.partitionBy("platform", "event_id", "event_time")
    in_order = copies.orderBy("delivery_date", "row_hash", "source_file")
    is_copy = F.col(_PLACE) > 1
    return (
        events.withColumn(_PLACE, F.row_number().over(in_order))
        .withColumn("reason", F.when(is_copy, F.lit(DUPLICATE)))
        .withColumn("winner_event_id", F.when(is_copy, F.col("event_id")))
        .drop(_PLACE)
    )


def is_accepted() -> Column:
    """Return the condition that a judged event is accepted."""
    return F.col("reason").isNull()


def count_verdicts(bronze: DataFrame, judged: DataFrame) -> DataFrame:
    """Return one row a delivery: delivery_date, emitted, rejected, excluded, accepted.

    Args:
        bronze: every bronze row of the deliveries in question (delivery_date, violations).
        judged: the judged events of every event day that these deliveries touch.
    """
    delivered = bronze.groupBy("delivery_date").agg(
        F.count("*").alias("emitted"), F.count_if(F.size("violations") > 0).alias("rejected")
    )
    verdicts = judged.groupBy("delivery_date").agg(
        F.count_if(~is_accepted()).alias("excluded"), F.count_if(is_accepted()).alias("accepted")
    )
    return delivered.join(verdicts, on="delivery_date", how="left").fillna(0, ["excluded", "accepted"])
