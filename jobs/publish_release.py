"""Audit a release's snapshots and, if all pass, make them visible with one row in ops.releases.

Audits see exact figures; before the release becomes visible, those about fewer than privacy.min_cell_people people are
taken out of its snapshots. One that is published already stays as it is. One of an earlier day than that in force is an
error, or with --unless-later left unpublished, which is told.
"""

from argparse import ArgumentParser

from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.models.auditing import audit_release
from salience.tables import audits, catalog, publishing, releases
from salience.tables.suppression import hide_in_release
from salience.tables.views import register


def main(job: Job) -> None:
    if job.release_asked is None:
        raise InputError("which release? give --release ID; ops.opened_releases lists them")
    unless_later = getattr(job.arguments, "unless_later", False)
    told = publishing.done_with(job.warehouse, job.release, unless_later)
    try:
        told = told or publish(job)
    except InputError:
        # Another run may have published it, or a release of a later day, since this one began.
        told = publishing.done_with(job.warehouse, job.release, unless_later)
        if told is None:
            raise
    if job.settings.release.register_views:
        register(job.warehouse)
    job.tell(told)


def publish(job: Job) -> str:
    warehouse, release_id, settings = job.warehouse, job.release, job.settings
    audits.enforce(warehouse, audit_release(warehouse, job.models, release_id, settings.recommend.k, job.say))
    made = releases.produced(warehouse, release_id)[0]
    for table in map(catalog.by_name, made):
        rows = warehouse.read(table).where(F.col("release_id") == release_id)
        hide_in_release(warehouse, table, rows, release_id, settings.privacy.min_cell_people)
    row = publishing.publish(warehouse, release_id, settings.release.publish_attempts)
    made_of = f"{len(made)} tables made, {len(row.tables)} in force"
    return f"published {release_id} as release_seq {row.release_seq}: {made_of}"


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("--unless-later", action="store_true", help="leave it where a later day is in force")


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False, publishes=True, extra=extra))
