"""Row rules: each judges one delivered row by itself. A row that breaks any is rejected, with every reason."""

from collections.abc import Callable, Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.actions import CONTENTLESS_ACTIONS
from salience.settings import CleanSettings

RowRule = Callable[[CleanSettings], Column]
"""Returns the condition under which a row breaks the rule; a null condition breaks nothing."""

EVENT_RULES: Mapping[str, RowRule] = {
    "missing_event_id": lambda _: F.col("event_id").isNull(),
    "missing_user_id": lambda _: F.col("raw_user_id").isNull(),
    "missing_content_id": lambda _: F.col("content_id").isNull() & ~F.col("action").isin(*CONTENTLESS_ACTIONS),
    "unknown_action": lambda _: F.col("action").isNull(),
    "missing_time": lambda _: F.col("event_time").isNull(),
    "future_event": lambda settings: F.col("event_time") >= _end_of_delivery_day(settings.future_tolerance_minutes),
    "too_late": lambda settings: F.col("event_date") < F.date_sub("delivery_date", settings.max_lateness_days),
    "negative_dwell": lambda _: F.col("dwell_s") < 0,
}
CONTENT_RULES: Mapping[str, RowRule] = {"missing_content_id": lambda _: F.col("content_id").isNull()}
USER_RULES: Mapping[str, RowRule] = {"missing_user_id": lambda _: F.col("raw_user_id").isNull()}
RULES: Mapping[str, Mapping[str, RowRule]] = {
    "interactions": EVENT_RULES,
    "contents": CONTENT_RULES,
    "users": USER_RULES,
}
"""Dataset -> name of the rule -> rule."""


def judge(typed: DataFrame, dataset: str, raw: str, settings: CleanSettings) -> DataFrame:
    """Return the rows with `violations` (sorted names of the broken rules) and, only where there are any, `payload`.

    Args:
        typed: bronze's columns but for those two, and the raw row as a struct.
        dataset: whose rules to apply.
        raw: name of the column that holds the raw row; it is dropped.
        settings: thresholds.
    """
    broken = [F.when(rule(settings), F.lit(name)) for name, rule in sorted(RULES[dataset].items())]
    judged = typed.withColumn("violations", F.array_compact(F.array(*broken)))
    payload = F.when(F.size("violations") > 0, F.to_json(raw))
    return judged.withColumn("payload", payload).drop(raw)


def _end_of_delivery_day(tolerance_minutes: int) -> Column:
    end = F.date_add("delivery_date", 1).cast("timestamp")
    return end + F.make_interval(mins=F.lit(tolerance_minutes))
