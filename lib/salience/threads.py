"""Work that goes on at the same time, in threads that may use one Spark session."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from pyspark import inheritable_thread_target
from pyspark.sql import SparkSession


def side_by_side(*chains: Callable[[], object]) -> None:
    """Run functions at the same time.

    If one fails, the others go on to their end; then the first error, in the order given, is raised.
    """
    with ThreadPoolExecutor(max(len(chains), 1)) as pool:
        for running in [pool.submit(inheritable_thread_target(chain)) for chain in chains]:
            running.result()


@contextmanager
def beside(spark: SparkSession, work: Callable[[], object]) -> Iterator[Callable[[], object]]:
    """Run a function at the same time as the block, and ahead of it wherever both ask Spark for tasks.

    Yield a function that waits for its end and raises its error; the end of the block does so, too.
    """

    def ahead() -> None:
        # Spark shares its cores among pools of jobs; within one, those that were asked for first go first.
        spark.sparkContext.setLocalProperty("spark.scheduler.pool", "ahead")
        work()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(inheritable_thread_target(ahead))
        yield running.result
        running.result()
