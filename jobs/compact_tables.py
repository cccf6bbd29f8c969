"""Put the small files of every table together, and delete files that no table has used for a while.

That while is erasure.vacuum_retention_hours: who began to read before keeps the files that long. No row changes. A
table that another run writes at this moment is left as it is, which is told.
"""

from salience.job import Job, run_job
from salience.tables.catalog import TABLES
from salience.tables.staged import Commit
from salience.tables.upkeep import compact, vacuum


def main(job: Job) -> None:
    there = [table for table in TABLES if job.warehouse.exists(table)]
    for table in there:
        job.say(f"compacting {table}")
        done = compact(job.warehouse, table)
        if done is None:
            job.tell(f"{table} is left as it is: another run wrote to it meanwhile")
        elif done.removed:
            job.note(table, Commit(done.version, 0))
            job.tell(f"{table}: {done.removed} files became {done.added}")
    job.say("deleting files that are used no longer")
    for kept in vacuum(job.warehouse, there, job.settings.erasure.vacuum_retention_hours):
        job.tell(f"{kept.table}: {kept.files} old files stay until {kept.until:%Y-%m-%d %H:%M} UTC")


if __name__ == "__main__":
    raise SystemExit(run_job(main))
