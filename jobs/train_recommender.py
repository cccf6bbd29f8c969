"""Choose, judge and fit the ALS recommender of each platform on the interactions up to the interval's last day.

What is chosen takes the place of the configuration in force only if it is surely not worse (recommend.gate). A platform
without an interaction that weighs goes without a new model: the last one stays in force, if there is one.
Models and baselines alike learn from, and are judged on, people who refuse neither analysis nor personalisation.
Writes gold.recommender_evaluation, content_similarity, user_similarity, and the models als/<platform> of the release.
"""

from contextlib import ExitStack

from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.profiles.consent import without_refusing
from salience.recommend.caching import kept
from salience.recommend.evaluate import choose, report
from salience.recommend.gate import at_point, decide
from salience.recommend.split import cuts
from salience.recommend.training import COLUMNS, Fit, fitted, manifest, neighbours
from salience.tables import recommendations, silver
from salience.tables.rows import as_frame


def main(job: Job) -> None:
    settings = job.settings.recommend
    windows = cuts(job.as_of, settings.evaluation_days)
    past = without_refusing(job.read_past(), job.read(silver.USERS), windows.report_end)
    rows, fits = [], dict[str, Fit]()
    with ExitStack() as stack:
        for platform in job.settings.platforms:
            here = F.col("platform") == platform
            contents = job.read(silver.CONTENTS).where(here)
            interactions = stack.enter_context(kept(past.where(here).select(COLUMNS)))
            job.say(f"{platform}: tries ALS settings")
            choice = choose(interactions, contents, windows, settings)
            job.say(f"{platform}: judges {choice.point} and the baselines on later days")
            found = report(interactions, contents, windows, choice, settings)
            if not found:
                job.tell(f"{platform}: too little history to judge recommenders; shorten recommend.evaluation_days")
            before, chosen = job.earlier_manifest(f"als/{platform}"), at_point(settings, choice.point)
            verdict = decide(interactions, before, chosen, (windows.choose_end, windows.report_end))
            (job.say if verdict.is_promoted else job.tell)(f"{platform}: {verdict.why}")
            rows += [{"platform": platform, **row} for row in verdict.published(found)]
            job.say(f"{platform}: fits it on everything")
            try:
                fit = fits[platform] = stack.enter_context(fitted(interactions, windows.report_end, verdict.settings))
            except InputError as error:
                job.tell(f"{platform}: no new recommender: {error}")
                continue
            about = manifest(platform, windows.report_end, verdict, choice.tried, job.inputs)
            job.add_model(f"als/{platform}", job.models.save(job.release, f"als/{platform}", fit.frames, about))
        job.write_snapshot(recommendations.EVALUATION, as_frame(job.spark, recommendations.EVALUATION, rows))
        for table in (recommendations.CONTENT_SIMILARITY, recommendations.USER_SIMILARITY):
            job.write_snapshot(table, neighbours(fits, table.name) if fits else as_frame(job.spark, table, []))


if __name__ == "__main__":
    raise SystemExit(run_job(main))
