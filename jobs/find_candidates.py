"""Find the contents worth ranking for each person, by the sources of recommend.ladder.

Writes gold.recommendation_candidates. Models that this release lacks are those of the release in force.
"""

from contextlib import ExitStack
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.recommend.arms import with_arms
from salience.recommend.availability import Blocks, people
from salience.recommend.caching import kept
from salience.recommend.candidates import candidates
from salience.recommend.sources import Known, Models
from salience.recommend.split import end_of
from salience.recommend.training import COLUMNS, trained_sources
from salience.tables import recommendations, silver


def main(job: Job) -> None:
    settings, cut, fewest = job.settings.recommend, end_of(job.as_of), job.settings.privacy.min_cell_people
    past = job.read_past().select(COLUMNS)
    contents, users = job.read(silver.CONTENTS), job.read(silver.USERS)
    blocks = Blocks(job.read_if_there(silver.BLOCKLIST), settings.blocked_tags, settings.blocked_brand_safety)
    found = []
    with ExitStack() as stack:
        for platform in job.settings.platforms:
            job.say(f"{platform}: finds what is worth ranking, and why")
            here = F.col("platform") == platform
            interactions = stack.enter_context(kept(past.where(here)))
            served = with_arms(people(users.where(here), interactions, cut), platform, settings.holdout)
            known = Known(interactions, contents.where(here), users.where(here), cut, blocks.of(platform), fewest)
            tell = lambda text, platform=platform: job.tell(f"{platform}: {text}")  # noqa: E731
            lists = candidates(known, served, models_of(job, platform), settings, tell)
            found.append(stack.enter_context(lists).select(F.lit(platform).alias("platform"), "*"))
        job.write_snapshot(recommendations.CANDIDATES, reduce(DataFrame.union, found))


def models_of(job: Job, platform: str) -> Models:
    """Return the models of the sources that there are; the others are told."""
    loaded = {}
    for name in trained_sources(job.settings.recommend):
        try:
            loaded[name] = job.models.load(job.load_model(f"{name}/{platform}", made_by="train_recommender"))
        except InputError as error:
            job.tell(f"{platform}: {error}")
    return loaded


if __name__ == "__main__":
    raise SystemExit(run_job(main))
