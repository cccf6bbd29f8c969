"""Choose, judge and fit the ALS recommender of each platform on the interactions up to the interval's last day.

What is chosen takes the place of the configuration in force only if it is surely not worse (recommend.gate). A platform
where nothing weighs goes without a new model: the last one stays in force. Models and baselines learn from, and are
judged on, people who refuse neither analysis nor personalisation. Writes gold.recommender_evaluation,
content_similarity, user_similarity, and the models als/<platform> of the release; with --as-of also
als-<day>/<platform>, fitted alike on what was known at the end of that day.
"""

from argparse import ArgumentParser
from contextlib import ExitStack

from pyspark.sql import functions as F

from salience.arguments import days_of
from salience.errors import InputError
from salience.job import Job, run_job
from salience.profiles.consent import without_refusing
from salience.recommend.caching import kept
from salience.recommend.promotion import promote
from salience.recommend.split import cuts, end_of
from salience.recommend.training import COLUMNS, Fit, fitted, fitted_before, manifest, neighbours
from salience.tables import recommendations, silver
from salience.tables.rows import as_frame


def main(job: Job) -> None:
    settings, cut, earlier = job.settings.recommend, end_of(job.as_of), job.days_before("earlier_days")
    windows = cuts(job.as_of, settings.evaluation_days)
    past = without_refusing(job.read_past(), job.read(silver.USERS), cut)
    rows, fits = [], dict[str, Fit]()
    with ExitStack() as stack, job.checkpoints():
        for platform in job.settings.platforms:
            here, name = F.col("platform") == platform, f"als/{platform}"
            contents, before = job.read(silver.CONTENTS).where(here), job.earlier_manifest(name)
            interactions = stack.enter_context(kept(past.where(here).select(COLUMNS)))
            made = promote(platform, interactions, contents, windows, before, settings, job.say, job.tell)
            rows += made.rows
            job.say(f"{platform}: fits it on everything")
            try:
                fits[platform] = fit = stack.enter_context(fitted(interactions, cut, made.verdict.settings))
            except InputError as error:
                job.tell(f"{platform}: no new recommender: {error}")
                continue
            job.save_model(name, fit.frames, manifest(platform, cut, made, job.inputs))
            for day, frames in fitted_before(interactions, earlier, made.verdict.settings, job.tell):
                job.save_model(f"als-{day}/{platform}", frames, manifest(platform, end_of(day), made, job.inputs))
        job.write_snapshot(recommendations.EVALUATION, as_frame(job.spark, recommendations.EVALUATION, rows))
        for table in (recommendations.CONTENT_SIMILARITY, recommendations.USER_SIMILARITY):
            job.write_snapshot(table, neighbours(fits, table.name) if fits else as_frame(job.spark, table, []))


def extra(parser: ArgumentParser) -> None:
    named = {"type": days_of, "default": [], "metavar": "DAYS", "help": "earlier days, parted by commas"}
    parser.add_argument("--as-of", dest="earlier_days", **named)


if __name__ == "__main__":
    raise SystemExit(run_job(main, extra=extra))
