"""The files that jobs/evaluate_recommender.py is given."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.recommend.public import checked_rows, is_named
from salience.sources.failures import in_brief, is_unreadable, reason


def wanted_models(names: str | None, known: Sequence[str]) -> list[str]:
    """Return the models to compare, in the order that they are named in; all of them where none is named.

    Raises:
        InputError: a name is unknown, or there twice.
    """
    if names is None:
        return list(known)
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise InputError(f"--models: there is no {name!r}; there are {', '.join(known)}")
    if len(set(wanted)) < len(wanted):
        raise InputError(f"--models {names}: names a model twice")
    return wanted


def read_rows(spark: SparkSession, path: str, name: str) -> DataFrame:
    """Return the rows of a Parquet or CSV file, see `checked_rows`.

    Raises:
        InputError: the file cannot be read, or some of its rows cannot be used.
    """
    with _unreadable_told(f"{name} {path}"):
        return checked_rows(_read(spark, path, name), f"{name} {path}")


def read_extra(spark: SparkSession, contents: str | None, users: str | None) -> dict[str, DataFrame | None]:
    """Return `tags` (content_id, tags) and `segments` (user_id, segment); None where no file is named.

    Raises:
        InputError: a file cannot be read, lacks a column, or names no content or user in a row, or one twice.
    """
    tags = segments = None
    if contents:
        frame = _keyed(spark, contents, "--contents", "item", "tags")
        told = F.col("tags") if dict(frame.dtypes)["tags"].startswith("array") else F.split(F.col("tags"), r"\|")
        tags = frame.select(F.col("item").alias("content_id"), told.cast("array<string>").alias("tags"))
    if users:
        frame = _keyed(spark, users, "--users", "user", "segment")
        segments = frame.select(F.col("user").alias("user_id"), F.col("segment").cast("string"))
        segments = segments.where(F.length("segment") > 0)
    return {"tags": tags, "segments": segments}


def written(path: str, text: str) -> None:
    """Write a text file as a whole: a reader finds the old one, or the new one.

    Raises:
        InputError: it cannot be written there.
    """
    target = Path(path)
    try:
        beside = target.with_name(f".{target.name}.part")
        beside.write_text(f"{text}\n", encoding="utf-8")
        beside.replace(target)
    except OSError as error:
        raise InputError(f"--json {path}: cannot be written: {error.strerror}") from None


def _read(spark: SparkSession, path: str, name: str) -> DataFrame:
    try:
        if path.removesuffix(".gz").endswith(".csv"):
            # All columns are looked into, whichever are asked for: a row of too many fields is damaged.
            return spark.read.option("columnPruning", False).csv(path, header=True, mode="FAILFAST")
        return spark.read.parquet(path)
    except PySparkException as error:
        told = str(error).strip().splitlines()[0]
        raise InputError(f"{name} {path}: cannot be read as Parquet (or CSV, for .csv): {told}") from None


def _keyed(spark: SparkSession, path: str, name: str, key: str, about: str) -> DataFrame:
    """Return the two columns of a file, the key as text; each key once."""
    told = f"{name} {path}"
    with _unreadable_told(told):
        frame = _read(spark, path, name)
        for column in (key, about):
            if column not in frame.columns:
                there = ", ".join(frame.columns) or "none"
                raise InputError(f"{told}: column {column} is missing, there are: {there}")
        frame = frame.select(F.col(key).cast("string").alias(key), about)
        if not frame.where(~is_named(key)).isEmpty():
            raise InputError(f"{told}: a row has an empty {key}; correct or remove it")
        if not frame.groupBy(key).count().where("count > 1").isEmpty():
            raise InputError(f"{told}: names one {key} twice; leave one row each")
        return frame


@contextmanager
def _unreadable_told(told: str) -> Iterator[None]:
    """Turn what Spark says of a file that cannot be read to its end into an InputError."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        if not is_unreadable(error):
            raise
        why = in_brief(str(error)) if isinstance(error, PySparkException) else reason(error)
        raise InputError(f"{told}: cannot be read to its end: {why}") from None
