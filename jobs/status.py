"""Print the last runs, audits, deliveries and releases; exit with 3 where something is late or failed.

Late is what does not know --day: by default yesterday, UTC, and before noon the day before. Of use as a monitor: it
writes nothing.
"""

from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta

from salience.arguments import day_of
from salience.errors import AuditError
from salience.job import Job, run_job
from salience.report.status import as_text, problems, status


def main(job: Job) -> None:
    now = datetime.now(UTC)
    day = job.arguments.day or (now - timedelta(days=1, hours=12)).date()
    found = status(job.warehouse, day, job.settings.platforms, now)
    print(as_text(found))
    wrong = problems(found)
    if wrong:
        raise AuditError(f"{len(wrong)} late or failed: {'; '.join(wrong)}")


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("--day", type=day_of, help="the last day that ought to be known")


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False, records=False, extra=extra))
