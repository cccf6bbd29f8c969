"""Score the release's recommendation candidates as if shown right after the as-of day, and who is expected back.

With --explain N each score tells its N largest contributions. People who refuse analysis or personalisation are not
scored, nor are candidates of those held out of it, so that popularity alone ranks them; nor is a platform without a
model. Reads gold.recommendation_candidates, gold.user_profiles and silver; writes gold.engagement_scores and
gold.return_scores.
"""

from argparse import ArgumentParser

from pyspark.sql import functions as F

from salience.arguments import count_of
from salience.engagement import exposures, returns, tasks
from salience.engagement.features import features, with_targets
from salience.engagement.interest import interest
from salience.engagement.pipeline import P
from salience.engagement.score import scored, targets, usable
from salience.job import Job, run_job
from salience.profiles.consent import without_refusing
from salience.recommend.arms import PERSONALISED
from salience.recommend.caching import kept
from salience.recommend.split import end_of
from salience.tables import engagement, profiles, recommendations, silver

PERSON = ("platform", "user_id")


def main(job: Job) -> None:
    settings, as_of, users, cut = job.settings.engagement, job.as_of, job.read(silver.USERS), end_of(job.as_of)
    interactions = without_refusing(job.read(silver.INTERACTIONS), users, cut)
    saved = (job.platform_models(kind, "train_engagement") for kind in ("engagement", "return"))
    engaging, coming = (usable(models, settings, job.tell) for models in saved)
    if engaging:
        job.say("scoring the candidates")
        personalised = job.read_snapshot(recommendations.CANDIDATES, own=True).where(F.col("arm") == PERSONALISED)
        candidates = without_refusing(personalised, users, cut)
        knows_interest = any(model.manifest["knows_interest"] for model in engaging.values())
        suits = interest(job.models_of("als")) if knows_interest else None
        with kept(exposures.exposures(interactions, as_of, settings)) as exposed:
            asked = targets(candidates, job.read_snapshot(profiles.USER_PROFILES), exposed, as_of)
            with kept(with_targets(exposed, asked)) as timeline:
                known = features(timeline, job.read(silver.CONTENTS), as_of, settings, suits).where("NOT is_exposure")
                inputs, told = tasks.engagement(settings).inputs, getattr(job.arguments, "explain", 0)
                scores = scored(known, (*PERSON, "content_id"), engaging, inputs, told)
                job.write_snapshot(engagement.SCORES, scores.withColumnRenamed(P, "p_engage_24h"))
    if coming:
        job.say("scoring who comes back")
        days = returns.latest(returns.person_days(interactions, as_of, settings), as_of)
        scores = scored(days, PERSON, coming, tasks.returning(settings).inputs).drop("contributions")
        job.write_snapshot(engagement.RETURN_SCORES, scores.withColumnRenamed(P, returns.PROBABILITY))


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("--explain", type=count_of, default=0, metavar="N", help="tell the N largest contributions")


if __name__ == "__main__":
    raise SystemExit(run_job(main, extra=extra))
