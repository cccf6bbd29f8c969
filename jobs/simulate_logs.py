"""Simulate the logs of two platforms, with planted truth, for the days that end on the interval's last day."""

from salience.job import Job, run_job
from salience.simulate.writer import write_simulation


def main(job: Job) -> None:
    write_simulation(job.spark, job.settings, job.as_of, job.say)


if __name__ == "__main__":
    raise SystemExit(run_job(main))
