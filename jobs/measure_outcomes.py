"""Measure what became of what was recommended, and what people did who were held out of it, on the asked days.

A day is that on which the 24 hours after some lists came into force end; days before which none did have no rows. Reads
ops.releases, the gold.recommendations that they name and silver.interactions; writes gold.recommendation_outcomes,
without figures about few people (privacy.min_cell_people). Other days whose events changed since are measured anew,
unless the lists of a later day were deleted since they were old.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.job import Job, run_job
from salience.measuring import Measuring
from salience.recommend.outcomes import COUNTED, outcomes
from salience.settings import settings_as_json
from salience.tables import outcomes as tables
from salience.tables import recommendations
from salience.tables.in_force import first_kept_day, in_force_by_day


def main(job: Job) -> None:
    settings, measuring = job.settings.recommend, Measuring(job)
    table, platform = recommendations.RECOMMENDATIONS, F.col("platform")
    in_force = in_force_by_day(job.warehouse, table)
    stored = job.read(table) if in_force else job.spark.createDataFrame([], table.schema)

    def windows(days: Sequence[date]) -> DataFrame:
        told = [(day, one.release_id, one.since, one.until) for day, one in in_force.items() if day in days]
        schema = "event_date date, release_id string, since timestamp, until timestamp"
        return F.broadcast(job.spark.createDataFrame(told, schema))

    def lists(days: Sequence[date]) -> DataFrame:
        mine = stored.where(platform.isin(job.settings.platforms) & F.col("arm").isNotNull())
        named = mine.where(F.col("release_id").isin([one.release_id for one in in_force.values()]))
        return named.join(windows(days).drop("since", "until"), "release_id")

    def rows(days: Sequence[date]) -> DataFrame:
        judged = {day - timedelta(days=back) for day in days if day in in_force for back in (0, 1)}
        events = measuring.interactions.where(F.col("event_date").isin(sorted(judged)))
        return outcomes(lists(days), windows(days).drop("release_id"), events, settings)

    def totals(days: Sequence[date]) -> dict[str, int]:
        return {"recommended": COUNTED * lists(days).count()}

    by = settings_as_json(settings, {"relevant_actions", "relevant_rating"})
    by = f"{by} {settings.holdout.min_people} people an arm"
    measuring.measure(tables.OUTCOMES, 2, by, rows, totals, first_kept_day(job.warehouse, in_force))


if __name__ == "__main__":
    raise SystemExit(run_job(main))
