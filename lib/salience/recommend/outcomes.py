"""What became of what was recommended, and what people did who were held out of it."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.recommend.arms import HELD_OUT, PERSONALISED
from salience.recommend.rank import RANKING_MODEL
from salience.recommend.split import is_relevant
from salience.settings.recommend import RecommendSettings
from salience.stats.intervals import difference_high, difference_low, ratio_high, ratio_low, wilson_high, wilson_low

SHOWING = ("impression", "view")
"""Actions that tell that a content was shown."""
COUNTED = 4
"""Each entry of a list is counted so often: under `all`, its rank, its source and its model."""

_DAY = ["event_date", "platform"]
_ROW = [*_DAY, "release_id", "arm", "segment"]
_ALL = "all"
_PARTS = ("shown", "engaged")
"""What may become of an entry."""


def outcomes(lists: DataFrame, windows: DataFrame, interactions: DataFrame, settings: RecommendSettings) -> DataFrame:
    """Count what people did while their lists were in force, and compare who is held out with who is not.

    Whoever engages with a content that stands in their list counts as engaged, whatever made them. So the rates of
    `recommended` say what lists met; only the difference between the arms, drawn by chance, says what they caused.

    Args:
        lists: event_date, platform, release_id, arm, user_id, rank, content_id, source, p_engage_24h; one release for
            each event_date.
        windows: event_date, since, until: when these lists were in force, from `since` on and before `until`.
        interactions: silver.interactions of these times.
        settings: relevant_actions, relevant_rating, holdout.

    Returns:
        rows of gold.recommendation_outcomes with exact figures, and people (map<string,bigint>) behind them.
    """
    touched = F.sequence(F.to_date("since"), F.to_date("until"))
    days = F.broadcast(windows.withColumn("day", F.explode(touched)))
    in_time = (F.col("event_time") >= F.col("since")) & (F.col("event_time") < F.col("until"))
    dated = interactions.drop("event_date").withColumn("day", F.to_date("event_time"))
    happened = dated.join(days, "day").where(in_time)
    per_person = _per_person(lists, happened, settings)
    return _compared(_counted(per_person), settings.holdout.min_people)


def _per_person(lists: DataFrame, happened: DataFrame, settings: RecommendSettings) -> DataFrame:
    """Return _ROW, user_id, served (1), recommended, shown, engaged, engagements; the last in segment `all` alone."""
    acts = happened.select(
        *_DAY,
        "user_id",
        "content_id",
        F.col("action").isin(*SHOWING).cast("int").alias("shown"),
        is_relevant(settings).cast("int").alias("engaged"),
    ).where("shown + engaged > 0")
    of_content = acts.groupBy(*_DAY, "user_id", "content_id")
    touched = of_content.agg(F.max("shown").alias("shown"), F.max("engaged").alias("engaged"))
    engagements = acts.groupBy(*_DAY, "user_id").agg(F.sum("engaged").alias("engagements"))
    model = F.when(F.col("p_engage_24h").isNull(), "none").otherwise(RANKING_MODEL)
    attributes = {"rank": F.col("rank"), "source": F.col("source"), "model": model}
    segments = F.array(F.lit(_ALL), *(F.concat(F.lit(f"{name}="), value) for name, value in attributes.items()))
    met = lists.join(touched, [*_DAY, "user_id", "content_id"], how="left").withColumn("segment", F.explode(segments))
    each = met.groupBy(*_ROW, "user_id").agg(
        F.lit(1).alias("served"),
        F.count("*").alias("recommended"),
        F.coalesce(F.sum("shown"), F.lit(0)).alias("shown"),
        F.coalesce(F.sum("engaged"), F.lit(0)).alias("engaged"),
    )
    of_all = F.when(F.col("segment") == _ALL, F.coalesce("engagements", F.lit(0)))
    return each.join(engagements, [*_DAY, "user_id"], how="left").withColumn("engagements", of_all)


def _counted(per_person: DataFrame) -> DataFrame:
    served, engagers = F.sum("served"), F.sum((F.col("engagements") > 0).cast("int"))
    return per_person.groupBy(*_ROW).agg(
        *(F.sum(name).alias(name) for name in ("served", "recommended", "shown", "engaged", "engagements")),
        engagers.alias("engagers"),
        *_rate("shown_rate_by_recommended", "shown", "recommended"),
        *_rate("engaged_rate_by_recommended", "engaged", "recommended"),
        *_rate("engagements_by_served", "engagements", "served"),
        (engagers / served).alias("engager_rate_by_served"),
        wilson_low(engagers, served).alias("engager_rate_by_served_ci_low"),
        wilson_high(engagers, served).alias("engager_rate_by_served_ci_high"),
        *(F.count_if(F.col(name) > 0).alias(f"{name}_people") for name in _PARTS),
        *(F.count_if(F.col(name) < F.col("recommended")).alias(f"not_{name}_people") for name in _PARTS),
    )


def _rate(name: str, y: str, x: str) -> list[Column]:
    """Return sum(y) / sum(x) and its ends, of rows that are a person each."""
    named = {"x": F.col(x), "y": F.col(y)}
    sums = {side: F.sum(value) for side, value in named.items()}
    sums |= {a + b: F.sum(named[a] * named[b]) for a, b in ("xx", "yy", "xy")} | {"clusters": F.count("*")}
    ends = {"": sums["y"] / sums["x"], "_ci_low": ratio_low(**sums), "_ci_high": ratio_high(**sums)}
    return [value.alias(f"{name}{end}") for end, value in ends.items()]


def _compared(counted: DataFrame, min_people: int) -> DataFrame:
    """Add the differences of the personalised to those held out, and the numbers of people behind figures."""
    is_whole = F.col("segment") == _ALL
    names = [name for name in counted.columns if name not in _ROW]
    their_row = F.when(is_whole & (F.col("arm") == HELD_OUT), F.struct(*names))
    theirs = F.max(their_row).over(Window.partitionBy(*_DAY))
    enough = (F.col("served") >= min_people) & (F.col("theirs.served") >= min_people)
    beside = counted.withColumn("theirs", theirs)
    beside = beside.withColumn(
        "is_compared", is_whole & (F.col("arm") == PERSONALISED) & F.coalesce(enough, F.lit(False))
    )
    held_out = {"engagers": F.col("theirs.engagers"), "others": F.col("theirs.served") - F.col("theirs.engagers")}
    behind = {name: F.col(f"{name}_people") for part in _PARTS for name in (part, f"not_{part}")}
    in_arm = F.max(F.when(is_whole, F.col("served"))).over(Window.partitionBy(*_DAY, "arm"))
    behind["elsewhere"] = in_arm - F.col("served")
    behind |= {f"held_out_{who}": F.when(F.col("is_compared"), count) for who, count in held_out.items()}
    people = F.create_map(*(part for name, count in behind.items() for part in (F.lit(name), count.cast("bigint"))))
    return beside.select(
        *_ROW,
        *(name for name in names if not name.endswith("_people")),
        *_difference("engager_rate_by_served", "engager_rate_less_held_out"),
        *_difference("engagements_by_served", "engagements_by_served_less_held_out"),
        people.alias("people"),
    )


def _difference(rate: str, name: str) -> list[Column]:
    low, high = f"{rate}_ci_low", f"{rate}_ci_high"
    theirs = {end: F.col(f"theirs.{end}") for end in (rate, low, high)}
    ends = {
        "": F.col(rate) - theirs[rate],
        "_ci_low": difference_low(F.col(rate), F.col(low), theirs[rate], theirs[high]),
        "_ci_high": difference_high(F.col(rate), F.col(high), theirs[rate], theirs[low]),
    }
    return [F.when(F.col("is_compared"), value).alias(f"{name}{end}") for end, value in ends.items()]
