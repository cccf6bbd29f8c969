"""Rank each person's candidates by what is expected of them, vary the lists, and keep k.

Writes gold.recommendations and gold.recommendation_shortfalls. With --fold-in it finds and scores the candidates first,
by the models in force and what people have done since they were trained; nothing is trained.
"""

from argparse import ArgumentParser
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import find_candidates
import score_engagement
from salience.errors import InputError
from salience.job import Job, run_job
from salience.recommend.availability import Blocks, how_many_shown, people
from salience.recommend.frequency import frequency_caps
from salience.recommend.rank import rank, shortfalls
from salience.recommend.split import end_of
from salience.recommend.worth import facts
from salience.tables import engagement, recommendations, silver


def main(job: Job) -> None:
    settings, cut = job.settings.recommend, end_of(job.as_of)
    if getattr(job.arguments, "fold_in", False):
        for step in (find_candidates, score_engagement):
            job.step(step.main, release=job.release)
    past, users, contents = job.read_past(), job.read(silver.USERS), job.read(silver.CONTENTS)
    blocks = Blocks(job.read_if_there(silver.BLOCKLIST), settings.blocked_tags, settings.blocked_brand_safety)
    served, known, available = [], [], []
    for platform in job.settings.platforms:
        here, named = F.col("platform") == platform, F.lit(platform).alias("platform")
        of = past.where(here), contents.where(here), cut
        served.append(people(users.where(here), past.where(here), cut).select(named, "user_id"))
        known.append(facts(*of, settings).select(named, "*"))
        available.append(how_many_shown(*of, blocks.of(platform)).select(named, "*"))
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
    people_and_counts = reduce(DataFrame.union, served), reduce(DataFrame.union, available)
    job.write_snapshot(recommendations.SHORTFALLS, shortfalls(candidates, *people_and_counts, settings.k))


def extra(parser: ArgumentParser) -> None:
    told = "find and score the candidates first, by the models in force, for what people did since"
    parser.add_argument("--fold-in", action="store_true", help=told)


if __name__ == "__main__":
    raise SystemExit(run_job(main, extra=extra))
