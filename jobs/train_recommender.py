"""Choose, judge and fit the ALS recommender of each platform on the interactions up to the interval's last day.

A platform without an interaction that weighs goes without a new model: the last one stays in force, if there is one.
Models and baselines alike learn from, and are judged on, people who refuse neither analysis nor personalisation.
Writes gold.recommender_evaluation and the models als/<platform> of the release.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.profiles.consent import without_refusing
from salience.recommend.caching import kept
from salience.recommend.evaluate import choose, report
from salience.recommend.split import cuts
from salience.recommend.training import COLUMNS, fitted, manifest
from salience.tables import recommendations, silver
from salience.tables.rows import as_frame


def main(job: Job) -> None:
    settings = job.settings.recommend
    windows = cuts(job.as_of, settings.evaluation_days)
    past = without_refusing(job.read_past(), job.read(silver.USERS), windows.report_end)
    contents = job.read(silver.CONTENTS)
    rows = []
    for platform in job.settings.platforms:
        here = F.col("platform") == platform
        with _told(job, platform), kept(past.where(here).select(COLUMNS)) as interactions:
            job.say(f"{platform}: tries ALS settings")
            choice = choose(interactions, contents.where(here), windows, settings)
            job.say(f"{platform}: judges {choice.point} and the baselines on later days")
            found = report(interactions, contents.where(here), windows, choice, settings)
            if not found:
                job.tell(f"{platform}: too little history to judge recommenders; shorten recommend.evaluation_days")
            rows += [{"platform": platform, **row} for row in found]
            job.say(f"{platform}: fits ALS on everything")
            with fitted(interactions, windows.report_end, choice.point, settings) as frames:
                about = manifest(platform, windows.report_end, choice, settings, job.inputs)
                name = f"als/{platform}"
                job.add_model(name, job.models.save(job.release, name, frames, about))
    job.write_snapshot(recommendations.EVALUATION, as_frame(job.spark, recommendations.EVALUATION, rows))


@contextmanager
def _told(job: Job, platform: str) -> Iterator[None]:
    """Go on with the next platform where one has nothing to train on."""
    try:
        yield
    except InputError as error:
        job.tell(f"{platform}: no new recommender: {error}")


if __name__ == "__main__":
    raise SystemExit(run_job(main))
