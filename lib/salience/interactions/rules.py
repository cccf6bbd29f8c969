"""The rules that every delivered row must pass, all in one table.

Row rules judge a row alone, when it comes into bronze; a row that breaks any is rejected, with all of their names. Day
rules judge an event beside the others of its day and what is known of the person; an event that breaks any is excluded.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

from salience.actions import CONTENTLESS_ACTIONS
from salience.settings import CleanSettings
from salience.sources.mapping import BRONZE_TABLES, Dataset
from salience.sources.typed import HAS_TIME, IS_UTF8, LACKING, UNREADABLE

PLACE = "__place"
"""Place of an event among its copies, from 1."""
SINCE_SAME_S = "__since_same_s"
"""Seconds since the person did the same to the same content."""
EVENTS_OF_DAY, IS_TOO_FAST = "__events_of_day", "__is_too_fast"
"""Events of the person on the day; whether some 60 seconds of it hold more than clean.bot.max_events_per_minute."""
GAPS_MS, SQUARED_GAPS_MS2 = "__gaps_ms", "__squared_gaps_ms2"
"""Sum of the gaps between the person's events of the day, in milliseconds, and the sum of their squares."""
MAY_BE_BOT = "__may_be_bot"
"""Whether the person's day may be a machine's; if so, all of its events are looked at beside one another."""
IS_WITHDRAWN, IS_ERASED = "__is_withdrawn", "__is_erased"
"""Whether the person had withdrawn consent to analysis at that time; whether the person was erased."""


@dataclass(frozen=True)
class Rule:
    """One rule. `broken` returns the condition under which a row breaks it; a null condition breaks nothing."""

    name: str
    broken: Callable[[CleanSettings], Column]
    meaning: str


def _any(conditions: Iterable[Column]) -> Column:
    return reduce(lambda one, other: one | other, (F.coalesce(c, F.lit(False)) for c in conditions))


def _is_null(*columns: str) -> Callable[[CleanSettings], Column]:
    return lambda _: _any(F.col(name).isNull() for name in columns)


def malformed(*columns: str) -> Callable[[CleanSettings], Column]:
    """Return the condition that any of the columns holds a text that is no id."""

    def broken(settings: CleanSettings) -> Column:
        # One regular expression over all ids; blanks other than the space are control characters.
        conditions = [F.concat_ws("", *columns).rlike(r"\p{Cntrl}")]
        for name in map(F.col, columns):
            # Counting characters takes time; none is shorter than a byte.
            is_long = (F.octet_length(name) > settings.max_id_length) & (F.length(name) > settings.max_id_length)
            conditions.append(is_long | (name == ""))
            conditions.append(name.startswith(" ") | name.endswith(" "))
        return _any(conditions)

    return broken


def _end_of_delivery_day(tolerance_minutes: int) -> Column:
    return F.date_add("delivery_date", 1).cast("timestamp") + F.make_interval(mins=F.lit(tolerance_minutes))


def _is_regular(settings: CleanSettings) -> Column:
    """Return whether the gaps vary too little: n x sum of squares < (1 + variation squared) x square of the sum."""
    gaps, total = F.col(EVENTS_OF_DAY) - 1, F.col(GAPS_MS).cast("double")
    enough = F.col(EVENTS_OF_DAY) >= settings.bot.regular_events
    variation = 1 + settings.bot.regular_variation**2
    return enough & (gaps * F.col(SQUARED_GAPS_MS2).cast("double") < variation * total * total)


_PROPENSITY = Rule(
    "absurd_propensity",
    lambda _: ~F.col("propensity").between(0, 1) | (F.col("propensity") == 0),
    "the propensity is no probability above 0",
)
_FIT_FOR_ALL = (
    Rule("invalid_utf8", lambda _: ~F.col(IS_UTF8), "a text of the row is not UTF-8"),
    Rule("missing_required", lambda _: F.size(LACKING) > 0, "a raw column is empty that the mapping requires"),
    Rule(
        "unreadable_value",
        lambda _: F.size(F.array_except(UNREADABLE, F.array(F.lit("dwell_s"), F.lit("value")))) > 0,
        "a value does not fit its column's type, like a word where a number belongs",
    ),
)
_OWN: dict[Dataset, tuple[Rule, ...]] = {
    "interactions": (
        Rule("missing_event_id", _is_null("event_id"), "the row has no event id"),
        Rule("missing_user_id", _is_null("raw_user_id"), "the row names no person"),
        Rule(
            "missing_content_id",
            lambda _: F.col("content_id").isNull() & ~F.col("action").isin(*CONTENTLESS_ACTIONS),
            "the row names no content, and its action is not one that needs none",
        ),
        Rule("unknown_action", _is_null("action"), "the mapping has no action for what the row says"),
        Rule("missing_time", lambda _: ~F.col(HAS_TIME), "the row has no time"),
        Rule(
            "unparseable_time",
            lambda _: F.col(HAS_TIME) & F.col("event_time").isNull(),
            "the row's time cannot be read as the mapping says",
        ),
        Rule(
            "future_event",
            lambda settings: F.col("event_time") >= _end_of_delivery_day(settings.future_tolerance_minutes),
            "the event lies after its delivery's day (clean.future_tolerance_minutes)",
        ),
        Rule(
            "too_late",
            lambda settings: F.col("event_date") < F.date_sub("delivery_date", settings.max_lateness_days),
            "the event lies too long before its delivery's day (clean.max_lateness_days)",
        ),
        Rule("negative_dwell", lambda _: F.col("dwell_s") < 0, "the time spent is negative"),
        Rule(
            "absurd_dwell",
            lambda settings: _any([F.col("dwell_s") > settings.max_dwell_s, F.array_contains(UNREADABLE, "dwell_s")]),
            "the time spent is no number or longer than anybody could (clean.max_dwell_s)",
        ),
        Rule("negative_value", lambda _: F.col("value") < 0, "the money moved is negative"),
        Rule(
            "absurd_value",
            lambda settings: _any([F.col("value") > settings.max_value, F.array_contains(UNREADABLE, "value")]),
            "the money moved is no number or more than plausible (clean.max_value)",
        ),
        Rule(
            "absurd_rating",
            lambda _: _any([F.isnan("rating"), F.abs(F.col("rating")) == float("inf")]),
            "the rating is no finite number",
        ),
        Rule("negative_video_length", lambda _: F.col("video_length_s") < 0, "the length of the video is negative"),
        Rule("absurd_position", lambda _: F.col("position") < 1, "the slot is none: slots count from 1"),
        Rule(
            "absurd_utc_offset",
            lambda _: ~F.col("utc_offset_min").between(-12 * 60, 14 * 60),
            "nowhere do clocks differ so much from UTC",
        ),
        _PROPENSITY,
    ),
    "contents": (Rule("missing_content_id", _is_null("content_id"), "the row names no content"),),
    "users": (Rule("missing_user_id", _is_null("raw_user_id"), "the row names no person"),),
    "accounts": (Rule("missing_creator_id", _is_null("raw_creator_id"), "the row names no account"),),
    "assignments": (
        Rule("missing_experiment", _is_null("experiment_id", "arm"), "the row names no experiment or no arm"),
        Rule(
            "not_one_unit",
            lambda _: F.col("raw_user_id").isNull() == F.col("content_id").isNull(),
            "the row must name either a person or a content",
        ),
        _PROPENSITY,
    ),
    "campaigns": (
        Rule("missing_campaign_id", _is_null("campaign_id"), "the row names no campaign"),
        Rule("negative_budget", lambda _: F.col("budget") < 0, "the budget is negative"),
    ),
    "costs": (
        Rule("missing_campaign_id", _is_null("campaign_id"), "the row names no campaign"),
        Rule("missing_cost", _is_null("cost", "cost_date"), "the row has no cost or no day"),
        Rule("negative_cost", lambda _: F.col("cost") < 0, "the cost is negative"),
    ),
    "identifiers": (
        Rule("missing_user_id", _is_null("raw_user_id"), "the row names no person"),
        Rule(
            "missing_identifier", _is_null("kind", "identifier"), "the row has no identifier or does not say its kind"
        ),
    ),
    "blocklist": (
        Rule(
            "not_one_unit",
            lambda _: F.col("raw_creator_id").isNull() == F.col("content_id").isNull(),
            "the row must name either a content or a creator",
        ),
    ),
}


def _malformed_id(dataset: Dataset) -> Rule:
    ids = [c.name for c in BRONZE_TABLES[dataset].columns if c.name.endswith("_id")]
    meaning = "an id is blank, has control characters or blanks around it, or is too long (clean.max_id_length)"
    return Rule("malformed_id", malformed(*ids), meaning)


ROW_RULES: dict[Dataset, tuple[Rule, ...]] = {
    dataset: (*rules, _malformed_id(dataset), *_FIT_FOR_ALL) for dataset, rules in _OWN.items()
}

DAY_RULES: tuple[Rule, ...] = (
    Rule("erased", lambda _: F.col(IS_ERASED), "the person was erased"),
    Rule("consent", lambda _: F.col(IS_WITHDRAWN), "the person had withdrawn consent to analysis at that time"),
    Rule("duplicate", lambda _: F.col(PLACE) > 1, "a copy of it came with an earlier delivery, or beside it"),
    Rule(
        "bot",
        lambda settings: (
            F.col(MAY_BE_BOT)
            & _any(
                [
                    F.col(EVENTS_OF_DAY) > settings.bot.max_events_per_day,
                    F.col(IS_TOO_FAST),
                    _is_regular(settings),
                ]
            )
        ),
        "nobody acts so much, so fast or so regularly in a day (clean.bot)",
    ),
    Rule(
        "double_tap",
        lambda settings: (
            F.col("action").isin(*settings.double_tap.actions) & (F.col(SINCE_SAME_S) <= settings.double_tap.seconds)
        ),
        "the person had just done the same to the same content (clean.double_tap)",
    ),
)
"""In order of precedence: the first that is broken is the event's `reason`."""

MEANINGS: dict[str, str] = {
    rule.name: rule.meaning for rules in (*ROW_RULES.values(), DAY_RULES) for rule in reversed(rules)
}
"""Name of the rule -> what it says."""
