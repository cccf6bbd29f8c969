"""Score the release's recommendation candidates with its engagement models, as if shown right after the as-of day.

Reads gold.recommendation_candidates, gold.user_profiles, silver.interactions and silver.contents; writes
gold.engagement_scores.
"""

from salience.engagement.exposures import exposures
from salience.engagement.logistic import from_frame
from salience.engagement.score import score, targets
from salience.job import Job, run_job
from salience.tables import engagement, profiles, recommendations, silver


def main(job: Job) -> None:
    settings = job.settings.engagement
    job.say("loading the engagement models")
    models = {}
    for platform in job.settings.platforms:
        saved = job.load_model(f"engagement/{platform}", made_by="train_engagement")
        models[platform] = from_frame(job.models.load(saved).frames["coefficients"])
    candidates = job.read_snapshot(recommendations.CANDIDATES)
    asked = targets(candidates, job.read_snapshot(profiles.USER_PROFILES), job.as_of)
    exposed = exposures(job.read(silver.INTERACTIONS), job.as_of, settings)
    job.say("scoring the candidates")
    job.write_snapshot(engagement.SCORES, score(asked, exposed, job.read(silver.CONTENTS), models, settings))


if __name__ == "__main__":
    raise SystemExit(run_job(main))
