"""Times the whole cleaning job against the bare engine doing the least comparable work, in one session.

The floor reads the same Parquet files, drops duplicates of the id and writes Delta partitioned by the delivery's day;
the job types and judges every row, pseudonymises, and writes bronze and silver with all that belongs to them. Both do
the two platforms side by side. DuckDB and Polars do the floor's work in processes of their own.
"""

import argparse
import hmac
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import monotonic

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks.figures import FOLDER, Figures
from benchmarks.peers import ask, with_duckdb, with_polars
from clean_interactions import main as clean_interactions
from salience.interactions.keys import find_key
from salience.interactions.pseudonyms import with_pseudonyms
from salience.interactions.readings import EVENT_DAYS
from salience.job import Job
from salience.progress import Progress
from salience.session import build_session
from salience.settings import load_settings
from salience.simulate.writer import write_simulation
from salience.tables import silver
from salience.threads import side_by_side

PROJECT = Path(__file__).parent.parent.parent
CONF, DATA = PROJECT / "conf", FOLDER / "clean"
AS_OF, DAYS = date(2026, 11, 14), 14
IDS = {"feed": "log_id", "video": "id"}
PEOPLE, CONTENTS = 100_000, 20_000


def overrides(events: int, warehouse: Path) -> list[str]:
    logs = DATA / f"logs-{events}"
    size = {"events": events, "users": PEOPLE, "contents": CONTENTS, "days": DAYS, "partitions": 8}
    return [
        f"logs={logs}/logs",
        f"simulate.truth={logs}/truth",
        f"warehouse={warehouse}",
        *(f"simulate.{name}={value}" for name, value in size.items()),
    ]


def simulate(spark: SparkSession, events: int) -> None:
    """Simulate the logs of that many events, once."""
    logs = DATA / f"logs-{events}"
    if not (logs / "done").exists():
        settings = load_settings(CONF, "local", {}, overrides(events, DATA / "none"))
        write_simulation(spark, settings, AS_OF, print)
        (logs / "done").touch()


def timed(work: Callable[[], object], *folders: Path) -> float:
    """Return the seconds that work takes that begins without these folders."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    begun = monotonic()
    work()
    return monotonic() - begun


def logs_of(events: int, platform: str) -> str:
    return f"{DATA}/logs-{events}/logs/{platform}/interactions"


def floor(spark: SparkSession, events: int) -> float:
    def of(platform: str) -> None:
        rows = spark.read.parquet(logs_of(events, platform)).dropDuplicates([IDS[platform]])
        rows.write.format("delta").partitionBy("dt").save(f"{DATA}/floor/{platform}")

    return timed(lambda: side_by_side(*(partial(of, platform) for platform in IDS)), DATA / "floor")


def clean(spark: SparkSession, events: int, warehouse: Path, first: date, last: date) -> Job:
    """Run the job on an interval, as `run_job` would."""
    settings = load_settings(CONF, "local", {}, overrides(events, warehouse))
    arguments = Namespace(env="local", from_day=first, to_day=last, date=None, release=None)
    job = Job("clean_interactions", arguments, CONF, settings, spark, Progress())
    with job.recorded():
        clean_interactions(job)
    return job


def whole(spark: SparkSession, events: int, last: date = AS_OF) -> float:
    first = AS_OF - timedelta(days=DAYS - 1)
    return timed(lambda: clean(spark, events, DATA / "warehouse", first, last), DATA / "warehouse")


def growth(sizes: list[int], seconds: list[float]) -> float:
    """Return the marginal cost of an event between the two larger sizes over that between the two smaller ones."""
    small, large = ((seconds[n + 1] - seconds[n]) / (sizes[n + 1] - sizes[n]) for n in (0, 1))
    return large / small


def incremental_share(spark: SparkSession, events: int, full: float) -> tuple[float, float, int]:
    """Return the figure, the seconds that the last day took after all others, and the event days that it touched."""
    whole(spark, events, AS_OF - timedelta(days=1))
    begun = monotonic()
    job = clean(spark, events, DATA / "warehouse", AS_OF, AS_OF)
    seconds = monotonic() - begun
    notes = job.warehouse.notes(silver.INTERACTIONS, len(IDS))
    touched = len({day for _, note, _ in notes for day in note[EVENT_DAYS]})
    return (seconds / full) / (touched / DAYS), seconds, touched


def peak_of_a_process(events: int) -> tuple[float, float]:
    """Return the peak resident memory of the driver's Java in MB, and the seconds, of the job as a process."""
    shutil.rmtree(DATA / "warehouse", ignore_errors=True)
    settings = [part for override in overrides(events, DATA / "warehouse") for part in ("--set", override)]
    days = ["--from", str(AS_OF - timedelta(days=DAYS - 1)), "--to", str(AS_OF)]
    begun = monotonic()
    job = subprocess.Popen(
        [sys.executable, "jobs/clean_interactions.py", "--env", "local", *days, *settings], cwd=PROJECT
    )
    ended, peak = Event(), [0.0]

    def watch() -> None:
        while not ended.wait(0.5):
            peak[0] = max(peak[0], _java_peak_mb(job.pid))

    watching = Thread(target=watch)
    watching.start()
    code = job.wait()
    ended.set()
    watching.join()
    assert code == 0, f"the job ended with {code}"
    return peak[0], monotonic() - begun


def _java_peak_mb(pid: int) -> float:
    """Return the most that a process's Java child ever held, in MB; 0 while there is none."""
    peaks = [0.0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            told = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if told["Name"].strip() == "java" and int(told["PPid"]) == pid and "VmHWM" in told:
            peaks.append(int(told["VmHWM"].split()[0]) / 1024)
    return max(peaks)


def pseudonyms(spark: SparkSession, events: int) -> tuple[float, float]:
    """Return the seconds that hashing both ids of every row of the feed adds to reading them, by two ways.

    The first is the project's, in Spark's own functions; the second hashes each batch's distinct ids in Python.
    """
    raw = spark.read.parquet(logs_of(events, "feed")).select("uid", "author_uid")
    key = find_key("feed", "local", {})
    native = with_pseudonyms(spark, raw, key, {"uid": "user_id", "author_uid": "creator_id"})

    @F.pandas_udf("string")
    def by_batch(ids: pd.Series) -> pd.Series:
        codes, distinct = pd.factorize(ids)
        hashed = [hmac.digest(key.secret, value.encode(), "sha256").hex() for value in distinct]
        return pd.Series([*hashed, None], dtype=object).take(codes).reset_index(drop=True)

    batches = raw.select(by_batch("uid"), by_batch("author_uid"))
    plain, natively, by_batches = (
        min(timed(lambda f=frame: f.write.format("noop").mode("overwrite").save()) for _ in range(3))
        for frame in (raw, native, batches)
    )
    return natively - plain, by_batches - plain


def shuffled_mb(spark: SparkSession, before: set[int]) -> tuple[float, float, set[int]]:
    """Return what later stages than `before` wrote for shuffles and spilled to disk, in MB, and all stages' ids."""
    jvm = spark.sparkContext._jvm
    store = spark.sparkContext._jsc.sc().statusStore()
    none = jvm.java.util.ArrayList()
    quantiles = spark.sparkContext._gateway.new_array(jvm.double, 0)
    stages = jvm.scala.jdk.javaapi.CollectionConverters.asJava(store.stageList(None, False, False, quantiles, none))
    new = [stage for stage in stages if stage.stageId() not in before]
    written, spilled = (sum(read(stage) for stage in new) / 1e6 for read in (_shuffle_bytes, _spilled_bytes))
    return written, spilled, before | {stage.stageId() for stage in new}


def _shuffle_bytes(stage: object) -> int:
    return int(stage.shuffleWriteBytes())  # type: ignore[attr-defined]


def _spilled_bytes(stage: object) -> int:
    return int(stage.diskBytesSpilled())  # type: ignore[attr-defined]


def end(spark: SparkSession) -> None:
    """Stop Spark and its Java, whose memory the next processes need."""
    java = spark.sparkContext._gateway.proc
    spark.stop()
    java.stdin.close()
    java.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    asked = parser.parse_args()
    millions = f"{asked.events / 1e6:g} million events"
    sizes = [asked.events // 10, asked.events // 2, asked.events]
    found = Figures("clean")
    spark = build_session("bench-clean", CONF, "local")
    for size in sizes:
        simulate(spark, size)
    floor(spark, sizes[0]), whole(spark, sizes[0])  # what is compiled once is not measured
    floors, wholes, seen = [], [], shuffled_mb(spark, set())[2]
    for _ in range(asked.pairs):
        # Side by side in time: a Java that has run for longer has compiled more.
        smaller = [whole(spark, size) for size in sizes[:-1]]
        seen = shuffled_mb(spark, seen)[2]
        floors.append(floor(spark, asked.events))
        of_floor, _, seen = shuffled_mb(spark, seen)
        wholes.append([*smaller, whole(spark, asked.events)])
        of_clean, spilled, seen = shuffled_mb(spark, seen)
    medians = [median(of_size) for of_size in zip(*wholes, strict=True)]
    full = medians[-1]
    ratio = median(round_[-1] / bare for round_, bare in zip(wholes, floors, strict=True))
    found.add("clean_over_floor", ratio, "ratio", f"the bare engine, {asked.pairs} pairs, {millions}", "<= 1.8")
    for size, seconds in zip(sizes, medians, strict=True):
        found.add(f"clean_{size / 1e6:g}m_s", seconds, "s", "median")
    found.add("floor_s", median(floors), "s", "median")
    found.add("clean_shuffle_mb", of_clean, "MB", f"the floor shuffles {of_floor:.0f} MB")
    found.add("clean_spill_mb", spilled, "MB", "written to disk for want of memory")
    natively, by_batches = pseudonyms(spark, asked.events)
    found.add("pseudonyms_s", natively, "s", "added to reading both ids of the feed")
    found.add("pseudonyms_by_batch_s", by_batches, "s", "in Python, each batch's distinct ids once")
    found.add(
        "clean_cost_growth",
        growth(sizes, medians),
        "ratio",
        "marginal cost of an event, larger over smaller",
        "<= 1.15",
    )
    share, incremental, touched = incremental_share(spark, asked.events, full)
    found.add("clean_incremental_share", share, "ratio", f"{touched} of {DAYS} days in {incremental:.1f} s")
    end(spark)
    peak, cold = peak_of_a_process(asked.events)
    found.add("clean_peak_driver_mb", peak, "MB", "resident, a process of its own with a heap of 4 GB")
    found.add("clean_cold_s", cold, "s", "the same in a process of its own, from its start")
    sources = {platform: (f"{logs_of(asked.events, platform)}/*/*.parquet", key) for platform, key in IDS.items()}
    peers = {"duckdb": (with_duckdb, "as Parquet without a Delta log"), "polars": (with_polars, "streamed, as Delta")}
    for name, (work, how) in peers.items():
        # One that needs longer for the floor's work than the job for all of its own has lost.
        answers = [ask(work, sources, DATA / name, patience=full) for _ in range(asked.pairs)]
        all_told = ", ".join(dict.fromkeys(answer.told for answer in answers))
        seconds = [answer.seconds for answer in answers if answer.seconds is not None]
        middle = median(seconds) if len(seconds) == asked.pairs else None
        found.add(f"{name}_floor_s", middle, "s", f"the floor's work, {how}; {all_told}")
    found.report()


if __name__ == "__main__":
    main()
