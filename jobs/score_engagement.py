"""Score the release's recommendation candidates with its engagement models, as if shown right after the as-of day.

Candidates of people who refuse personalisation are not scored, nor those of a platform that has no model. Reads
gold.recommendation_candidates, gold.user_profiles and silver; writes gold.engagement_scores.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.engagement.exposures import exposures
from salience.engagement.logistic import from_frame
from salience.engagement.score import score, targets
from salience.errors import InputError
from salience.job import Job, run_job
from salience.recommend.availability import refusing
from salience.recommend.split import end_of
from salience.tables import engagement, profiles, recommendations, silver


def main(job: Job) -> None:
    settings = job.settings.engagement
    job.say("loading the engagement models")
    models = {}
    for platform in job.settings.platforms:
        try:
            saved = job.load_model(f"engagement/{platform}", made_by="train_engagement")
        except InputError as error:
            job.tell(f"{platform} is not scored: {error}")
        else:
            models[platform] = from_frame(job.models.load(saved).frames["coefficients"])
    if not models:
        return
    candidates = personalised(job, job.read_snapshot(recommendations.CANDIDATES, own=True))
    asked = targets(candidates, job.read_snapshot(profiles.USER_PROFILES), job.as_of)
    exposed = exposures(job.read(silver.INTERACTIONS), job.as_of, settings)
    job.say("scoring the candidates")
    job.write_snapshot(engagement.SCORES, score(asked, exposed, job.read(silver.CONTENTS), models, settings))


def personalised(job: Job, candidates: DataFrame) -> DataFrame:
    """Return the candidates without those of people who refuse personalisation."""
    users = job.read(silver.USERS)
    for platform in job.settings.platforms:
        people = refusing(users.where(F.col("platform") == platform), end_of(job.as_of))
        refused = people.select(F.lit(platform).alias("platform"), "user_id")
        candidates = candidates.join(refused, ["platform", "user_id"], how="left_anti")
    return candidates


if __name__ == "__main__":
    raise SystemExit(run_job(main))
