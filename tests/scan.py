"""Searches everything below a folder for texts that must not be there: files as they lie, and values of Parquet."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq


def found(folder: Path, texts: Iterable[str], *, beside: Iterable[str] = ()) -> set[str]:
    """Return the files that hold one of the texts, as paths below the folder.

    Args:
        folder: what is searched; every file counts, hidden ones too.
        texts: what is looked for.
        beside: parts of paths that are left out.
    """
    wanted = [text.encode() for text in texts]
    hits = set()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        if any(part in name for part in beside):
            continue
        whole = file.read_bytes()
        if file.suffix == ".parquet":
            # Pages are compressed; partition columns, which are no part of the file, stand in its name.
            whole += name.encode() + repr(pq.ParquetFile(file).read().to_pylist()).encode()
        if any(text in whole for text in wanted):
            hits.add(name)
    return hits


def by_place(names: Iterable[str]) -> set[str]:
    """Return the tables, or `models`, that files lie in."""
    return {name.split("/")[0] if name.startswith("models/") else ".".join(name.split("/")[:2]) for name in names}
