"""Opens folders on any file system that Hadoop knows (local disk, HDFS, object stores)."""

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from salience.errors import InputError


def open_folder(spark: SparkSession, folder: str) -> tuple[Any, Any]:
    """Return Hadoop's file system that holds a folder or file, and its path on it.

    Raises:
        InputError: Hadoop knows no such file system.
    """
    context = spark.sparkContext
    try:
        path = context._jvm.org.apache.hadoop.fs.Path(folder)  # type: ignore[union-attr]
        return path.getFileSystem(context._jsc.hadoopConfiguration()), path
    except Py4JJavaError as error:
        told = str(error.java_exception.getMessage())
        raise InputError(f"{folder}: {told}; check the settings `logs` and `warehouse`") from None
