"""Other engines on the same machine doing the floor's work, each in a process of its own that can be ended."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from time import monotonic

import duckdb
import polars as pl

# Each platform's files (a glob of days) and its id column, and the folder to write into.
Sources = Mapping[str, tuple[str, str]]
Work = Callable[[Sources, Path], None]


@dataclass(frozen=True)
class Answer:
    """How long a peer needed; `seconds` is None for one that did not end, and `told` says why."""

    seconds: float | None
    told: str


def with_duckdb(sources: Sources, target: Path) -> None:
    """Write Parquet by day, without a Delta log."""
    target.mkdir()
    for platform, (files, key) in sources.items():
        rows = f"SELECT DISTINCT ON ({key}) * FROM read_parquet('{files}', hive_partitioning = true)"
        duckdb.sql(f"COPY ({rows}) TO '{target}/{platform}' (FORMAT parquet, PARTITION_BY (dt))")


def with_polars(sources: Sources, target: Path) -> None:
    """Write Delta by day, streamed: that takes less memory than a whole table does."""
    for platform, (files, key) in sources.items():
        rows = pl.scan_parquet(files, hive_partitioning=True).unique(subset=[key])
        rows.sink_delta(f"{target}/{platform}", delta_write_options={"partition_by": ["dt"]})


def ask(work: Work, sources: Sources, target: Path, patience: float) -> Answer:
    """Return how long the work took in a process of its own, which is ended after `patience` seconds."""
    shutil.rmtree(target, ignore_errors=True)
    context = get_context("spawn")
    answer, answering = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(work, sources, target, answering))
    process.start()
    answering.close()  # so that a process that dies is heard of
    try:
        if not answer.poll(patience):
            return Answer(None, f"stopped after {patience:.0f} s")
        return Answer(answer.recv(), "ended")
    except EOFError:
        process.join()
        return Answer(None, f"died with exit code {process.exitcode}")
    finally:
        process.kill()
        process.join()


def _answer(work: Work, sources: Sources, target: Path, answering: Connection) -> None:
    Thread(target=_end_with_the_bench, daemon=True).start()
    begun = monotonic()
    work(sources, target)
    answering.send(monotonic() - begun)


def _end_with_the_bench() -> None:
    """End this process with the bench, which cannot do that itself when it is killed."""
    if (bench := parent_process()) is not None:
        bench.join()
        os._exit(1)
