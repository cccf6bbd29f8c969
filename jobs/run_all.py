"""Run every step of an interval in one Spark session, from the logs to a published release.

With --simulate, logs are simulated first: settings.simulate.days days that end on --date.
"""

from argparse import ArgumentParser
from datetime import timedelta
from functools import partial
from types import ModuleType

import build_profiles
import clean_interactions
import find_audiences
import find_candidates
import measure_audience
import measure_drift
import measure_outcomes
import open_release
import publish_release
import recommend
import score_engagement
import simulate_logs
import train_engagement
import train_recommender
from salience.job import Job, run_job
from salience.report.summary import summary
from salience.threads import side_by_side


def main(job: Job) -> None:
    days = {"from_day": job.days[0], "to_day": job.as_of}
    if job.arguments.simulate:
        days["from_day"] = job.as_of - timedelta(days=job.settings.simulate.days - 1)
        job.step(simulate_logs.main, from_day=job.as_of, to_day=job.as_of)
    job.step(clean_interactions.main, **days)
    release = job.arguments.release or job.step(open_release.main, **days).release

    def steps(*modules: ModuleType, **more: str) -> None:
        for module in modules:
            job.step(module.main, **days, **more)

    side_by_side(
        partial(steps, train_recommender, find_candidates, release=release),
        partial(steps, train_engagement, build_profiles, release=release),
        partial(steps, measure_audience, measure_outcomes),
    )
    lists = (score_engagement, recommend), (measure_drift, find_audiences)
    side_by_side(*(partial(steps, *chain, release=release) for chain in lists))
    steps(publish_release, release=release)
    job.progress.print(summary(job.warehouse, job.as_of, job.settings.privacy.min_cell_people))


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("--simulate", action="store_true", help="simulate the logs first (for a demo)")


if __name__ == "__main__":
    raise SystemExit(run_job(main, extra=extra))
