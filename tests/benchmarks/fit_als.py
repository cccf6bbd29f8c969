"""Fits ALS once, as the product does, in a fresh Java; saves the factors and prints the seconds and the BLAS."""

import argparse
import json
from pathlib import Path
from time import monotonic

from benchmarks.apart import CONF
from benchmarks.crowd import Crowd
from salience.models.store import blas
from salience.recommend.als import Point, Ratings, fit
from salience.recommend.caching import kept
from salience.session import build_session
from salience.settings import load_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crowd", type=Path)
    parser.add_argument("factors", type=Path)
    for name in ("rank", "iterations", "blocks"):
        parser.add_argument(f"--{name}", type=int)
    asked = parser.parse_args()
    overrides = [f"recommend.als.{name}={getattr(asked, name)}" for name in ("rank", "iterations", "blocks")]
    settings = load_settings(CONF, "local", {}, overrides).recommend.als
    spark = build_session("fit-als", CONF, "local")
    crowd = Crowd(asked.crowd)
    rows = spark.read.parquet(str(crowd.pairs)).select("user", "item", "weight")
    ids = [spark.read.parquet(str(file)) for file in (crowd.user_ids, crowd.item_ids)]
    with kept(rows) as held:
        held.count()
        begun = monotonic()
        factors = fit(Ratings(held, *ids), settings, Point(settings.alphas[0], settings.regularisations[0]))
        seconds = monotonic() - begun
        for name in ("user_factors", "item_factors"):
            getattr(factors, name).write.mode("overwrite").parquet(str(asked.factors / name))
    print(json.dumps({"seconds": seconds, "blas": blas(spark)}))


if __name__ == "__main__":
    main()
