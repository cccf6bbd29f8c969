"""Find the people whom each content suits best, and for each person accounts to follow.

By the release's ALS models; accounts by popularity, too. Writes gold.content_audiences, gold.creator_recommendations.
"""

from contextlib import ExitStack
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.job import Job, run_job
from salience.recommend import creators
from salience.recommend.arms import with_arms
from salience.recommend.audiences import audiences
from salience.recommend.availability import Blocks, creators_of, people
from salience.recommend.caching import kept
from salience.recommend.sources import Known, trending_items
from salience.recommend.split import end_of
from salience.recommend.tastes import personal_factors
from salience.recommend.training import COLUMNS
from salience.tables import recommendations, silver


def main(job: Job) -> None:
    settings, cut = job.settings.recommend, end_of(job.as_of)
    past = job.read_past().select(COLUMNS)
    contents, users = job.read(silver.CONTENTS), job.read(silver.USERS)
    blocked = Blocks(job.read_if_there(silver.BLOCKLIST), settings.blocked_tags, settings.blocked_brand_safety)
    suited, accounts = [job.warehouse.frame(recommendations.AUDIENCES, []).drop("release_id")], []
    with ExitStack() as stack:
        for platform in job.settings.platforms:
            here, hold = F.col("platform") == platform, lambda frame: stack.enter_context(kept(frame))
            known = Known(hold(past.where(here)), contents.where(here), users.where(here), cut, blocked.of(platform))
            served = with_arms(people(known.users, known.interactions, cut), platform, settings.holdout)
            shown = hold(trending_items(known, settings))
            makers = hold(creators_of(known.contents, known.interactions, cut))
            allowed = creators.without_blocked(makers, known.blocks, cut)
            known_of = creators.Accounts(allowed, hold(creators.followed(known.interactions, makers, cut)))
            lists = creators.for_nobody(job.spark)
            try:
                saved = job.load_model(f"als/{platform}", made_by="train_recommender")
            except InputError as error:
                job.tell(f"{platform}: no audiences of contents, and only accounts that are popular: {error}")
            else:
                job.say(f"{platform}: ranks people for contents, and accounts for people")
                model = job.models.load(saved)
                tastes = hold(personal_factors(served, known.interactions, cut, model, settings))
                items = model.frames["item_factors"].join(shown, "content_id", how="left_semi")
                suited.append(audiences(platform, items, tastes, known.interactions, makers, cut, settings))
                lists = hold(creators.personal_creators(tastes, items, known_of, settings))
            accounts.append(creators.filled_up(platform, lists, served, shown, known_of, settings))
        job.write_snapshot(recommendations.AUDIENCES, reduce(DataFrame.union, suited))
        job.write_snapshot(recommendations.CREATORS, reduce(DataFrame.union, accounts))


if __name__ == "__main__":
    raise SystemExit(run_job(main))
