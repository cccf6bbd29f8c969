"""Opens folders on any file system that Hadoop knows (local disk, HDFS, object stores)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from salience.errors import InputError

CONVERTERS = "scala.jdk.javaapi.CollectionConverters"


def java_class(spark: SparkSession, name: str) -> Any:
    """Return a class by its whole name: where its packages are named one by one, Java looks in every jar for each."""
    return _looked_up(spark.sparkContext._jvm, name)


@cache
def _looked_up(jvm: Any, name: str) -> Any:
    return getattr(jvm, name)


def as_java(spark: SparkSession, items: Any) -> Any:
    """Return a collection of Scala's as one of Java's."""
    return java_class(spark, CONVERTERS).asJava(items)


def as_list(items: Any) -> list[Any]:
    """Return what a list of Java's holds.

    By its places: at its end a Java iterator throws, and to name the error PySpark looks in every jar for its kind.
    """
    return [items.get(place) for place in range(items.size())]


def delta_log(spark: SparkSession, path: str) -> Any:
    """Return Delta's own view of the log of an existing table."""
    return java_class(spark, "org.apache.spark.sql.delta.DeltaLog").forTable(spark._jsparkSession, path)


def open_folder(spark: SparkSession, folder: str) -> tuple[Any, Any]:
    """Return Hadoop's file system that holds a folder or file, and its path on it."""
    path = java_class(spark, "org.apache.hadoop.fs.Path")(folder)
    return path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), path


@contextmanager
def opening(setting: str, folder: str) -> Iterator[None]:
    """Name a setting's folder where the block, which should ask about it first, finds its file system out of reach.

    Raises:
        InputError: Hadoop knows no such file system, or gets no answer.
    """
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        told = str(error.java_exception) if isinstance(error, Py4JJavaError) else str(error)
        raise InputError(f"{folder} cannot be opened: {told.splitlines()[0]}; check the setting `{setting}`") from None
