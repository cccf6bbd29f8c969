"""Whose fault it is when a delivery cannot be read: its own, or the cluster's, which the next attempt may not meet."""

import re
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from salience.sources.guarded import RAISED
from salience.tables.outages import causes, is_a

_CLUSTERS_CLASSES = (
    *("java.lang.OutOfMemoryError", "java.lang.LinkageError", "java.lang.InternalError"),
    *("java.lang.InterruptedException", "java.util.concurrent.TimeoutException"),
    *("org.apache.spark.shuffle.FetchFailedException", "org.apache.spark.TaskKilledException"),
)
_DELIVERYS_CLASSES = (
    *("java.io.FileNotFoundException", "org.apache.hadoop.fs.ChecksumException"),
    "org.apache.hadoop.security.AccessControlException",
)
"""Exceptions of file systems that say something of the file."""
_CLUSTERS_STATES = ("08", "53", "57", "58", "HY")
"""Beginnings of SQLSTATEs: connections, resources, operators, systems, cancelled calls."""
_READERS = (
    *("org.apache.parquet.", "org.apache.hadoop.io.compress."),
    *("org.apache.spark.sql.", "org.apache.spark.types.", "org.apache.spark.unsafe."),
)
"""Code that looks at the content of a file, rather than fetching it."""
_NETWORK = ("org.apache.hadoop.ipc.", "org.apache.hadoop.net.", "org.apache.hadoop.hdfs.protocolPB.")
_ABOUT_FILES = ("FAILED_READ_FILE", "CANNOT_READ_FILE", "PARQUET_")
"""Beginnings of Spark's error classes; what they say shows no value."""
_TASK = re.compile(r"^: |^.*\(TID \d+\) \([^)]*\): ")
"""What Spark puts before the message: which task failed, and where."""


def is_unreadable(error: PySparkException | Py4JJavaError) -> bool:
    """Return whether an error is about the data that was read, or about what the mapping makes of it.

    All are, but those that are the cluster's. Told by classes only: a message may hold a value, and that anything.
    """
    chain = list(causes(error))
    told = [one for one in chain if not _is_frame(one)]
    return bool(told) and not any(_is_clusters(one) for one in chain)


def reason(error: PySparkException | Py4JJavaError) -> str:
    """Return in one line why a delivery could not be read."""
    told = [one for one in causes(error) if not _is_frame(one)]
    failed = next((name for one in told if (name := _condition(one))), None)
    if failed and failed.startswith(_ABOUT_FILES):
        about = next(one for one in told if _condition(one))
    else:
        # Damaged pages whose values Spark decodes only where they are used.
        about = next((one for one in told if not failed and "org.apache.parquet." in _frames(one)), None)
    if about is not None:
        line = _TASK.sub("", in_brief(str(about.getMessage() or about.getClass().getName())))
        return f"it cannot be read to its end: {line[:300]}; deliver it again"
    # Not Spark's own words: they show the value, which may be somebody's name.
    name = failed or str(told[0].getClass().getSimpleName())
    if name == RAISED:
        name = next(str(one.getMessageParameters().get("errorMessage")) for one in told if _condition(one))
    return f"an expression of the mapping fails on a value ({name}); use try_cast or get in it, or deliver it again"


def in_brief(text: str) -> str:
    """Return the first line of an error's text, without the part of a file's footer that Thrift adds.

    That part may hold a column's smallest and largest value.
    """
    return next(iter(text.splitlines()), "").partition(" Struct: ")[0].strip()


def _is_frame(one: Any) -> bool:
    """Return whether an exception only says that a job or a writing task failed; without a cause, of lost executors."""
    is_plain = str(one.getClass().getName()) == "org.apache.spark.SparkException"
    return is_plain and _condition(one) in (None, "TASK_WRITE_FAILED")


def _is_clusters(one: Any) -> bool:
    if _is_frame(one):
        return False
    state = _utils().getSqlState(one) if is_a(one, "org.apache.spark.SparkThrowable") else None
    if any(is_a(one, name) for name in _CLUSTERS_CLASSES) or (state or "").startswith(_CLUSTERS_STATES):
        return True
    if (_condition(one) or "").startswith("INTERNAL_ERROR_"):  # of the network, the shuffle, the executor...
        return True
    if not is_a(one, "java.io.IOException") or any(is_a(one, name) for name in _DELIVERYS_CLASSES):
        return False
    thrower = next((name for name in _frames(one).split() if name.startswith("org.apache.")), "")
    if is_a(one, "java.io.EOFException"):
        return thrower.startswith(_NETWORK)
    return not thrower.startswith(_READERS)


def _condition(one: Any) -> str | None:
    return _utils().getCondition(one) if is_a(one, "org.apache.spark.SparkThrowable") else None


def _frames(one: Any) -> str:
    """Return the classes that an exception went through, the thrower first."""
    return " ".join(str(frame.getClassName()) for frame in one.getStackTrace())


def _utils() -> Any:
    return SparkContext._jvm.PythonErrorUtils  # type: ignore[union-attr]
