"""Measure whether recent days still look like what the engagement models learnt from, and whether they still come true.

Each of the last engagement.drift.days days is compared with the training window, and each of the last days whose labels
are known with what the models said. What exceeds engagement.drift is a failed audit in ops.audits; with --gate the job
then ends with exit code 3. Reads silver and the models in force; writes gold.feature_drift and
gold.engagement_calibration_drift.
"""

from argparse import ArgumentParser
from contextlib import ExitStack
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.engagement import exposures, returns, tasks
from salience.engagement.drift import audits
from salience.engagement.features import features
from salience.engagement.interest import interest
from salience.engagement.score import usable
from salience.engagement.watching import calibration_drifts, feature_drifts, recent
from salience.job import Job, run_job
from salience.profiles.consent import without_refusing
from salience.recommend.caching import kept
from salience.recommend.split import end_of
from salience.tables import engagement, silver


def main(job: Job) -> None:
    settings, as_of, drift = job.settings.engagement, job.as_of, job.settings.engagement.drift
    interactions = without_refusing(job.read(silver.INTERACTIONS), job.read(silver.USERS), end_of(as_of))
    of_features, of_calibration = list[DataFrame](), list[DataFrame]()
    with ExitStack() as stack:
        exposed = stack.enter_context(kept(exposures.exposures(interactions, as_of, settings)))
        suits = interest(job.models_of("als-"))
        known = features(exposed, job.read(silver.CONTENTS), as_of, settings, suits)
        days = returns.person_days(interactions, as_of, settings)
        of_labels = {"engagement": (known, tasks.engagement(settings)), "return": (days, tasks.returning(settings))}
        for kind, (rows, task) in of_labels.items():
            models = usable(job.earlier_models(kind, "train_engagement"), settings, job.tell)
            if models:
                last = stack.enter_context(kept(recent(rows, task, as_of, drift.days)))
                of_features.append(feature_drifts(last, models, task, as_of, drift.days))
                of_calibration.append(calibration_drifts(task.labelled(last, as_of), models, task))
        if not of_features:
            return
        written = []
        for table, frames in ((engagement.FEATURE_DRIFT, of_features), (engagement.CALIBRATION_DRIFT, of_calibration)):
            job.write_snapshot(table, reduce(DataFrame.unionByName, frames))
            written.append(job.warehouse.read(table).where(F.col("release_id") == job.release))
    job.check(audits(*written, job.release, drift), gate=getattr(job.arguments, "gate", False))


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("--gate", action="store_true", help="end with exit code 3 if something drifted too far")


if __name__ == "__main__":
    raise SystemExit(run_job(main, extra=extra))
