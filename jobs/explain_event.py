"""Say what became of an event id and why: where it was delivered, which rules it broke, what stands in silver."""

import argparse

from salience.interactions.explain import explain_event
from salience.job import Job, run_job


def main(job: Job) -> None:
    for line in explain_event(job.warehouse, job.arguments.platform, job.arguments.event_id):
        print(line)


def extra(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--platform", required=True, help="platform as named in conf/sources")
    parser.add_argument("--event-id", required=True, help="the source's id of the event, or the one in silver")


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False, records=False, extra=extra))
