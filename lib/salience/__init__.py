"""Salience: batch attention analytics for social-media marketing on Apache Spark."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

__version__ = "0.1.0"


@cache
def code_version() -> str:
    """Return the version and, behind a `+`, 12 hex digits that differ between any two states of this package."""
    return f"{__version__}+{hashlib.sha256(chr(10).join(_hashes(files(__name__))).encode()).hexdigest()[:12]}"


def _hashes(folder: Traversable, place: str = "") -> Iterator[str]:
    """Yield path and SHA-256 of each module below a folder, which may lie in a wheel."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _hashes(entry, f"{place}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield f"{place}{entry.name} {hashlib.sha256(entry.read_bytes()).hexdigest()}"
