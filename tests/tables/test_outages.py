"""What is said when storage is full or silent: errors as Hadoop and Spark raise them, most of them built in the JVM."""

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from salience.errors import StorageError
from salience.tables.outages import outages_told

pytestmark = pytest.mark.integration
SECRET = "ann@example.com"
AGAIN = "nothing half-written counts: run the same again then"


def raised(one):
    return Py4JJavaError("An error occurred while calling o1.save.\n", one)


def written(spark, cause, place="hdfs://n/tables/silver/interactions"):
    """Return what Spark raises for a task that cannot write, as the driver gets it."""
    return spark._jvm.org.apache.spark.sql.errors.QueryExecutionErrors.taskFailedWhileWritingRowsError(place, cause)


def line_of(error):
    with pytest.raises(StorageError) as caught, outages_told():
        raise error
    assert caught.value.exit_code == 1
    line = str(caught.value)
    assert len(line.splitlines()) == 1 and line.endswith(f"; {AGAIN}")
    return line.removesuffix(f"; {AGAIN}")


def space_quota(jvm):
    return jvm.org.apache.hadoop.hdfs.protocol.DSQuotaExceededException("The DiskSpace quota of /tables is exceeded: 1")


def both_closed(jvm):
    return jvm.org.apache.hadoop.io.MultipleIOException.createIOException([space_quota(jvm), space_quota(jvm)])


@pytest.mark.parametrize(
    ("cause", "line"),
    [
        (space_quota, "a quota of HDFS is used up: The DiskSpace quota of /tables is exceeded: 1; raise it (hdfs "),
        (both_closed, "a quota of HDFS is used up: The DiskSpace quota of /tables is exceeded: 1; raise it (hdfs "),
        (
            lambda jvm: jvm.org.apache.hadoop.hdfs.protocol.NSQuotaExceededException("The NameSpace quota of /t"),
            "a quota of HDFS is used up: The NameSpace quota of /t; raise it (hdfs ",
        ),
        (
            lambda jvm: jvm.org.apache.hadoop.ipc.RemoteException(
                "java.io.IOException", "/t/x could only be written to 0 of the 1 nodes.\n\tat x"
            ),
            "HDFS has no DataNode that takes a file: /t/x could only be written to 0 of the 1 nodes.; see whether",
        ),
        (
            lambda jvm: jvm.org.apache.hadoop.hdfs.BlockMissingException("/t/x", "Could not obtain block: /t/x", 0),
            "HDFS has no DataNode that gives a file: Could not obtain block: /t/x",
        ),
        (
            lambda jvm: jvm.org.apache.hadoop.hdfs.server.namenode.SafeModeException("Name node is in safe mode."),
            "HDFS takes nothing: Name node is in safe mode.; see why",
        ),
        (
            lambda jvm: jvm.java.io.IOException(f"{SECRET}: No space left on device"),
            "a disk is full: No space left on device while writing rows to hdfs://n/tables/silver/interactions.; make",
        ),
    ],
)
def test_full_and_silent_storage_is_told_in_one_line_with_the_place_and_a_remedy(spark, cause, line):
    one = cause(spark._jvm)
    told = line_of(raised(written(spark, one)))
    assert told.startswith(line)
    assert SECRET not in told


def test_a_name_node_that_does_not_answer_is_named(spark):
    """Nobody listens at port 1 of this machine."""
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    hadoop.set("ipc.client.connect.max.retries", "0")
    try:
        with pytest.raises((Py4JJavaError, PySparkException)) as caught:
            spark.read.parquet("hdfs://127.0.0.1:1/logs/part-0.parquet").schema  # noqa: B018
    finally:
        hadoop.unset("ipc.client.connect.max.retries")
    told = line_of(caught.value)
    assert told.startswith("a server of HDFS does not answer: Call From ") and ":1 failed on connection exc" in told


@pytest.mark.parametrize(
    "cause",
    [
        lambda jvm: jvm.java.lang.RuntimeException(f"No space left on device {SECRET}"),
        lambda jvm: jvm.java.io.FileNotFoundException("File does not exist: part-0.parquet"),
        lambda jvm: jvm.org.apache.hadoop.ipc.RemoteException("java.io.IOException", "Lease mismatch"),
    ],
)
def test_all_other_failures_stay_what_they_are(spark, cause):
    error = raised(written(spark, cause(spark._jvm)))
    with pytest.raises(Py4JJavaError) as caught, outages_told():
        raise error
    assert caught.value is error
