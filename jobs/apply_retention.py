"""Delete what each layer keeps no longer as of the interval's last day: settings.retention says how many days it keeps.

Run it after the day's cleaning and measuring. Table history and files keep what is deleted until they are vacuumed.
"""

from datetime import timedelta

from salience.interactions.retention import require_settled
from salience.job import Job, run_job
from salience.tables.retention import AGEING, delete_before


def main(job: Job) -> None:
    kept = {layer: getattr(job.settings.retention, f"{layer}_days") for layer in AGEING}
    first = {layer: job.as_of - timedelta(days=days - 1) for layer, days in kept.items() if days is not None}
    if "bronze" in first:
        require_settled(job.warehouse, first["bronze"])
    for layer, day in first.items():
        for table, column in AGEING[layer]:
            job.say(f"deleting days before {day} of {table}")
            commit = delete_before(job.warehouse, table, column, day)
            if commit:
                job.note(table, commit)
                job.tell(f"{table}: days before {day} are deleted")


if __name__ == "__main__":
    raise SystemExit(run_job(main))
