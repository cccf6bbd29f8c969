"""Counts what the runs of a session do, for Spark's own metrics system: its sinks show them beside Spark's metrics.

Spark's Prometheus sink names them metrics_<namespace>_driver_AccumulatorSource_<name>_Value.
"""

from functools import cache
from typing import Any

from pyspark.sql import SparkSession

from salience.tables.storage import java_class

NAMES = (
    "runs_started",
    "runs_succeeded",
    "runs_failed",
    "runs_killed",
    "rows_written",
    "audits_passed",
    "audits_failed",
)


def add(spark: SparkSession, **amounts: float) -> None:
    """Add to counts by name.

    Raises:
        KeyError: there is no such name.
    """
    counts = _counts(spark)
    for name, amount in amounts.items():
        counts[name].add(float(amount))


@cache
def _counts(spark: SparkSession) -> dict[str, Any]:
    """Return the accumulators, shown by the session's metrics system from now on."""
    context = spark.sparkContext._jsc.sc()
    counts = {name: context.doubleAccumulator(name) for name in NAMES}
    shown = java_class(spark, "org.apache.spark.api.python.PythonUtils").toScalaMap(counts)
    source = java_class(spark, "org.apache.spark.metrics.source.DoubleAccumulatorSource$")
    getattr(source, "MODULE$").register(context, shown)
    return counts
