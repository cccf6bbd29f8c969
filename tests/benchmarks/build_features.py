"""Builds the features of logs of several sizes, and prints seconds and bytes moved of each time."""

import argparse
import json
from pathlib import Path
from time import monotonic
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks.apart import CONF
from benchmarks.exposure_log import LAST
from salience.engagement import pipeline
from salience.engagement.exposures import exposures
from salience.engagement.features import features
from salience.engagement.pipeline import Inputs, Penalty
from salience.recommend.caching import kept
from salience.session import build_session
from salience.settings import load_settings

KEYS = ("content", "user", "user_creator", "user_tag")
"""What the peer counts by, too."""


def shuffled_bytes(spark: SparkSession) -> int:
    """Return what all shuffles of the session have written so far."""
    store = spark.sparkContext._jsc.sc().statusStore()
    executors = store.executorList(False)
    return sum(executors.apply(n).totalShuffleWrite() for n in range(executors.size()))


def built(spark: SparkSession, folder: Path, conf: Path) -> dict[str, Any]:
    """Build the features of a log as jobs/train_engagement.py does, labels included, without keeping them."""
    settings = load_settings(conf, "local", {}).engagement
    begun, moved = monotonic(), shuffled_bytes(spark)
    interactions, contents = (spark.read.parquet(str(folder / name)) for name in ("interactions", "contents"))
    with kept(exposures(interactions, LAST, settings)) as exposed:
        found = features(exposed, contents, LAST, settings, None)
        found.write.format("noop").mode("overwrite").save()
        seconds = monotonic() - begun
        return {"s": seconds, "moved_bytes": shuffled_bytes(spark) - moved, "rows": exposed.count()}


def fitted(spark: SparkSession, folder: Path, conf: Path) -> float:
    """Return the seconds that standard scores and a regression on KEYS' counters take, with the features at hand."""
    settings = load_settings(conf, "local", {}).engagement
    interactions, contents = (spark.read.parquet(str(folder / name)) for name in ("interactions", "contents"))
    known = features(exposures(interactions, LAST, settings), contents, LAST, settings, None)
    names = tuple(name for name in known.columns if name.startswith(tuple(f"{key}_e" for key in KEYS)))
    label = F.col("engaged_at").isNotNull().cast("double").alias("label")
    with kept(known.select("event_id", label, *names)) as rows:
        count = rows.count()
        begun = monotonic()
        matrix = pipeline.ordered(rows, count, "event_id").persist()
        prepared = pipeline.prepare(matrix, Inputs("label", names, ()), settings)
        pipeline.fit(prepared.transform(matrix), "label", Penalty(0.001, 0.0), 1.0)
        return monotonic() - begun


def sums(spark: SparkSession, folder: Path, conf: Path) -> dict[str, float]:
    """Return the sums of the features that count exposures."""
    settings = load_settings(conf, "local", {}).engagement
    interactions, contents = (spark.read.parquet(str(folder / name)) for name in ("interactions", "contents"))
    found = features(exposures(interactions, LAST, settings), contents, LAST, settings, None)
    counted = [name for name in found.columns if "_exposures_" in name]
    return found.agg(*(F.sum(name).alias(name) for name in counted)).head().asDict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repeats", type=int)
    parser.add_argument("folders", type=Path, nargs="+", help="logs; the first one is built once more, to warm up")
    asked = parser.parse_args()
    spark = build_session("build-features", CONF, "local")
    built(spark, asked.folders[0], CONF)
    runs = [{f.name: built(spark, f, CONF) for f in asked.folders} for _ in range(asked.repeats)]
    told = sums(spark, asked.folders[1], CONF)
    fits = [fitted(spark, asked.folders[1], CONF) for _ in range(asked.repeats)]
    spark.stop()
    print(json.dumps({"runs": runs, "sums": told, "fits_s": fits}))


if __name__ == "__main__":
    main()
