"""Score the release's recommendation candidates with its engagement models, as if shown right after the as-of day.

Candidates of people who refuse analysis or personalisation, or are held out of it, are not scored, so that popularity
alone ranks them; nor are those of a platform that has no model.
Reads gold.recommendation_candidates, gold.user_profiles and silver; writes gold.engagement_scores.
"""

from pyspark.sql import functions as F

from salience.engagement.exposures import exposures
from salience.engagement.logistic import from_frame
from salience.engagement.score import score, targets
from salience.errors import InputError
from salience.job import Job, run_job
from salience.profiles.consent import without_refusing
from salience.recommend.arms import PERSONALISED
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
    users, cut = job.read(silver.USERS), end_of(job.as_of)
    personalised = job.read_snapshot(recommendations.CANDIDATES, own=True).where(F.col("arm") == PERSONALISED)
    candidates = without_refusing(personalised, users, cut)
    asked = targets(candidates, job.read_snapshot(profiles.USER_PROFILES), job.as_of)
    exposed = exposures(without_refusing(job.read(silver.INTERACTIONS), users, cut), job.as_of, settings)
    job.say("scoring the candidates")
    job.write_snapshot(engagement.SCORES, score(asked, exposed, job.read(silver.CONTENTS), models, settings))


if __name__ == "__main__":
    raise SystemExit(run_job(main))
