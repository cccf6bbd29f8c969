"""Ranks MovieLens-100k and MovieTweetings with every recommender, by jobs/evaluate_recommender.py on real Spark.

MovieLens-100k: the per-film random split of recommenders-team/recommenders with four seeds; parameters are chosen on
random splits of each train part. MovieTweetings: the last fifth by time; chosen on the last tenths of train.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.figures import FOLDER, Figures
from benchmarks.public_data import SEEDS, Files, movielens, movietweetings

PROJECT = Path(__file__).parent.parent.parent
TWEETS = PROJECT.parent / "shared" / "data" / "movietweetings"
DATA = FOLDER / "quality"
PUBLISHED_SEED, BIVAE_NDCG = 42, 0.475
RELEVANT_RATING = 7
BUDGET_S = 1200
"""For the search on MovieTweetings, whose 9,000 films make a fit of `ease` take a minute."""
GOALS = {"als": ">= 0.485", "blend": ">= 0.50"}
ML_MODELS = "als,similarity,ease,svd,popularity,blend"
"""Without `user_similarity`: its search takes as long as that of all others, and it ranks like `similarity`."""
MT_MODELS = "als,similarity,user_similarity,ease,svd,tags,popularity,blend"


def evaluated(files: Files, name: str, *more: str) -> dict[str, Any]:
    """Return what the job writes; it runs in a process of its own, as a user would run it."""
    out = DATA / f"{name}.json"
    command = [sys.executable, str(PROJECT / "jobs" / "evaluate_recommender.py"), "--env", "local"]
    command += ["--train", str(files.train), "--test", str(files.test), "--json", str(out), *more]
    subprocess.run(command, check=True, cwd=PROJECT)
    return dict(json.loads(out.read_text(encoding="utf-8")))


def of_movielens(figures: Figures) -> None:
    by_seed = {seed: evaluated(movielens(DATA, seed), f"ml-100k-{seed}", "--models", ML_MODELS) for seed in SEEDS}
    for model in by_seed[PUBLISHED_SEED]:
        each = [by_seed[seed][model]["ndcg"] for seed in SEEDS]
        told = "mean of seeds " + ", ".join(f"{seed}: {ndcg:.4f}" for seed, ndcg in zip(SEEDS, each, strict=True))
        figures.add(f"ml100k_ndcg10_{model}", mean(each), "nDCG@10", told, GOALS.get(model))
    ours = by_seed[PUBLISHED_SEED]["blend"]
    lead = (ours["ndcg"] - BIVAE_NDCG) / ours["std_errors"]["ndcg"]
    against = f"{ours['ndcg']:.4f} against BiVAE's published {BIVAE_NDCG} at seed {PUBLISHED_SEED}"
    figures.add("ml100k_blend_lead_over_bivae", lead, "standard errors", against, "> 2")


def of_movietweetings(figures: Figures) -> None:
    files = movietweetings(TWEETS, DATA)
    more = ["--models", MT_MODELS, "--inner", "time", "--relevant-weight", str(RELEVANT_RATING)]
    more += ["--budget-s", str(BUDGET_S)]
    found = evaluated(files, "movietweetings", *more, "--contents", str(files.contents))
    for model, told in found.items():
        low, high = told["intervals_95"]["ndcg"]
        against = f"95%: {low:.4f} to {high:.4f}, {told['users']:,} people"
        figures.add(f"movietweetings_ndcg10_{model}", told["ndcg"], "nDCG@10", against)
    lead = found["blend"]["ndcg_differences"]["popularity"]
    against = f"paired, 95%: {lead['ci_low']:+.4f} to {lead['ci_high']:+.4f}"
    figures.add("movietweetings_blend_minus_popularity", lead["value"], "nDCG@10", against, "> 0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("ml100k", "movietweetings", "both"), default="both")
    asked = parser.parse_args().data
    figures = Figures("quality")
    if asked != "ml100k":
        if TWEETS.is_dir():
            of_movietweetings(figures)
        else:
            print(f"MovieTweetings is not at {TWEETS}: left out")
    if asked != "movietweetings":
        of_movielens(figures)
    figures.report()


if __name__ == "__main__":
    main()
