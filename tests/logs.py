"""Small raw logs for tests, written by pyarrow as a platform would deliver them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
        types = {name: _TYPES.get(name) for name in rows[0]}
        schema = None if None in types.values() else pa.schema(list(types.items()))
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), folder / "part-0.parquet")
    if complete:
        (folder / "_SUCCESS").touch()
    return folder
