"""Small raw logs for tests, written by pyarrow as a platform would deliver them."""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from time import time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql.pandas.types import to_arrow_schema

from salience.sources.fit import raw_schema
from salience.sources.mapping import Dataset, SourceMapping

FEED_EVENT = {
    "log_id": "e1",
    "uid": "u-ann",
    "post_id": "p1",
    "author_uid": "u-zoe",
    "act": "like",
    "ts": "2026-11-02T10:00:00+08:00",
    "device": "phone",
    "slot": 1,
    "req": "r1",
}


def feed_event(**changes: Any) -> dict[str, Any]:
    """Return a raw row of the feed's interaction log."""
    return FEED_EVENT | changes


_TYPES = {name: pa.int32() if name == "slot" else pa.string() for name in FEED_EVENT}


def deliver(logs: Path, day: str, rows: Sequence[dict[str, Any]], *, complete: bool = True, **where: str) -> Path:
    """Write one delivery (by default of feed/interactions), replacing what was there, and return its folder."""
    folder = logs / where.get("platform", "feed") / where.get("dataset", "interactions") / f"dt={day}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    if rows:
        columns = {name: pa.array([row.get(name) for row in rows], _TYPES.get(name)) for name in rows[0]}
        pq.write_table(pa.table(columns), folder / "part-0.parquet")
    if complete:
        (folder / "_SUCCESS").touch()
    return folder


def deliver_as_mapped(
    logs: Path, mapping: SourceMapping, dataset: Dataset, day: str, rows: Sequence[dict[str, Any]], hour: str = ""
) -> Path:
    """Write rows with the types that the mapping declares into its folder of the day, complete; return the folder.

    Where deliveries settle, the file is a day old.
    """
    folder = logs / mapping.platform / dataset / mapping.partition.folder(date.fromisoformat(day))
    (folder / hour).mkdir(parents=True, exist_ok=True)
    file = folder / hour / "part-0.parquet"
    schema = to_arrow_schema(raw_schema(mapping.datasets[dataset]), timezone="UTC")
    unknown = {name for row in rows for name in row} - set(schema.names)
    assert not unknown, f"{dataset} has no {unknown}"
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), file)
    if mapping.complete.marker:
        (folder / mapping.complete.marker).touch()
    else:
        os.utime(file, (time() - 86_400,) * 2)
    return folder
