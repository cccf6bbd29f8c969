"""Reserve the next release id of an as-of date and print it, for the jobs that will fill it."""

from salience.errors import InputError
from salience.job import Job, run_job


def main(job: Job) -> None:
    if job.release_asked:
        raise InputError(f"--release {job.release_asked}: this job makes up the id itself; leave --release out")
    job.progress.print(job.release)


if __name__ == "__main__":
    raise SystemExit(run_job(main))
