"""Tells a person what jobs are doing: a live line a running step on a terminal, plain lines elsewhere."""

from collections.abc import Mapping
from threading import Lock

from rich.console import Console
from rich.progress import Progress as LiveProgress
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Progress:
    """What each running step does, in a line that `say` rewrites on a terminal and prints elsewhere.

    Steps may run at the same time, in threads of their own.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._live = LiveProgress(*columns, console=self.console, transient=True)
        self._running: dict[str, TaskID] = {}
        self._lock = Lock()

    def begin(self, step: str) -> None:
        """Announce a step."""
        if not self.console.is_terminal:
            self.print(f"{step} ...")
            return
        with self._lock:
            if not self._running:
                self._live.start()
            self._running[step] = self._live.add_task(step, total=None)

    def say(self, step: str, text: str) -> None:
        """Tell what a step is doing now."""
        if step in self._running:
            self._live.update(self._running[step], description=f"{step}: {text}")
        else:
            self.print(f"{step}: {text}")

    def tell(self, step: str, text: str) -> None:
        """Tell what a person must not miss: the line stays, also on a terminal."""
        self.print(f"{step}: {text}")

    def leave(self, step: str) -> None:
        """Take away the line of a step that ended, however it did."""
        with self._lock:
            task = self._running.pop(step, None)
            if task is None:
                return
            self._live.remove_task(task)
            if not self._running:
                self._live.stop()

    def end(self, step: str, seconds: float, rows: Mapping[str, int]) -> None:
        """Close a step with what it wrote and how long it took."""
        self.leave(step)
        written = ", ".join(f"{table} {count:,}" for table, count in rows.items() if not table.startswith("ops."))
        self.print(f"{step}: {seconds:.1f} s" + (f"; rows: {written}" if written else ""))

    def print(self, text: str) -> None:
        """Print lines that stay."""
        self.console.print(text, markup=False)
