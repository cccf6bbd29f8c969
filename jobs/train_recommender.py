"""Choose, judge and fit the recommenders of each platform on the interactions up to the interval's last day.

An ALS takes the place of the one in force only if it is surely not worse (recommend.gate); where nothing weighs, the
last models stay. Nobody who refuses is learned from or judged on. Writes gold.recommender_evaluation, the similarities
of contents and people, and models <source>/<platform>; with --as-of also als-<day>/<platform>, as of the day's end.
"""

from argparse import ArgumentParser
from contextlib import ExitStack
from itertools import chain

from pyspark.sql import functions as F

from salience.arguments import days_of
from salience.errors import InputError
from salience.job import Job, run_job
from salience.profiles.consent import without_refusing
from salience.profiles.segments import segments_before
from salience.recommend.caching import kept
from salience.recommend.promotion import promote
from salience.recommend.split import cuts, end_of
from salience.recommend.training import COLUMNS, Fit, fitted, fitted_before, manifest, neighbours
from salience.tables import recommendations, silver
from salience.tables.rows import as_frame


def main(job: Job) -> None:
    settings, earlier = job.settings.recommend, job.days_before("earlier_days")
    users, cut, windows = job.read(silver.USERS), end_of(job.as_of), cuts(job.as_of, settings.evaluation_days)
    past, known = without_refusing(job.read_past(), users, cut), job.read(silver.CONTENTS)
    groups = segments_before(users, windows.choose_end, job.settings.metrics.segment_attributes)
    rows, fits = [], dict[str, Fit]()
    with ExitStack() as stack, job.checkpoints():
        for platform in job.settings.platforms:
            here, before = F.col("platform") == platform, job.earlier_manifest(f"als/{platform}")
            interactions = stack.enter_context(kept(past.where(here).select(COLUMNS)))
            past_of = interactions, known.where(here), groups.where(here)
            made = promote(platform, *past_of, windows, before, settings, job.say, job.tell)
            rows += made.rows
            try:
                fits[platform] = stack.enter_context(fitted(interactions, cut, made.verdict.settings, job.tell))
            except InputError as error:
                job.tell(f"{platform}: no new recommender: {error}")
                continue
            then = fitted_before(interactions, earlier, made.verdict.settings, job.tell)
            for name, at, model in chain(fits[platform].named(cut), then):
                about = manifest(name, model, platform, at, made, job.inputs)
                job.save_model(f"{name}/{platform}", model.frames, about)
        job.write_snapshot(recommendations.EVALUATION, as_frame(job.spark, recommendations.EVALUATION, rows))
        for table in (recommendations.CONTENT_SIMILARITY, recommendations.USER_SIMILARITY):
            job.write_snapshot(table, neighbours(fits, table.name) if fits else as_frame(job.spark, table, []))


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("--as-of", dest="earlier_days", type=days_of, default=[], metavar="DAYS", help="DAY,DAY,...")


if __name__ == "__main__":
    raise SystemExit(run_job(main, extra=extra))
