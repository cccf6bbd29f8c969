"""What every bench ends with: a table for a person, and build/bench/<name>.json for a program."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent.parent.parent / "build" / "bench"


@dataclass(frozen=True)
class Figure:
    """One measured figure; `value` is None where none came out, `goal` for one that is only reported."""

    figure: str
    value: float | None
    unit: str
    goal: str | None
    against: str

    @property
    def shown(self) -> str:
        """Return the value with three digits."""
        if self.value is None:
            return "none"
        return f"{self.value:,.3g}" if self.value < 1000 else f"{self.value:,.0f}"


@dataclass
class Figures:
    """The figures of one bench. Each is told as soon as it is there: a bench may take hours, and fail."""

    name: str
    found: list[Figure] = field(default_factory=list)

    def add(self, figure: str, value: float | None, unit: str, against: str, goal: str | None = None) -> None:
        """Take a figure in, tell it, and write all that there are to build/bench/<name>.json."""
        self.found.append(Figure(figure, value, unit, goal, against))
        print(f"{figure}: {self.found[-1].shown} {unit} ({against})", flush=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        written = json.dumps([asdict(one) for one in self.found], indent=2)
        (FOLDER / f"{self.name}.json").write_text(f"{written}\n", encoding="utf-8")

    def report(self) -> None:
        """Print all figures as a table."""
        table = Table("figure", "value", "unit", "goal", "against")
        for one in self.found:
            table.add_row(one.figure, one.shown, one.unit, one.goal or "", one.against)
        Console(soft_wrap=True).print(table)
