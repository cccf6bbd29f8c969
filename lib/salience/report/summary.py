"""A short summary of the release in force, for a person at a terminal."""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.tables import activity, engagement, recommendations, releases, silver
from salience.tables.contract import Table
from salience.tables.warehouse import Warehouse

PEOPLE, CONTENTS = 3, 5


def summary(warehouse: Warehouse, day: date, fewest: int) -> str:
    """Return a few lines: some people's recommendations, the models' quality, the day's reach, where the tables are.

    Args:
        warehouse: the tables.
        day: whose reach is told.
        fewest: people that a figure is about at least.

    Raises:
        InputError: nothing is published yet.
    """
    in_force = releases.newest(warehouse)
    if in_force is None:
        raise InputError(f"{warehouse.root}: nothing is published yet; run jobs/publish_release.py")

    def snapshot(table: Table) -> DataFrame:
        release_id = in_force.tables.get(str(table))
        if release_id is None:
            return warehouse.frame(table, [])
        return warehouse.read(table).where(F.col("release_id") == release_id)

    lines = [f"release {in_force.release_id} (release_seq {in_force.release_seq}) is in force", ""]
    lines += _lists(snapshot(recommendations.RECOMMENDATIONS))
    lines += _qualities(snapshot(recommendations.EVALUATION), snapshot(engagement.EVALUATION))
    lines += _reach(warehouse, day, fewest)
    return "\n".join([*lines, "", f"tables: {warehouse.root}/{{bronze,silver,gold,ops}}/<table>, Delta Lake"])


def _lists(rows: DataFrame) -> list[str]:
    """Return the first contents of the first people of each platform whose list is personal, in the order of ids."""
    personal = rows.where("rank = 1 AND because IS NOT NULL").select("platform", "user_id")
    people = personal.orderBy("user_id").limit(PEOPLE)
    shown = rows.where(F.col("rank") <= CONTENTS).join(F.broadcast(people), on=["platform", "user_id"], how="inner")
    lines: list[str] = []
    for row in shown.orderBy("user_id", "rank").collect():
        if row["rank"] == 1:
            lines.append(f"{row['platform']} user {row['user_id'][:12]}… should see next:")
        chance = "" if row["p_engage_24h"] is None else f"  {row['p_engage_24h']:6.1%} engage"
        lines.append(f"  {row['rank']}. {row['content_id']:<10}{chance}  {row['reason']}")
    return [*lines, ""]


def _qualities(recommender: DataFrame, model: DataFrame) -> list[str]:
    lines = []
    ndcg = recommender.where("metric = 'ndcg' AND segment = 'all'").orderBy("platform", F.col("value").desc())
    for row in ndcg.where("model NOT LIKE '% - %' AND value IS NOT NULL").collect():
        interval = "" if row["ci_low"] is None else f" ({row['ci_low']:.3f} to {row['ci_high']:.3f})"
        name = f"{row['platform']} {row['model']}"
        lines.append(f"{name:<32} nDCG@{row['k']} {row['value']:.3f}{interval}, {row['users']:,} users")
    auc = model.where("metric = 'roc_auc' AND segment = 'all'").orderBy("platform", "model")
    for row in auc.where("value IS NOT NULL").collect():
        name = f"{row['platform']} engagement {row['model']}"
        lines.append(f"{name:<32} AUC {row['value']:.3f}, {row['rows']:,} exposures, {row['positives']:,} engaged")
    return lines


def _reach(warehouse: Warehouse, day: date, fewest: int) -> list[str]:
    """Return what happened on the day: people with an impression, and people active."""
    of_day = F.col("event_date") == F.lit(day)
    shown = warehouse.read(silver.INTERACTIONS).where(of_day & (F.col("action") == "impression"))
    reach = shown.groupBy("platform").agg(F.count_distinct("user_id").alias("reach"))
    audience = warehouse.read(activity.AUDIENCE_DAILY).where(of_day & (F.col("segment") == "all"))
    rows = audience.join(reach, on="platform", how="left").orderBy("platform").collect()
    return [
        f"{row['platform']:<32} reach {_people(row['reach'] or 0, fewest)} on {day}; "
        f"{_people(row['dau'], fewest)} active, {_people(row['mau_28d'], fewest)} in the last 28 days"
        f"{'' if row['is_complete'] else ', not all of which the log covers'}"
        for row in rows
    ]


def _people(count: int | None, fewest: int) -> str:
    """Return a number of people in words, or that it is not told (as where the table hides it)."""
    return f"{count:,} people" if count == 0 or (count and count >= fewest) else "too few people to tell"
