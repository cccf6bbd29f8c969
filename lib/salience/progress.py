"""Tells what jobs are doing: a live line a running step on a terminal, plain lines elsewhere, or JSON for machines."""

import logging
import sys
import time
import traceback
from collections.abc import Mapping
from threading import Lock
from typing import NamedTuple

from pyspark.logger.logger import JSONFormatter
from rich.console import Console
from rich.progress import Progress as LiveProgress
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from salience.errors import without_values


class Step(NamedTuple):
    """Who tells: a job's name and the id of its run, empty before there is one."""

    job: str
    run_id: str = ""


class Progress:
    """What each running step does, in a line that `say` rewrites on a terminal and prints elsewhere.

    Steps may run at the same time, in threads of their own.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._live = LiveProgress(*columns, console=self.console, transient=True)
        self._running: dict[Step, TaskID] = {}
        self._lock = Lock()

    def begin(self, step: Step) -> None:
        """Announce a step."""
        if not self.console.is_terminal:
            self.print(f"{step.job} ...")
            return
        with self._lock:
            if not self._running:
                self._live.start()
            self._running[step] = self._live.add_task(step.job, total=None)

    def say(self, step: Step, text: str) -> None:
        """Tell what a step is doing now."""
        if step in self._running:
            self._live.update(self._running[step], description=f"{step.job}: {text}")
        else:
            self.print(f"{step.job}: {text}")

    def tell(self, step: Step, text: str) -> None:
        """Tell what a person must not miss: the line stays, also on a terminal."""
        self.print(f"{step.job}: {text}")

    def leave(self, step: Step) -> None:
        """Take away the line of a step that ended, however it did."""
        with self._lock:
            task = self._running.pop(step, None)
            if task is None:
                return
            self._live.remove_task(task)
            if not self._running:
                self._live.stop()

    def end(self, step: Step, seconds: float, rows: Mapping[str, int]) -> None:
        """Close a step with what it wrote and how long it took."""
        self.leave(step)
        written = ", ".join(f"{table} {count:,}" for table, count in rows.items() if not table.startswith("ops."))
        self.print(f"{step.job}: {seconds:.1f} s" + (f"; rows: {written}" if written else ""))

    def fail(self, step: Step, text: str, unexpected: BaseException | None = None) -> None:
        """Tell, on stderr, why a job ends without success; of an unexpected error, its traceback, too."""
        if unexpected:
            print(without_values("".join(traceback.format_exception(unexpected))), end="", file=sys.stderr)
        print(f"{step.job}: {text}", file=sys.stderr)

    def close(self) -> None:
        """Leave the console as it was, ahead of an end without any clearing up."""
        self._live.stop()
        sys.stdout.flush()

    def print(self, text: str) -> None:
        """Print lines that stay."""
        self.console.print(text, markup=False)


class JsonProgress(Progress):
    """The same for machines: a JSON object a line on stderr, beside Spark's own and of the same form.

    What a job answers (`print`) stays on stdout, as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._handler = logging.StreamHandler()
        self._handler.setFormatter(_Utc())

    def begin(self, step: Step) -> None:
        """Announce a step."""
        self._log(logging.INFO, step, "begun")

    def say(self, step: Step, text: str) -> None:
        """Tell what a step is doing now."""
        self._log(logging.INFO, step, text)

    def tell(self, step: Step, text: str) -> None:
        """Tell what a person must not miss."""
        self._log(logging.INFO, step, text)

    def end(self, step: Step, seconds: float, rows: Mapping[str, int]) -> None:
        """Close a step with what it wrote and how long it took."""
        written = {f"rows {table}": str(count) for table, count in rows.items()}
        self._log(logging.INFO, step, "succeeded", None, seconds=f"{seconds:.1f}", **written)

    def fail(self, step: Step, text: str, unexpected: BaseException | None = None) -> None:
        """Tell why a job ends without success; of an unexpected error, its traceback, too."""
        self._log(logging.ERROR, step, text, unexpected)

    def _log(self, level: int, step: Step, text: str, error: BaseException | None = None, /, **more: str) -> None:
        raised = (type(error), error, error.__traceback__) if error else None
        record = logging.LogRecord(f"salience.{step.job}", level, "", 0, text, None, raised)
        record.context = {"job": step.job, "run_id": step.run_id, **more}
        self._handler.handle(record)


class _Utc(JSONFormatter):
    """Spark's own form, with times in UTC, as Spark's Java side writes them."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return without_values(super().format(record))
