"""Whose fault a failure is: errors as Spark and Hadoop raise them, some met in truth, some built in the JVM."""

from contextlib import contextmanager

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from salience.sources.failures import is_unreadable, reason
from salience.sources.guarded import guarded

pytestmark = pytest.mark.integration
SECRET = "ann@example.com"


@contextmanager
def failure():
    """Catch what Spark raises: the block puts it into the list."""
    caught = []
    try:
        yield caught
    except (PySparkException, Py4JJavaError) as error:
        caught.append(error)
    assert caught, "nothing failed"


FAILING = [
    ("cast(s as int)", f"x\n{SECRET}", "CAST_INVALID_INPUT"),
    ("cast(s as int)", f"java.net.ConnectException {SECRET}", "CAST_INVALID_INPUT"),
    ("cast(s as int)", f"[FAILED_READ_FILE] {SECRET}", "CAST_INVALID_INPUT"),
    ("xpath_string(s, 'a')", f"<a>{SECRET}", "RuntimeException"),
    ("split(s, s)", f"({SECRET}", "PatternSyntaxException"),
    ("rlike(s, s)", f"Caused by: java.io.IOException: Filesystem closed ({SECRET}", "PatternSyntaxException"),
    ("format_string(concat(left(s, 0), '%d'), s)", SECRET, "IllegalFormatConversionException"),
    ("parse_json(s)", SECRET, "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION"),
    ("sequence(1, length(s) * 9999999999L)", SECRET, "COLLECTION_SIZE_LIMIT_EXCEEDED.PARAMETER"),
    ("timestamp_seconds(length(s) * 99999999999999L)", SECRET, "ArithmeticException"),
    ("map(s, 1, s, 2)", SECRET, "DUPLICATED_MAP_KEY"),
]


@pytest.mark.parametrize(("expression", "value", "name"), FAILING)
def test_what_an_expression_fails_on_is_the_deliverys_fault_and_only_the_class_is_told(spark, expression, value, name):
    rows = spark.range(2).select(F.when(F.col("id") == 0, value).otherwise("x").alias("s")).repartition(2)
    with failure() as caught:
        rows.select(F.expr(expression)).write.format("noop").mode("overwrite").save()
    (error,) = caught
    assert is_unreadable(error)
    assert reason(error) == (
        f"an expression of the mapping fails on a value ({name}); use try_cast or get in it, or deliver it again"
    )


@pytest.mark.parametrize(("expression", "value", "name"), FAILING)
def test_a_guarded_expression_fails_without_a_word_of_the_value(spark, expression, value, name):
    rows = spark.range(2).select(F.when(F.col("id") == 0, value).otherwise("x").alias("s")).repartition(2)
    with failure() as caught:
        rows.select(guarded(expression)).write.format("noop").mode("overwrite").save()
    (error,) = caught
    assert is_unreadable(error)
    assert reason(error) == (
        f"an expression of the mapping fails on a value ({expression}); use try_cast or get in it, or deliver it again"
    )
    assert SECRET not in str(error) and SECRET not in error._origin.toString()


def test_a_guarded_expression_has_the_value_and_the_type_of_the_expression(spark):
    rows = spark.createDataFrame([("1,2", 3), (None, None)], "s string, n int")
    for text in ("s", "split(s, ',')", "cast(split_part(s, ',', 1) as int) + n", "map('a', s)", "n > 2", "null"):
        plain, safe = rows.select(F.expr(text).alias("v")), rows.select(guarded(text).alias("v"))
        assert plain.dtypes == safe.dtypes and plain.collect() == safe.collect(), text


def raised(one):
    return Py4JJavaError("An error occurred while calling o1.collectToPython.\n", one)


def test_a_cluster_that_cannot_be_reached_is_nobodys_delivery(spark):
    """Nobody listens at port 1 of this machine."""
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    hadoop.set("ipc.client.connect.max.retries", "0")
    path = spark._jvm.org.apache.hadoop.fs.Path("hdfs://127.0.0.1:1/logs/part-0.parquet")
    file_system = path.getFileSystem(hadoop)
    with failure() as refused:
        file_system.open(path)
    file_system.close()
    with failure() as closed:
        file_system.open(path)
    with failure() as by_spark:
        spark.read.parquet(str(path)).schema  # noqa: B018
    told = [str(caught[0].java_exception.getClass().getName()) for caught in (refused, closed, by_spark)]
    assert told == ["java.net.ConnectException", "java.io.IOException", "java.net.ConnectException"]
    assert "Filesystem closed" in str(closed[0])
    assert [is_unreadable(caught[0]) for caught in (refused, closed, by_spark)] == [False] * 3


def aborted(spark, cause):
    """Return what the driver raises for a task that failed for good."""
    text = (
        "Job aborted due to stage failure: Task 0 in stage 3.0 failed 4 times, most recent failure: Lost task 0.3 in "
        "stage 3.0 (TID 9) (worker-7 executor 2): "
    )
    return spark._jvm.org.apache.spark.SparkException(f"{text}{cause or 'ExecutorLostFailure'}", cause)


def unreadable_file(spark, cause):
    """Return what Spark raises for a file that it cannot read."""
    path = "hdfs://logs/feed/interactions/dt=2026-11-02/part-0.parquet"
    return spark._jvm.org.apache.spark.sql.errors.QueryExecutionErrors.cannotReadFilesError(cause, path)


@pytest.mark.parametrize(
    "cause",
    [
        lambda jvm: jvm.org.apache.hadoop.hdfs.BlockMissingException("part-0.parquet", "Could not obtain block", 0),
        lambda jvm: jvm.java.net.ConnectException("Call From worker-7 to name-1:8020 failed: Connection refused"),
        lambda jvm: jvm.java.net.SocketTimeoutException("60000 millis timeout while waiting for channel"),
        lambda jvm: jvm.java.io.IOException("Filesystem closed"),
        lambda jvm: jvm.java.io.IOException("No space left on device"),
        lambda jvm: jvm.java.lang.OutOfMemoryError("Java heap space"),
        lambda jvm: jvm.java.lang.NoClassDefFoundError("org/xerial/snappy/Snappy"),
        lambda jvm: jvm.java.lang.RuntimeException("wrapped", jvm.java.net.UnknownHostException("name-1")),
    ],
)
def test_lost_data_nodes_closed_file_systems_and_lack_of_memory_are_the_clusters(spark, cause):
    one = cause(spark._jvm)
    assert not is_unreadable(raised(one))
    assert not is_unreadable(raised(aborted(spark, one)))
    if not one.getClass().getName().endswith("Error"):
        assert not is_unreadable(raised(aborted(spark, unreadable_file(spark, one))))


def test_lost_executors_are_the_clusters(spark):
    assert not is_unreadable(raised(aborted(spark, None)))


@pytest.mark.parametrize(
    "cause",
    [
        lambda jvm: jvm.org.apache.parquet.io.ParquetDecodingException("Failed to read from input stream"),
        lambda jvm: jvm.java.io.EOFException("Reached the end of stream with 9 bytes left to read"),
        lambda jvm: jvm.java.io.FileNotFoundException("File does not exist: part-0.parquet"),
        lambda jvm: jvm.org.apache.hadoop.fs.ChecksumException("Checksum error: part-0.parquet at 0", 0),
        lambda jvm: jvm.org.apache.hadoop.security.AccessControlException("Permission denied: user=etl, access=READ"),
        lambda jvm: jvm.java.lang.ArrayIndexOutOfBoundsException("Index 9 out of bounds for length 3"),
    ],
)
def test_damaged_missing_and_forbidden_files_are_the_deliverys_fault_and_named(spark, cause):
    error = raised(aborted(spark, unreadable_file(spark, cause(spark._jvm))))
    assert is_unreadable(error)
    told = reason(error)
    assert told.startswith("it cannot be read to its end: [FAILED_READ_FILE") and "/part-0.parquet" in told
    assert len(told.splitlines()) == 1
