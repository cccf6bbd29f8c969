"""Train each platform's models of engagement and of return up to the as-of day, and judge them on the latest days.

A platform with too few exposures or only one label goes without a new model: the last one, if any, stays in force.
Nothing is learnt from, or judged on, people who refuse analysis or personalisation as of that day. Where
train_recommender.py --as-of kept factors, an exposure knows how well they suit.

Reads silver and models als-<day>/<platform>; writes gold.engagement_evaluation, gold.engagement_calibration,
gold.engagement_coefficients and the models engagement/<platform> and return/<platform>.
"""

from contextlib import ExitStack

from salience.engagement import exposures, returns, tasks
from salience.engagement.features import features
from salience.engagement.interest import interest
from salience.engagement.learning import learn, told, trained_on
from salience.engagement.pipeline import PIPELINE
from salience.engagement.watching import TRAINED_ON
from salience.job import Job, run_job
from salience.profiles.consent import without_refusing
from salience.recommend.caching import kept
from salience.recommend.split import end_of
from salience.settings import settings_as_json
from salience.tables import silver


def main(job: Job) -> None:
    settings, as_of = job.settings.engagement, job.as_of
    interactions = without_refusing(job.read(silver.INTERACTIONS), job.read(silver.USERS), end_of(as_of))
    learned = []
    with ExitStack() as stack:
        job.say("finding exposures, what they led to, and what was known before each")
        exposed = stack.enter_context(kept(exposures.exposures(interactions, as_of, settings)))
        suits = interest(job.models_of("als-"))
        known = features(exposed, job.read(silver.CONTENTS), as_of, settings, suits)
        days = returns.person_days(interactions, as_of, settings)
        of_labels = {"engagement": (known, tasks.engagement(settings)), "return": (days, tasks.returning(settings))}
        for name, (rows, task) in of_labels.items():
            job.say(f"fitting the models of {task.inputs.label}")
            own = stack.enter_context(kept(task.labelled(rows, as_of)))
            learned.append(learn(own, task, as_of, job.settings.platforms, settings, job.tell))
            for platform, models in learned[-1].trained.items():
                about = {"settings": settings_as_json(settings), "inputs": job.inputs, "knows_interest": bool(suits)}
                frames = {TRAINED_ON: trained_on(own, platform, learned[-1])}
                job.save_model(f"{name}/{platform}", frames, {**about, **models.about}, {PIPELINE: models.published})
        job.say("judging the models on the test window")
        for table, found in stack.enter_context(told(learned, settings)):
            job.write_snapshot(table, found)


if __name__ == "__main__":
    raise SystemExit(run_job(main))
