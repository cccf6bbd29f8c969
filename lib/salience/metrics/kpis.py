"""Whether a KPI moved further than its rule allows, from one window of days to the one before."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from math import inf

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from salience.metrics.kpi_rules import Rule
from salience.tables.audits import Audit

FEW_HIDDEN, MOST_HIDDEN = 0.1, 0.5
"""Shares of a figure that may be hidden: while it is few, what is shown is compared; above most, the figure is gone.
In between nothing is judged, so that no figure is in order on one day and gone on the next for lying at an edge."""

_DIGITS = 9
"""Decimals of a change: in doubles, 7 after 10 have fallen by more than 0.3."""


def kpis(rows: DataFrame, rules: Mapping[str, Rule], platforms: Sequence[str], as_of: date) -> DataFrame:
    """Return each rule's figure in the `window_days` days up to the as-of day, and in as many days before.

    A day knows a figure if one of its rows does, for a rate one with both of its columns; days are compared with those
    `window_days` before them, and only where both are known: a lost day is no fall, and takes no weekday out of one
    side alone. Figures about few people are null in gold (privacy.min_cell_people). Null is never taken for 0: such
    rows are left out of both sums, and a day of nothing else is unknown, as one without rows is. But what is left is
    no fair sample, for 0 and much are shown and little is not; so it is told how much may be hidden, where each hidden
    figure is taken for the smallest that the day shows.

    Example: engagements over impressions of 3 / 100 and 1 / 100 on two days, after 6 / 100 and an unknown day: the
    value is 0.03 after 0.06, by one day, and the change -0.5.

    Args:
        rows: of one gold day table, all days up to the as-of day; later ones are ignored.
        rules: rules of that table by name, at least one.
        platforms: that are judged, but by rules that name a platform.
        as_of: the last day of the window, UTC.

    Returns:
        One row a rule and platform: rule, platform; value, value_before (double: one sum over the other, or a day's
        mean, of the days compared; null without any); change (value / value_before - 1; null also where that was 0);
        hidden, hidden_before (double, 0 to 1: the share of `of` that may be hidden on these days); days, days_before
        (bigint: that are known of each window), days_compared; first_day (date: the first on which the figure was ever
        known, or null) and knows_last (boolean: whether it is on the as-of day).
    """
    asked = [(name, platform) for name, rule in rules.items() for platform in rule.platforms(platforms)]
    is_asked = F.col("platform").isin(sorted({platform for _, platform in asked}))
    past = rows.where((F.col("event_date") <= F.lit(as_of)) & is_asked)
    figures = F.array(*(_figure(name, rule) for name, rule in rules.items()))
    of_days = past.groupBy("platform", "event_date").agg(figures.alias("figures"))
    known = of_days.select("platform", "event_date", F.inline("figures")).where(F.col("per") > 0)

    back, window = F.datediff(F.lit(as_of), "event_date"), F.col("window_days")
    windows_ago, place = F.floor(back / window), (back % window).alias("place")
    pairs = known.groupBy("rule", "platform", place).agg(
        F.min("event_date").alias("first_day"),
        *_of_window("now", windows_ago == 0),
        *_of_window("before", windows_ago == 1),
    )
    is_pair = F.col("per_now").isNotNull() & F.col("per_before").isNotNull()
    found = pairs.groupBy("rule", "platform").agg(
        *(_value(side, is_pair).alias(f"value{name}") for name, side in _SIDES.items()),
        *(_hidden(side, is_pair).alias(f"hidden{name}") for name, side in _SIDES.items()),
        F.count("per_now").alias("days"),
        F.count("per_before").alias("days_before"),
        F.count_if(is_pair).alias("days_compared"),
        F.min("first_day").alias("first_day"),
        F.bool_or((F.col("place") == 0) & F.col("per_now").isNotNull()).alias("knows_last"),
    )
    wanted = rows.sparkSession.createDataFrame(asked, "rule string, platform string")
    change = F.try_divide("value", "value_before") - 1
    return (
        wanted.join(found, ["rule", "platform"], how="left")
        .fillna({"days": 0, "days_before": 0, "days_compared": 0, "knows_last": False})
        .select("rule", "platform", "value", "value_before", change.alias("change"), *_TOLD)
    )


_SIDES = {"": "now", "_before": "before"}
_PARTS = ("of", "per", "hidden")
_TOLD = ("hidden", "hidden_before", "days", "days_before", "days_compared", "first_day", "knows_last")


def _figure(name: str, rule: Rule) -> Column:
    """Return a rule's sums over a day's rows, with what they are of."""
    sums = (sum_.cast("double").alias(part) for part, sum_ in zip(_PARTS, rule.metric.sums(), strict=True))
    return F.struct(F.lit(name).alias("rule"), F.lit(rule.window_days).alias("window_days"), *sums)


def _of_window(side: str, it_is: Column) -> list[Column]:
    """Return the sums of the one day of a window that has the place; null where it is not known."""
    return [F.max(F.when(it_is, F.col(part))).alias(f"{part}_{side}") for part in _PARTS]


def _sums(side: str, is_pair: Column) -> list[Column]:
    return [F.sum(F.when(is_pair, F.col(f"{part}_{side}"))) for part in _PARTS]


def _value(side: str, is_pair: Column) -> Column:
    of, per, _ = _sums(side, is_pair)
    return of / per


def _hidden(side: str, is_pair: Column) -> Column:
    of, _, hidden = _sums(side, is_pair)
    return F.when(hidden > 0, hidden / (of + hidden)).otherwise(F.when(hidden == 0, F.lit(0.0)))


def audits(found: DataFrame, rules: Mapping[str, Rule], as_of: date) -> list[Audit]:
    """Return the audits of each rule and platform: how far the figure fell, how far it rose, or why that is not said.

    A figure that is gone fails: one that no day of the window knows, though it was known before; that the as-of day
    does not know after a window that did on every day; or of which more than MOST_HIDDEN are hidden now, and few were.
    What cannot be judged otherwise passes with a threshold of infinity, and says why: a figure that was never known,
    that has not been known for two windows yet, that lacks the as-of day as it lacked other days before, or all days of
    the window before, or of which more than FEW_HIDDEN are hidden. From 0 a figure cannot fall, and whatever it rises
    by is further than any share.

    Args:
        found: from `kpis`, of all tables.
        rules: all rules by name.
        as_of: as in `kpis`.
    """
    rows = found.orderBy("rule", "platform").collect()
    return [audit for row in rows for audit in _audits(row, rules[row["rule"]], as_of)]


def _audits(row: Row, rule: Rule, as_of: date) -> list[Audit]:
    table, window = rule.metric.table, rule.window_days
    place = f"{row['platform']}, {as_of - timedelta(days=window - 1)} to {as_of}"
    name = f"KPI {row['rule']} ({rule.metric})"
    unknown = window - row["days"]
    is_young = row["first_day"] is None or row["first_day"] > as_of - timedelta(days=2 * window - 1)
    if not is_young and (not row["days"] or (not row["knows_last"] and row["days_before"] == window)):
        return [Audit(table, f"days without {name}, which was known before", place, unknown)]
    if problem := _unjudged(row, is_young):
        return [Audit(table, f"days without {name}, not judged: {problem}", place, unknown, inf)]
    if max(row["hidden"], row["hidden_before"]) > FEW_HIDDEN:
        return [_hiding(table, name, place, row["hidden"], row["hidden_before"])]
    since = f"against the {window} days before" if window > 1 else "against the day before"
    place += f" ({row['value']:.4g} after {row['value_before']:.4g}, {row['days_compared']} of {window} days compared)"
    moved = {"fall": _moved(row, -1), "rise": _moved(row, 1)}
    allowed = {way: most for way, most in rule.change if most is not None}
    return [Audit(table, f"{way} of {name} {since}", place, moved[way], most) for way, most in allowed.items()]


def _unjudged(row: Row, is_young: bool) -> str | None:
    """Return why a figure that is not gone cannot be compared; None if it can."""
    if row["first_day"] is None:
        return "never known"
    if is_young:
        return "not known for two windows yet"
    if not row["knows_last"]:
        return "unknown on the last day, as on days before"
    return None if row["days_compared"] else "no day of the window before is known"


def _hiding(table: str, name: str, place: str, hidden: float, hidden_before: float) -> Audit:
    """Return the audit of a figure of which much is hidden: it fails if that is most of it, and little was before."""
    if hidden > MOST_HIDDEN and hidden_before <= FEW_HIDDEN:
        rule = f"share of {name} about few people, and so hidden, which was known before"
        return Audit(table, rule, place, hidden, MOST_HIDDEN)
    rule = f"share of {name} about few people, and so hidden, not judged"
    return Audit(table, rule, place, max(hidden, hidden_before), inf)


def _moved(row: Row, way: int) -> float:
    """Return by which share the figure rose (fell, where `way` is -1), below 0 where it went the other way."""
    if row["change"] is not None:
        return round(way * float(row["change"]), _DIGITS)
    return inf if way > 0 and row["value"] > 0 else 0.0
