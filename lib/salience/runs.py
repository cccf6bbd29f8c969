"""A run of a job: what it tells while it goes on, and its rows in ops.runs, also where it fails or is killed."""

import argparse
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Lock, Thread, current_thread, main_thread
from time import monotonic
from types import FrameType
from typing import Any, Self

from pyspark.sql import SparkSession

import salience
from salience.errors import one_line
from salience.progress import Progress, Step
from salience.settings import Settings
from salience.tables import counted, ops, releases
from salience.tables.contract import Table
from salience.tables.outages import outages_told
from salience.tables.staged import Commit
from salience.tables.warehouse import Warehouse

_RUN_ID = "mdc.run_id"
"""Spark's local property that its executors' log lines carry."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_GRACE_S = 20
"""Seconds that a killed process takes to record its runs at most; clusters grant 30 before they kill for good."""


@dataclass(frozen=True)
class Interval:
    """Days from `first` to `last`, both included, UTC."""

    first: date
    last: date

    @property
    def days(self) -> list[date]:
        """Every day of the interval in order."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]


@dataclass(eq=False)
class Run:
    """One run of one job. Its row in ops.runs says that it started, and a second one how it ended."""

    name: str
    arguments: argparse.Namespace
    conf_dir: Path
    settings: Settings
    spark: SparkSession
    progress: Progress
    release_asked: str | None = None
    publishes: bool = False
    starts: bool = True
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, Commit] = field(default_factory=dict)
    saved_models: dict[str, releases.SavedModel] = field(default_factory=dict)
    key_ids: dict[str, str] = field(default_factory=dict)
    _release: str | None = None
    _has_ended: bool = False
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """Open the warehouse under this run's id."""
        self.warehouse = Warehouse(self.spark, self.settings.warehouse, self.run_id)
        self.started_at = datetime.now(UTC)

    @property
    def interval(self) -> Interval | None:
        """The interval that the caller named; None for a job that takes none."""
        first = getattr(self.arguments, "from_day", None)
        return Interval(first, self.arguments.to_day) if first else None

    @property
    def days(self) -> list[date]:
        """The days of the interval that the caller named."""
        assert self.interval is not None, "this job declares no interval"
        return self.interval.days

    @property
    def as_of(self) -> date:
        """The last day of the interval: snapshots know this day and nothing later."""
        return self.days[-1]

    @property
    def teller(self) -> Step:
        """Who tells what this run tells."""
        return Step(self.name, self.run_id)

    def say(self, text: str) -> None:
        """Tell what the job is doing now."""
        self.progress.say(self.teller, text)

    def tell(self, text: str) -> None:
        """Tell what a person must not miss: a warning, an id, a result."""
        self.progress.tell(self.teller, text)

    def note(self, table: Table, commit: Commit) -> None:
        """Note a commit for this run's row in ops.runs."""
        with self._lock:
            before = self.outputs.get(str(table), Commit(0, 0))
            self.outputs[str(table)] = Commit(max(commit.version, before.version), commit.rows + before.rows)
        counted.add(self.spark, rows_written=commit.rows)

    @contextmanager
    def recorded(self) -> Iterator[Self]:
        """Run the block as this run, and record how it ended."""
        begun = monotonic()
        self.progress.begin(self.teller)
        try:
            with self._in_logs(), _going_on(self):
                if self.starts:
                    with outages_told():
                        self._record("started")
                try:
                    with outages_told():
                        self._take_release()
                        yield self
                except Exception as error:
                    if self.end():
                        self.record_end("failed", error)
                    raise
                if self.end():
                    self._record("succeeded")
        finally:
            self.progress.leave(self.teller)
        self.progress.end(self.teller, monotonic() - begun, {name: c.rows for name, c in self.outputs.items()})

    def end(self) -> bool:
        """Return whether this is the run's end: it has one, whoever records it."""
        with self._lock:
            is_first, self._has_ended = not self._has_ended, True
        return is_first

    def record_end(self, status: str, error: BaseException) -> None:
        """Record that the run ended without success; where even that fails, tell it."""
        try:
            with outages_told():
                self._record(status, one_line(error))
        except Exception as second:
            self.tell(f"could not record the {status} run: {one_line(second)}")

    def _take_release(self) -> None:
        """Refuse a release that cannot be written to now, rather than once there is something to write to it."""
        if self.release_asked is None:
            return
        if not (self.publishes and releases.is_published(self.warehouse, self.release_asked)):
            releases.require_open(self.warehouse, self.release_asked, self.as_of if self.interval else None)
        self._release = self.release_asked

    @contextmanager
    def _in_logs(self) -> Iterator[None]:
        """Let the lines that tasks log in the block carry the run's id."""
        context = self.spark.sparkContext
        before: Any = context.getLocalProperty(_RUN_ID)
        context.setLocalProperty(_RUN_ID, self.run_id)
        try:
            yield
        finally:
            context.setLocalProperty(_RUN_ID, before)

    def _record(self, status: str, error: str | None = None) -> None:
        """Append a row of this run to ops.runs, and count it."""
        interval = self.interval
        row = {
            "run_id": self.run_id,
            "job": self.name,
            "application_id": self.spark.sparkContext.applicationId,
            "interval_from": interval.first if interval else None,
            "interval_to": interval.last if interval else None,
            "release_id": self._release or self.release_asked,
            "code_version": salience.code_version(),
            "settings_hash": self.settings.hash(),
            "key_ids": dict(self.key_ids),
            "inputs": dict(self.inputs),
            "outputs": {name: commit.version for name, commit in self.outputs.items()},
            "models": {name: {"path": m.path, "hash": m.hash} for name, m in self.saved_models.items()},
            "rows_out": {name: commit.rows for name, commit in self.outputs.items()},
            "status": status,
            "error": error,
            "started_at": self.started_at,
            "ended_at": None if status == "started" else datetime.now(UTC),
        }
        self.warehouse.append_rows(ops.RUNS, [row])
        counted.add(self.spark, **{f"runs_{status}": 1})


_now: list[Run] = []
"""The runs that go on in this process, a job's steps after it."""


@contextmanager
def _going_on(run: Run) -> Iterator[None]:
    _now.append(run)
    try:
        yield
    finally:
        _now.remove(run)


def _record_killed(name: str) -> None:
    """Record the runs that go on as killed, after all their Spark jobs were cancelled, which would be in the way."""
    ended = [run for run in _now if run.end()]
    for run in ended[:1]:
        run.spark.sparkContext.cancelAllJobs()
    for run in ended:
        run.record_end("killed", InterruptedError(name))


@contextmanager
def recorded_when_killed(step: Step, progress: Progress) -> Iterator[None]:
    """Record the runs of the block as killed where SIGTERM, or Ctrl-C, ends the process, with exit code 128 + signal.

    The process ends at once: what was interrupted is in the middle of a call to Java, and whatever cleans up after it
    would wait for the answer. Nothing that a run has written counts before its last commit.
    """

    def end(number: int, _: FrameType | None) -> None:
        try:
            for heard in _SIGNALS:
                signal.signal(heard, signal.SIG_IGN)
            name = signal.Signals(number).name
            # A thread of its own has a line to Java of its own.
            recording = Thread(target=_record_killed, args=(name,), daemon=True)
            recording.start()
            recording.join(_GRACE_S)
            progress.close()
            progress.fail(step, f"ended by {name}")
        finally:
            os._exit(128 + number)

    if current_thread() is not main_thread():
        # Only the main thread hears signals.
        yield
        return
    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
