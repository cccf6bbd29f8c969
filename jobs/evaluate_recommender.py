"""Compare recommenders on a train and a test file of anybody's making: user, item[, weight][, timestamp].

Parameters are chosen on inner splits of train. Every train item is ranked, but for the user's own. Writes no tables.
"""

import json
from argparse import ArgumentParser

from rich.console import Console

from salience.job import Job, run_job
from salience.recommend.caching import kept
from salience.recommend.comparison import BLEND, Terms, as_table, compare
from salience.recommend.files import read_extra, read_rows, wanted_models, written
from salience.recommend.models.catalogue import catalogue
from salience.recommend.public import newest, random_folds, split, time_folds


def main(job: Job) -> None:
    asked, settings = job.arguments, job.settings.recommend
    fixed, tried = settings.als, settings.search
    splits = tried.folds if asked.inner == "time" else tried.blend_folds
    models = catalogue(settings, asked.inner == "time")
    wanted = wanted_models(asked.models, [*models, BLEND])
    extra = read_extra(job.spark, asked.contents, asked.users)
    terms = Terms(asked.k, settings.bootstrap_replicates, fixed.seed, fixed.blocks, asked.budget_s, tried.folds)
    with (
        kept(read_rows(job.spark, asked.train, "--train")) as train,
        kept(read_rows(job.spark, asked.test, "--test")) as test,
    ):
        if asked.inner == "time":
            inner = time_folds(train, asked.relevant_weight, tried.share, splits)
        else:
            inner = random_folds(train, asked.relevant_weight, tried.share, splits, fixed.seed)
        outer = split(train, test, asked.relevant_weight, newest(train))
        found = compare(models, wanted, outer, inner, extra, terms, job.say)
    Console(width=160).print(as_table(found))
    if asked.json:
        written(asked.json, json.dumps(found, indent=2))


def extra(parser: ArgumentParser) -> None:
    file = {"metavar": "F", "help": "Parquet (a file or folder) or CSV with a header"}
    parser.add_argument("--train", required=True, **file)
    parser.add_argument("--test", required=True, **file)
    parser.add_argument("--k", type=int, default=10, help="length of the lists that are judged (10)")
    parser.add_argument("--models", help="names, parted by commas; all of them unless told")
    parser.add_argument("--inner", choices=("random", "time"), default="random", help="how train is split to choose")
    parser.add_argument("--json", metavar="OUT", help="write {model: {metric: value}} to this file")
    parser.add_argument("--budget-s", type=float, help="seconds that the search may take (what runs then is finished)")
    parser.add_argument("--relevant-weight", type=float, default=0.0, help="test rows that weigh less do not count (0)")
    parser.add_argument("--contents", metavar="F", help="item, tags (an array, or text parted by |), for `tags`")
    parser.add_argument("--users", metavar="F", help="user, segment, for `segment_popular`")


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False, records=False, extra=extra))
