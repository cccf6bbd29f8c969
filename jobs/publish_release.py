"""Audit a release's snapshots and, if all pass, make them visible with one row in ops.releases.

Audits see exact figures; before the release becomes visible, those about fewer than privacy.min_cell_people people are
taken out of its snapshots. One that is published already stays as it is. One of an earlier day than that in force is an
error, or with --unless-later left unpublished, which is told.
"""

from argparse import ArgumentParser

from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.models.erasing import audit_model
from salience.tables import audits, catalog, publishing, releases
from salience.tables.erasing import audit_nobody_erased
from salience.tables.suppression import hide_in_release
from salience.tables.views import register


def main(job: Job) -> None:
    if job.release_asked is None:
        raise InputError("which release? give --release ID; ops.opened_releases lists them")
    told = publishing.done_with(job.warehouse, job.release, getattr(job.arguments, "unless_later", False))
    if told is None:
        made, models, _ = releases.produced(job.warehouse, job.release)
        audit(job, made, models)
        row = publishing.publish(job.warehouse, job.release, job.settings.release.publish_attempts)
        made_of = f"{len(made)} tables made, {len(row.tables)} in force"
        told = f"published {job.release} as release_seq {row.release_seq}: {made_of}"
    if job.settings.release.register_views:
        register(job.warehouse)
    job.tell(told)


def audit(job: Job, made: dict[str, str], models: dict[str, releases.SavedModel]) -> None:
    warehouse, release_id, fewest = job.warehouse, job.release, job.settings.privacy.min_cell_people
    frames = {name: warehouse.read(catalog.by_name(name)).where(F.col("release_id") == release_id) for name in made}
    found = []
    for name, rows in frames.items():
        job.say(f"auditing {name}")
        found += audits.audit_snapshot(catalog.by_name(name), rows, release_id)
        found += audit_nobody_erased(warehouse, catalog.by_name(name), rows, release_id)
    for name, saved in models.items():
        job.say(f"auditing the model {name}")
        found += audit_model(job.models, warehouse, name, saved, release_id)
    job.say("auditing that everyone has a full list")
    found += audits.audit_lists(frames, job.settings.recommend.k, release_id)
    audits.enforce(warehouse, found)
    for name, rows in frames.items():
        hide_in_release(warehouse, catalog.by_name(name), rows, release_id, fewest)


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("--unless-later", action="store_true", help="leave it where a later day is in force")


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False, publishes=True, extra=extra))
