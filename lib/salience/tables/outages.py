"""Tells storage that is full, or that does not answer, from all other failures: one line says where and what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from py4j.java_gateway import is_instance_of
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.errors.exceptions.captured import CapturedException

from salience.errors import StorageError

_AGAIN = "nothing half-written counts: run the same again then"
_NO_SPACE = "No space left on device"
_HADOOP = "org.apache.hadoop."
_OUTAGES = (
    (
        *(f"{_HADOOP}fs.ClusterStorageCapacityExceededException", "", "a quota of HDFS is used up"),
        "raise it (hdfs dfsadmin -setSpaceQuota or -setQuota) or make room below that folder",
    ),
    (
        *(f"{_HADOOP}ipc.RemoteException", "could only be written to", "HDFS has no DataNode that takes a file"),
        "see whether they are up and have room (hdfs dfsadmin -report)",
    ),
    (
        *(f"{_HADOOP}hdfs.BlockMissingException", "", "HDFS has no DataNode that gives a file"),
        "bring back those that held it (hdfs dfsadmin -report)",
    ),
    (
        *(f"{_HADOOP}hdfs.server.namenode.SafeModeException", "", "HDFS takes nothing"),
        "see why its NameNode is in safe mode: its own disk may be full",
    ),
    ("java.net.ConnectException", "Call From", "a server of HDFS does not answer", "see whether it is up"),
    ("java.io.IOException", _NO_SPACE, "a disk is full", "make room on it"),
)
"""Java class, words in its message, what is wrong, what to do. HDFS's own messages are told: they hold no values."""
_PLACE = re.compile(r"while writing rows to \S+|\(TID \d+\) \([^)]*\)")
"""What Spark says of where a task failed."""


@contextmanager
def outages_told() -> Iterator[None]:
    """Say in one line where the block fails because storage is full or does not answer.

    Raises:
        StorageError: that is so.
    """
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        line = _outage(error)
        if line is None:
            raise
        raise StorageError(line) from None


def causes(error: PySparkException | Py4JJavaError) -> Iterator[Any]:
    """Yield the Java exception and its causes, outermost first."""
    one: Any = error.java_exception if isinstance(error, Py4JJavaError) else None
    if isinstance(error, CapturedException):
        one = error._origin
    while one is not None:
        yield one
        if is_a(one, f"{_HADOOP}io.MultipleIOException"):
            yield from one.getExceptions()
        one = one.getCause()


def is_a(one: Any, name: str) -> bool:
    """Return whether a Java object is of the class with this name."""
    return bool(is_instance_of(SparkContext._gateway, one, name))


def _outage(error: PySparkException | Py4JJavaError) -> str | None:
    chain = [(one, str(one.getMessage() or "").strip()) for one in causes(error)]
    for one, text in chain:
        for name, words, what, remedy in _OUTAGES:
            if not is_a(one, name) or words not in text:
                continue
            told = next(iter(text.splitlines()), name)[:300]
            if words == _NO_SPACE:
                # Anybody's exception, and anybody's words around these.
                told = " ".join([words, *(found[0] for _, said in chain if (found := _PLACE.search(said)))])
            return f"{what}: {told}; {remedy}; {_AGAIN}"
    return None
