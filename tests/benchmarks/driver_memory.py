"""Lists the best of everyone with executors apart from the driver, and prints what the driver held at most."""

import argparse
import gc
import json
import resource
from pathlib import Path
from threading import Event, Thread

from pyspark.sql import SparkSession

from benchmarks.crowd import Crowd
from benchmarks.lists import by_product
from salience.session import build_session

EVERY_S = 0.5


def most_live_mb(spark: SparkSession, ended: Event, most: list[float]) -> None:
    """Collect garbage again and again: what is left lives, and nothing else is counted."""
    heap = spark._jvm.java.lang.management.ManagementFactory.getMemoryMXBean()
    while not ended.wait(EVERY_S):
        heap.gc()
        most[0] = max(most[0], heap.getHeapMemoryUsage().getUsed() / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("conf", type=Path)
    parser.add_argument("crowd", type=Path)
    parser.add_argument("factors", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--below", help="only people whose id is smaller")
    asked = parser.parse_args()
    spark = build_session("driver-memory", asked.conf, "local")
    gc.collect()
    ended, most = Event(), [0.0]
    watching = Thread(target=most_live_mb, args=(spark, ended, most))
    watching.start()
    by_product(spark, Crowd(asked.crowd), asked.factors, asked.target, asked.below)
    ended.set()
    watching.join()
    python = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"java_mb": most[0], "python_mb": python}))
    spark.stop()


if __name__ == "__main__":
    main()
