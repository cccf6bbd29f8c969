"""Measure contents and audience on the asked days, and on every other day whose input changed since it was measured.

Reads silver.interactions and silver.users; writes gold.content_daily and gold.audience_daily, each audited while exact,
then without figures about few people (privacy.min_cell_people). Attributes of people that are delivered late reach the
segments of a measured day only when that day is asked for again. A day whose input silver holds only in part, as
retention deletes the rest, keeps what was measured of it.
"""

from functools import partial

from salience.job import Job, run_job
from salience.measuring import Measuring
from salience.metrics.audience import MONTH, audience_daily
from salience.metrics.content import content_daily, content_totals
from salience.settings import settings_as_json
from salience.tables import activity, silver


def main(job: Job) -> None:
    settings, measuring = job.settings.metrics, Measuring(job)
    interactions, users, by = measuring.interactions, job.read(silver.USERS), settings_as_json(settings)
    of_contents = (partial(function, interactions, settings=settings) for function in (content_daily, content_totals))
    measuring.measure(activity.CONTENT_DAILY, 1, by, *of_contents)
    measuring.measure(
        activity.AUDIENCE_DAILY, MONTH, by, lambda days: audience_daily(interactions, users, days, settings)
    )


if __name__ == "__main__":
    raise SystemExit(run_job(main))
