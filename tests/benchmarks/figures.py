"""What every bench ends with: a table for a person, and build/bench/<name>.json for a program."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent.parent.parent / "build" / "bench"


@dataclass(frozen=True)
class Figure:
    """One measured figure; `goal` is None for one that is only reported."""

    figure: str
    value: float
    unit: str
    goal: str | None
    against: str


def report(name: str, figures: list[Figure]) -> None:
    """Print the figures and write them to build/bench/<name>.json."""
    table = Table("figure", "value", "unit", "goal", "against")
    for one in figures:
        table.add_row(
            one.figure,
            f"{one.value:,.3g}" if one.value < 1000 else f"{one.value:,.0f}",
            one.unit,
            one.goal or "",
            one.against,
        )
    Console(soft_wrap=True).print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{name}.json"
    file.write_text(json.dumps([asdict(one) for one in figures], indent=2) + "\n", encoding="utf-8")
    print(f"written to {file}")
