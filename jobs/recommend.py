"""Rank each person's candidates by what is expected of them, vary the lists, and keep k.

Writes gold.recommendations and gold.recommendation_shortfalls.
"""

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.recommend.availability import people
from salience.recommend.frequency import frequency_caps
from salience.recommend.rank import rank, shortfalls
from salience.recommend.split import end_of
from salience.recommend.worth import facts
from salience.tables import engagement, recommendations, silver


def main(job: Job) -> None:
    settings, cut = job.settings.recommend, end_of(job.as_of)
    past, users, contents = job.read_past(), job.read(silver.USERS), job.read(silver.CONTENTS)
    served, known = [], []
    for platform in job.settings.platforms:
        here, named = F.col("platform") == platform, F.lit(platform).alias("platform")
        served.append(people(users.where(here), past.where(here), cut).select(named, "user_id"))
        known.append(facts(past.where(here), contents.where(here), cut, settings).select(named, "*"))
    try:
        scores = job.read_snapshot(engagement.SCORES, own=True)
    except InputError:
        job.tell("there are no engagement scores: ranks by the candidates' own order")
        scores = None
    candidates = job.read_snapshot(recommendations.CANDIDATES, own=True)
    caps = frequency_caps(past, cut, settings)
    job.say("ranks")
    ranked = rank(candidates, scores, reduce(DataFrame.union, known), caps, cut, settings)
    job.write_snapshot(recommendations.RECOMMENDATIONS, ranked)
    short = shortfalls(candidates, reduce(DataFrame.union, served), settings.k)
    job.write_snapshot(recommendations.SHORTFALLS, short)


if __name__ == "__main__":
    raise SystemExit(run_job(main))
