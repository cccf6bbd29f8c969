"""Find the contents worth ranking for each person, by the release's ALS models and by popularity.

Writes gold.recommendation_candidates.
"""

from contextlib import ExitStack
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.recommend.arms import with_arms
from salience.recommend.availability import people
from salience.recommend.caching import kept
from salience.recommend.candidates import as_rows, for_nobody, personal, placed, trending
from salience.recommend.gate import in_force
from salience.recommend.split import end_of
from salience.recommend.training import COLUMNS, for_tasks
from salience.tables import recommendations, silver


def main(job: Job) -> None:
    settings, cut = job.settings.recommend, end_of(job.as_of)
    past = job.read_past().select(COLUMNS)
    contents, users = job.read(silver.CONTENTS), job.read(silver.USERS)
    found = []
    with ExitStack() as stack:
        for platform in job.settings.platforms:
            here = F.col("platform") == platform
            known = contents.where(here)
            interactions = stack.enter_context(kept(past.where(here)))
            served = with_arms(people(users.where(here), interactions, cut), platform, settings.holdout)
            lists = for_nobody(job.spark)
            try:
                saved = job.load_model(f"als/{platform}", made_by="train_recommender")
            except InputError as error:
                job.tell(f"{platform}: only what is popular: {error}")
            else:
                job.say(f"{platform}: finds what ALS proposes, and why")
                model = job.models.load(saved)
                items, weighing = model.frames["item_factors"], in_force(model.manifest, settings)
                fitted = for_tasks(items, model.manifest)
                lists = stack.enter_context(kept(personal(served, interactions, known, cut, items, fitted, weighing)))
            found.append(as_rows(lists, platform, "als", because=F.col("item.because")))
            found.append(as_rows(trending(served, interactions, known, cut, lists, settings), platform, "trending"))
        job.say("fills up with what is popular")
        job.write_snapshot(recommendations.CANDIDATES, placed(reduce(DataFrame.union, found)))


if __name__ == "__main__":
    raise SystemExit(run_job(main))
