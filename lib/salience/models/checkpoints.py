"""A folder for what fits write on their way: on the cluster's file system, and gone with the run."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import time

from pyspark.sql import SparkSession

from salience.tables.storage import open_folder

_ABANDONED_S = 7 * 86_400
"""No run takes so long: what is older was left by one that died."""


@contextmanager
def checkpoints(spark: SparkSession, root: str, run_id: str) -> Iterator[None]:
    """Let what is fitted in the block write checkpoints, which are deleted at its end.

    So what was fitted has to be saved within the block.

    Args:
        spark: one block at a time in a session.
        root: folder of all runs' checkpoints.
        run_id: names this run's own.
    """
    _delete_abandoned(spark, root)
    folder = f"{root}/{run_id}"
    context = spark.sparkContext._jsc.sc()
    before = context.getCheckpointDir()
    spark.sparkContext.setCheckpointDir(folder)
    try:
        yield
    finally:
        # setCheckpointDir would make a new folder below it.
        getattr(context, "checkpointDir_$eq")(before)
        file_system, path = open_folder(spark, folder)
        file_system.delete(path, True)


def _delete_abandoned(spark: SparkSession, root: str) -> None:
    file_system, path = open_folder(spark, root)
    for left in file_system.listStatus(path) if file_system.exists(path) else ():
        if left.getModificationTime() < 1000 * (time() - _ABANDONED_S):
            file_system.delete(left.getPath(), True)
