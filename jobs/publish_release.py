"""Audit a release's snapshots and, if all pass, make them visible with one row in ops.releases.

Audits see exact figures; before the release becomes visible, those about fewer than privacy.min_cell_people people are
taken out of its snapshots.
"""

from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.models.erasing import audit_model
from salience.tables import catalog, recommendations, releases
from salience.tables.audits import audit_everyone_served, audit_full_lists, audit_snapshot, enforce
from salience.tables.erasing import audit_nobody_erased
from salience.tables.suppression import hide_in_release
from salience.tables.views import register


def main(job: Job) -> None:
    if job.release_asked is None:
        raise InputError("which release? give --release ID; ops.opened_releases lists them")
    release_id = job.release
    made, models, _ = releases.produced(job.warehouse, release_id)
    frames = {name: job.warehouse.read(catalog.by_name(name)).where(F.col("release_id") == release_id) for name in made}
    audits = []
    for name, rows in frames.items():
        job.say(f"auditing {name}")
        audits += audit_snapshot(catalog.by_name(name), rows, release_id)
        audits += audit_nobody_erased(job.warehouse, catalog.by_name(name), rows, release_id)
    for name, saved in models.items():
        job.say(f"auditing the model {name}")
        audits += audit_model(job.models, job.warehouse, name, saved, release_id)
    names = (recommendations.CANDIDATES, recommendations.RECOMMENDATIONS, recommendations.SHORTFALLS)
    candidates, lists, shortfalls = (frames.get(str(table)) for table in names)
    if lists is not None and shortfalls is not None:
        job.say("auditing that everyone has a full list")
        audits += audit_full_lists(lists, shortfalls, job.settings.recommend.k, release_id)
        if candidates is not None:
            audits += audit_everyone_served(candidates, lists, shortfalls, release_id)
    enforce(job.warehouse, audits)
    for name, rows in frames.items():
        hide_in_release(job.warehouse, catalog.by_name(name), rows, release_id, job.settings.privacy.min_cell_people)
    row = releases.publish(job.warehouse, release_id, job.settings.release.publish_attempts)
    if job.settings.release.register_views:
        register(job.warehouse)
    job.tell(
        f"published {release_id} as release_seq {row.release_seq}: {len(made)} tables made, {len(row.tables)} in force"
    )


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False))
