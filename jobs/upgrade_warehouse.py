"""Change the stored tables in place to what this version of Salience expects; run it while no other job runs."""

from salience.job import Job, run_job
from salience.tables import upgrades


def main(job: Job) -> None:
    job.say("comparing tables with their contracts")
    steps = upgrades.plan(job.warehouse)
    for step in steps:
        job.tell(f"upgrading {step}")
        upgrades.apply(job.warehouse, step)
    job.tell(f"every table is up to date ({len(steps)} changes)")


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False, starts=False))  # ops.runs may be among what is upgraded
