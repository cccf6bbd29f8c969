"""Put in force again what an earlier row of ops.releases named, by appending a row that says so.

No row goes, so this leads forward, too: name the row that was in force before. Runs that begin later read and carry
forward what was put back. One that was under way still publishes the lists that it made by the models before: make
that day's release anew.
"""

from argparse import ArgumentParser

from salience.job import Job, run_job
from salience.tables import publishing, releases
from salience.tables.views import register


def main(job: Job) -> None:
    attempts = job.settings.release.publish_attempts
    row = publishing.roll_back(job.warehouse, job.arguments.to_seq, attempts, job.models.is_there)
    if job.settings.release.register_views:
        register(job.warehouse)
    for name in sorted({*releases.published(job.warehouse, job.arguments.to_seq).models} - {*row.models}):
        job.tell(f"{name} is left out: that model was deleted since it held erased people; train a new one")
    job.tell(f"release_seq {row.release_seq} puts {row.release_id} in force again")


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("--to-seq", type=int, required=True, metavar="N", help="release_seq to return to")


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False, extra=extra))
