"""Salience: batch attention analytics for social-media marketing on Apache Spark."""

import hashlib
from functools import cache
from pathlib import Path

__version__ = "0.1.0"


@cache
def code_version() -> str:
    """Return the version and, behind a `+`, 12 hex digits that differ between any two states of this package."""
    folder = Path(__file__).parent
    files = sorted(file.relative_to(folder) for file in folder.rglob("*.py"))
    each = (f"{file.as_posix()} {hashlib.sha256((folder / file).read_bytes()).hexdigest()}" for file in files)
    return f"{__version__}+{hashlib.sha256(chr(10).join(each).encode()).hexdigest()[:12]}"
