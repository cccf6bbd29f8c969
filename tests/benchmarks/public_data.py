"""Public ratings, split as others split them, as Parquet files of user, item, weight, timestamp."""

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

SEEDS = (42, 1, 2, 3)
_WHEEL = "recbole==1.2.1"
"""It carries MovieLens-100k, in the order of the original u.data."""
_RATINGS = "recbole/dataset_example/ml-100k/ml-100k.inter"
TRAIN_SHARE, TEST_SHARE = 0.75, 0.2


@dataclass(frozen=True)
class Files:
    """Paths, as jobs/evaluate_recommender.py takes them."""

    train: Path
    test: Path
    contents: Path | None = None


def movielens(folder: Path, seed: int) -> Files:
    """Split MovieLens-100k for each film, 75 % train and 25 % test, as recommenders-team/recommenders does.

    numpy.random.seed(seed); rand(n) in file order; train = the round(0.75 x count) smallest draws of a film.
    """
    ratings = _movielens_ratings(folder)
    np.random.seed(seed)
    draws = pd.Series(np.random.rand(len(ratings)))
    by_film = draws.groupby(ratings["item"])
    is_train = by_film.rank(method="first") <= (TRAIN_SHARE * by_film.transform("size")).round()
    return _written(folder / f"ml-100k-{seed}", ratings[is_train], ratings[~is_train])


def movietweetings(source: Path, folder: Path) -> Files:
    """Split MovieTweetings by time: the last 20 % of the ratings are test."""
    columns = ["user", "item", "weight", "timestamp"]
    read = {"sep": "::", "engine": "python", "encoding": "utf-8"}
    ratings = pd.read_csv(source / "ratings.dat", names=columns, dtype={"user": str, "item": str}, **read)
    cut = ratings["timestamp"].sort_values().iloc[int(len(ratings) * (1 - TEST_SHARE))]
    is_train = ratings["timestamp"] < cut
    films = pd.read_csv(source / "movies.dat", names=["item", "title", "tags"], dtype=str, **read)
    files = _written(folder / "movietweetings", ratings[is_train], ratings[~is_train])
    contents = files.train.with_name("contents.csv")
    films[["item", "tags"]].to_csv(contents, index=False)
    return Files(files.train, files.test, contents)


def _movielens_ratings(folder: Path) -> pd.DataFrame:
    folder.mkdir(parents=True, exist_ok=True)
    wheels = list(folder.glob("recbole-*.whl"))
    if not wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), _WHEEL]
        subprocess.run([*command, "--disable-pip-version-check"], check=True)
        wheels = list(folder.glob("recbole-*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(_RATINGS) as file:
        ratings = pd.read_csv(file, sep="\t")
    ratings.columns = ["user", "item", "weight", "timestamp"]
    return ratings


def _written(folder: Path, train: pd.DataFrame, test: pd.DataFrame) -> Files:
    folder.mkdir(parents=True, exist_ok=True)
    train.to_parquet(folder / "train.parquet", index=False)
    test.to_parquet(folder / "test.parquet", index=False)
    return Files(folder / "train.parquet", folder / "test.parquet")
