"""Delete snapshots and models of releases that have not been in force for release.retention_days as of the last day.

A release that the row in force names stays, whatever its age. ops.releases tells which are gone; no rollback can bring
them back. Files are deleted by jobs/compact_tables.py once they are unused for erasure.vacuum_retention_hours.
"""

from datetime import UTC, datetime, time, timedelta

from pyspark.sql import functions as F

from salience.job import Job, run_job
from salience.tables import publishing
from salience.tables.catalog import SNAPSHOTS


def main(job: Job) -> None:
    settings, warehouse = job.settings.release, job.warehouse
    if settings.retention_days is None:
        job.tell("every release stays: release.retention_days is null")
        return
    first = job.as_of - timedelta(days=settings.retention_days - 1)
    until = datetime.combine(first, time(), UTC)
    old = publishing.delete_old(warehouse, until, settings.publish_attempts)
    for table in filter(warehouse.exists, SNAPSHOTS):
        there = warehouse.read(table).select("release_id").distinct().where(F.col("release_id").isin(old)).collect()
        ids = sorted(row["release_id"] for row in there)
        if ids:
            job.say(f"deleting {len(ids)} releases of {table}")
            job.note(table, warehouse.delete(table, {"release_id": ids}))
            job.tell(f"{table}: deleted {', '.join(ids)}")
    for release_id in old:
        if job.models.delete_release(release_id):
            job.tell(f"deleted the models of {release_id}")


if __name__ == "__main__":
    raise SystemExit(run_job(main))
