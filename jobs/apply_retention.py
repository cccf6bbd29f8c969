"""Delete what each layer keeps no longer as of the interval's last day: settings.retention says how many days it keeps.

Run it after the day's cleaning and measuring. Files that tables use no longer are deleted once they are unused for
erasure.vacuum_retention_hours, by the runs that follow.
"""

from datetime import timedelta

from salience.interactions.retention import require_settled
from salience.job import Job, run_job
from salience.tables.retention import AGEING, delete_before
from salience.tables.upkeep import vacuum


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
    ageing = [table for layer in first for table, _ in AGEING[layer] if job.warehouse.exists(table)]
    job.say("deleting files that are used no longer")
    for kept_files in vacuum(job.warehouse, ageing, job.settings.erasure.vacuum_retention_hours):
        job.tell(f"{kept_files.table}: {kept_files.files} old files stay until {kept_files.until:%Y-%m-%d %H:%M} UTC")


if __name__ == "__main__":
    raise SystemExit(run_job(main))
