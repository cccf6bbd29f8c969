"""Train each platform's engagement model on exposures up to the as-of day and measure it on the latest of them.

Reads silver.interactions and silver.contents; writes gold.engagement_evaluation and the models engagement/<platform>.
"""

from functools import reduce

from pyspark.sql import DataFrame

from salience.engagement.exposures import exposures, labelled
from salience.engagement.features import FEATURES, features
from salience.engagement.logistic import to_frame
from salience.engagement.train import train
from salience.engagement.windows import windows
from salience.job import Job, run_job
from salience.settings import settings_as_json
from salience.tables import engagement, silver


def main(job: Job) -> None:
    settings = job.settings.engagement
    protocol = windows(job.as_of, settings).protocol
    exposed = exposures(job.read(silver.INTERACTIONS), job.as_of, settings).persist()
    contents = job.read(silver.CONTENTS)
    job.say("finding exposures, what they led to, and what was known before each")
    examples = features(labelled(exposed, job.as_of, settings), exposed, contents, settings).persist()
    examples.count()
    evaluations = []
    for platform in job.settings.platforms:
        job.say(f"fitting and judging the engagement model of {platform}")
        coefficients, evaluation = train(examples, platform, job.as_of, settings)
        manifest = {
            "features": FEATURES,
            "protocol": protocol,
            "settings": settings_as_json(settings),
            "inputs": job.inputs,
        }
        frames = {"coefficients": to_frame(coefficients, examples)}
        name = f"engagement/{platform}"
        job.add_model(name, job.models.save(job.release, name, frames, manifest))
        evaluations.append(evaluation)
    job.write_snapshot(engagement.EVALUATION, reduce(DataFrame.unionByName, evaluations))
    examples.unpersist()
    exposed.unpersist()


if __name__ == "__main__":
    raise SystemExit(run_job(main))
