"""Measure what became of what was recommended for the asked days, and what people did who were held out of it.

A day is judged by the newest published release that knew the day before it and nothing later; days without one get no
rows. Reads silver.interactions and these releases' gold.recommendations; writes gold.recommendation_outcomes, without
figures about few people (privacy.min_cell_people). Other days whose events changed since are measured anew too; a
release that is published later than its day was measured counts once that day is asked for again.
"""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.job import Job, run_job
from salience.measuring import Measuring
from salience.recommend.outcomes import COUNTED, outcomes
from salience.settings import settings_as_json
from salience.tables import outcomes as tables
from salience.tables import recommendations, releases


def main(job: Job) -> None:
    settings, measuring = job.settings.recommend, Measuring(job)
    warehouse, table = job.warehouse, recommendations.RECOMMENDATIONS

    def lists(days: Sequence[date]) -> DataFrame:
        made = [(release_id, day) for day, release_id in releases.made_for(warehouse, table, days).items()]
        names = F.broadcast(job.spark.createDataFrame(made, "release_id string, event_date date"))
        stored = warehouse.read(table) if made else job.spark.createDataFrame([], table.schema)
        wanted = F.col("release_id").isin([release_id for release_id, _ in made]) & F.col("arm").isNotNull()
        return stored.where(wanted & F.col("platform").isin(job.settings.platforms)).join(names, "release_id")

    def rows(days: Sequence[date]) -> DataFrame:
        events = measuring.interactions.where(F.col("event_date").isin(list(days)))
        return outcomes(lists(days), events, settings)

    def totals(days: Sequence[date]) -> dict[str, int]:
        return {"recommended": COUNTED * lists(days).count()}

    used = {"relevant_actions", "relevant_rating", "holdout"}
    measuring.measure(tables.OUTCOMES, 1, settings_as_json(settings, used), rows, totals)


if __name__ == "__main__":
    raise SystemExit(run_job(main))
