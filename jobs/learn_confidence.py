"""Learn what interactions weigh: tries changes of the weights and of the half-life on rolling time splits.

Prints the settings to use from then on; nothing changes by itself. Writes gold.confidence_ablation.
"""

from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.profiles.consent import without_refusing
from salience.recommend.ablation import as_settings, learn
from salience.recommend.caching import kept
from salience.recommend.split import end_of
from salience.recommend.training import COLUMNS
from salience.tables import recommendations, silver
from salience.tables.rows import as_frame


def main(job: Job) -> None:
    settings, end = job.settings.recommend, end_of(job.as_of)
    past = without_refusing(job.read_past(), job.read(silver.USERS), end)
    rows = []
    for platform in job.settings.platforms:
        try:
            here = F.col("platform") == platform
            contents = job.read(silver.CONTENTS).where(here)
            with job.checkpoints(), kept(past.where(here).select(COLUMNS)) as interactions:
                found = learn(interactions, contents, end, settings, lambda text, p=platform: job.say(f"{p}: {text}"))
        except InputError as error:
            job.tell(f"{platform}: nothing was learned: {error}")
            continue
        rows += [{"platform": platform, **row} for row in found.rows]
        job.tell(f"{platform}: {as_settings(found, settings)}")
    job.write_snapshot(recommendations.ABLATION, as_frame(job.spark, recommendations.ABLATION, rows))


if __name__ == "__main__":
    raise SystemExit(run_job(main))
