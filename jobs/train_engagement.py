"""Train each platform's engagement model on exposures up to the as-of day and measure it on the latest of them.

A platform with too few exposures or only one label goes without a new model: the last one, if any, stays in force.
Nothing is learnt from, or judged on, people who refuse analysis or personalisation as of that day.

Reads silver.interactions, silver.contents and silver.users; writes gold.engagement_evaluation and the models
engagement/<platform>.
"""

from salience.engagement.exposures import exposures, labelled
from salience.engagement.features import FEATURES, features
from salience.engagement.logistic import to_frame
from salience.engagement.train import judge, train
from salience.engagement.windows import windows
from salience.errors import InputError
from salience.job import Job, run_job
from salience.profiles.consent import without_refusing
from salience.recommend.split import end_of
from salience.settings import settings_as_json
from salience.tables import engagement, silver


def main(job: Job) -> None:
    settings = job.settings.engagement
    split = windows(job.as_of, settings)
    interactions = without_refusing(job.read(silver.INTERACTIONS), job.read(silver.USERS), end_of(job.as_of))
    exposed = exposures(interactions, job.as_of, settings).persist()
    job.say("finding exposures, what they led to, and what was known before each")
    labelled_ones = labelled(exposed, job.as_of, settings)
    examples = features(labelled_ones, exposed, job.read(silver.CONTENTS), settings).persist()
    fitted = {}
    for platform in job.settings.platforms:
        job.say(f"fitting the engagement model of {platform}")
        try:
            fitted[platform] = train(examples, platform, split, settings)
        except InputError as error:
            job.tell(f"no new engagement model: {error}")
    if fitted:
        job.say("judging the engagement models on the test window")
        evaluation = judge(examples, fitted, split, settings.bootstrap_replicates)
        job.write_snapshot(engagement.EVALUATION, evaluation)
    identity = {"settings": settings_as_json(settings), "protocol": split.protocol, "inputs": job.inputs}
    for platform, models in fitted.items():
        frames = {"coefficients": to_frame(models.published, examples)}
        name = f"engagement/{platform}"
        job.save_model(name, frames, identity | {"features": FEATURES})
    examples.unpersist()
    exposed.unpersist()


if __name__ == "__main__":
    raise SystemExit(run_job(main))
