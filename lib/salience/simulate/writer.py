"""Writes simulated logs as deliveries, and beside them the truth that was planted."""

from collections.abc import Callable
from datetime import date
from functools import reduce
from math import ceil
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.settings import Settings
from salience.simulate import contents, dirt, events, exposures, latents, people, raw
from salience.simulate.world import PLATFORMS, World
from salience.tables.storage import open_folder, opening

ROWS_PER_FILE = 1_000_000
MARKER = "_SIMULATED"
"""Empty file in a platform's folder, and in the truth's, that says what lies there may be replaced."""


def write_simulation(spark: SparkSession, settings: Settings, as_of: date, say: Callable[[str], None]) -> None:
    """Simulate the days that end on `as_of` and replace the two platforms' logs and the truth.

    Logs go to `<logs>/<platform>/<dataset>/dt=<day>/`, each folder completed by an empty `_SUCCESS`; the truth goes to
    `<simulate.truth>/{dirt (JSON lines), exposures, contents, users (Parquet)}`.

    Args:
        spark: the session; its time zone is UTC.
        settings: `logs`, `simulate`, and `clean` for the bounds that dirt oversteps.
        as_of: the last simulated day.
        say: tells a person what is being done.

    Raises:
        InputError: a platform's folder or the truth's holds files that were not simulated, or cannot be opened.
    """
    for name in PLATFORMS:
        _require_own(spark, "logs", f"{settings.logs}/{name}")
    _require_own(spark, "simulate.truth", settings.simulate.truth)
    size, worlds = settings.simulate, [World.ending_on(name, as_of, settings.simulate) for name in PLATFORMS]
    say(f"drawing about {size.events:,} events over {size.days} days: {size.users:,} people on each of two platforms")
    crowds = [people.people(spark, world) for world in worlds]
    catalogues = [contents.contents(spark, world) for world in worlds]
    drawn = [events.events(exposures.exposures(crowd, w), w) for crowd, w in zip(crowds, worlds, strict=True)]
    # Drawn once, read for the logs, the counts and the exposures: a folder asks no executor to keep them in memory.
    staging = f"{size.truth}/.events"
    _touch(spark, f"{size.truth}/{MARKER}")
    _union(drawn).write.mode("overwrite").partitionBy("platform").parquet(staging)
    happened = [_staged(spark, staging, frame, world) for frame, world in zip(drawn, worlds, strict=True)]
    delivered = [dirt.deliver(frame, w, settings.clean) for frame, w in zip(happened, worlds, strict=True)]
    for world, deliveries, catalogue, crowd in zip(worlds, delivered, catalogues, crowds, strict=True):
        say(f"writing the logs of {world.platform}")
        root = f"{settings.logs}/{world.platform}"
        _remove(spark, root)
        _touch(spark, f"{root}/{MARKER}")
        files = ceil(size.events / len(PLATFORMS) / size.days / ROWS_PER_FILE)
        _write_deliveries(raw.interactions(deliveries, world), f"{root}/interactions", files, size.partitions)
        _write_deliveries(raw.contents(catalogue, world), f"{root}/contents", 1, ceil(size.contents / ROWS_PER_FILE))
        _write_deliveries(raw.users(crowd, world), f"{root}/users", 1, ceil(size.users / ROWS_PER_FILE))
    say("writing the planted truth")
    counts = _union([dirt.truth(frame) for frame in delivered]).coalesce(1)
    counts.sort("platform", "delivery_date").write.mode("overwrite").json(f"{size.truth}/dirt")
    emitted = spark.read.json(f"{size.truth}/dirt").groupBy("platform").agg(F.sum("emitted")).sort("platform").collect()
    say(f"wrote interactions: {', '.join(f'{platform} {rows:,}' for platform, rows in emitted)}")
    _write_truth(happened, worlds, latents.exposures, f"{size.truth}/exposures", ceil(size.events / ROWS_PER_FILE))
    _write_truth(catalogues, worlds, latents.contents, f"{size.truth}/contents", ceil(size.contents / ROWS_PER_FILE))
    _write_truth(crowds, worlds, latents.users, f"{size.truth}/users", ceil(size.users / ROWS_PER_FILE))
    _remove(spark, staging)


def _write_truth(
    frames: list[DataFrame],
    worlds: list[World],
    describe: Callable[[DataFrame, World], DataFrame],
    folder: str,
    files: int,
) -> None:
    planted = _union([describe(frame, world) for frame, world in zip(frames, worlds, strict=True)])
    planted.coalesce(files).write.mode("overwrite").parquet(folder)


def _staged(spark: SparkSession, folder: str, drawn: DataFrame, world: World) -> DataFrame:
    """Return one platform's staged events with the columns that were drawn."""
    stored = spark.read.schema(drawn.schema).parquet(f"{folder}/platform={world.platform}")
    return stored.withColumn("platform", F.lit(world.platform)).select(drawn.columns)


def _write_deliveries(log: DataFrame, folder: str, files_per_day: int, partitions: int) -> None:
    """Write a raw log below `folder`, a folder per `dt`, and mark each as complete."""
    share = F.pmod(F.xxhash64(*[name for name in log.columns if name != "dt"]), F.lit(files_per_day))
    together = log.withColumn("share", share).repartition(partitions, "dt", "share").drop("share")
    writer = together.write.mode("overwrite").partitionBy("dt")
    # Completeness is marked per delivery, not for the dataset as a whole.
    writer.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false").parquet(folder)
    spark = log.sparkSession
    files, path = open_folder(spark, folder)
    for status in files.listStatus(path):
        if status.isDirectory() and status.getPath().getName().startswith("dt="):
            _touch(spark, f"{status.getPath()}/_SUCCESS")


def _require_own(spark: SparkSession, setting: str, folder: str) -> None:
    with opening(setting, folder):
        files, path = open_folder(spark, folder)
        is_used = files.exists(path) and len(files.listStatus(path)) > 0
    if is_used and not files.exists(_path(spark, f"{folder}/{MARKER}")):
        what = "holds files that were not simulated and would be replaced"
        raise InputError(f"{folder} {what}; set `{setting}` to a folder for simulations")


def _touch(spark: SparkSession, file: str) -> None:
    files, path = open_folder(spark, file)
    files.create(path, True).close()


def _remove(spark: SparkSession, folder: str) -> None:
    files, path = open_folder(spark, folder)
    files.delete(path, True)


def _path(spark: SparkSession, text: str) -> Any:
    return spark._jvm.org.apache.hadoop.fs.Path(text)  # type: ignore[union-attr]


def _union(frames: list[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)
