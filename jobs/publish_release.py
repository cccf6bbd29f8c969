"""Audit a release's snapshots and, if all pass, make them visible with one row in ops.releases."""

from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.tables import catalog, recommendations, releases
from salience.tables.audits import audit_full_lists, audit_snapshot, enforce


def main(job: Job) -> None:
    if job.release_asked is None:
        raise InputError("which release? give --release ID; ops.opened_releases lists them")
    release_id = job.release
    made = releases.produced(job.warehouse, release_id)[0]
    frames = {name: job.warehouse.read(catalog.by_name(name)).where(F.col("release_id") == release_id) for name in made}
    audits = []
    for name, rows in frames.items():
        job.say(f"auditing {name}")
        audits += audit_snapshot(catalog.by_name(name), rows, release_id)
    lists, shortfalls = str(recommendations.RECOMMENDATIONS), str(recommendations.SHORTFALLS)
    if lists in frames and shortfalls in frames:
        audits += audit_full_lists(frames[lists], frames[shortfalls], release_id)
    enforce(job.warehouse, audits)
    row = releases.publish(job.warehouse, release_id, job.settings.release.publish_attempts)
    job.tell(
        f"published {release_id} as release_seq {row.release_seq}: {len(made)} tables made, {len(row.tables)} in force"
    )


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False))
