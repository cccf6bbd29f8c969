"""Rank each person's candidates by predicted engagement and keep the best k.

Writes gold.recommendations and gold.recommendation_shortfalls.
"""

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.recommend.availability import people
from salience.recommend.rank import rank
from salience.recommend.split import end_of
from salience.tables import engagement, recommendations, silver


def main(job: Job) -> None:
    past = job.read_past()
    users = job.read(silver.USERS)
    served = []
    for platform in job.settings.platforms:
        here = F.col("platform") == platform
        everyone = people(users.where(here), past.where(here), end_of(job.as_of))
        served.append(everyone.select(F.lit(platform).alias("platform"), "user_id"))
    try:
        scores = job.read_snapshot(engagement.SCORES, own=True)
    except InputError:
        job.tell("there are no engagement scores: ranks by the sources' own order")
        scores = None
    candidates = job.read_snapshot(recommendations.CANDIDATES, own=True)
    ranked, shortfalls = rank(candidates, scores, reduce(DataFrame.union, served), job.settings.recommend.k)
    job.say("ranks")
    job.write_snapshot(recommendations.RECOMMENDATIONS, ranked)
    job.write_snapshot(recommendations.SHORTFALLS, shortfalls)


if __name__ == "__main__":
    raise SystemExit(run_job(main))
