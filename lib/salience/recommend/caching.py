"""Holding a frame that is read several times."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import StorageLevel
from pyspark.sql import DataFrame


@contextmanager
def kept(frame: DataFrame) -> Iterator[DataFrame]:
    """Hold a frame, in memory or on disk, for as long as the block lasts; one that is held already stays held after."""
    if frame.is_cached:
        yield frame
        return
    held = frame.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield held
    finally:
        held.unpersist()
