"""Tells a person what a job is doing: a live line on a terminal, plain lines elsewhere."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import Progress as LiveProgress
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn


class Progress:
    """One line of progress that `say` rewrites on a terminal and prints elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._step = ""
        self._live: LiveProgress | None = None

    def begin(self, step: str) -> None:
        """Announce a step."""
        self._close()
        self._step = step
        if self.console.is_terminal:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._live = LiveProgress(*columns, console=self.console, transient=True)
            self._live.add_task(step, total=None)
            self._live.start()
        else:
            self.console.print(f"{step} ...")

    def say(self, text: str) -> None:
        """Tell what the step is doing now."""
        if self._live is not None:
            self._live.update(self._live.task_ids[0], description=f"{self._step}: {text}")
        else:
            self.print(f"  {text}" if self._step else text)

    def end(self, step: str, seconds: float, rows: Mapping[str, int]) -> None:
        """Close a step with what it wrote and how long it took."""
        self._close()
        written = ", ".join(f"{table} {count:,}" for table, count in rows.items() if not table.startswith("ops."))
        self.print(f"{step}: {seconds:.1f} s" + (f"; rows: {written}" if written else ""))

    def print(self, text: str) -> None:
        """Print lines that stay."""
        self.console.print(text, markup=False)

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
