"""Whether a mapping fits our tables, and whether a log fits its mapping."""

import re
from collections.abc import Iterator

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from salience.errors import SettingsError
from salience.sources.expressions import columns_used, fields_used, find_unfit, guesses_day
from salience.sources.mapping import (
    BRONZE_TABLES,
    Dataset,
    DatasetMapping,
    InteractionsMapping,
    SourceMapping,
    TimeMapping,
    needed_columns,
)
from salience.tables.contract import data_type


def require_fitting(spark: SparkSession, mapping: SourceMapping) -> None:
    """Check a mapping's types, expressions and defaults against one another and against our tables.

    Raises:
        SettingsError: one does not fit; the message names the file and the key.
    """
    for dataset, part in mapping.datasets.items():
        where = f"conf/sources/{mapping.platform}.yaml {dataset}"
        for name, type_ in part.raw.items():
            try:
                is_read = not _has(data_type(type_), _NEVER_READ)
            except PySparkException:
                raise SettingsError(
                    f"{where}.raw.{name}: {type_!r} is no Spark SQL type; types are like string or bigint"
                ) from None
            if not is_read:
                raise SettingsError(f"{where}.raw.{name}: no log is read as {type_!r}; texts of any length are string")
        empty = spark.createDataFrame([], raw_schema(part))
        for key, (text, wanted) in _expressions(dataset, part).items():
            if problem := _unfit_expression(empty, text, wanted, is_condition=key.endswith(".when")):
                raise SettingsError(f"{where}.{key}: {problem}")
        if isinstance(part, InteractionsMapping) and (problem := _unfit_time(empty, part.event_time)):
            raise SettingsError(f"{where}.event_time.{problem}")
        types = {column.name: column.type for column in BRONZE_TABLES[dataset].columns}
        for name, default in part.defaults.items():
            if types[name] == "string" and not isinstance(default, str):
                told = "YAML takes it for no word; put what is written there in quotes"
                raise SettingsError(f"{where}.defaults.{name}: {default!r}: {told}")
            guessed = types[name] in ("timestamp", "date") and not re.match(r"\s*\d{4}", str(default))
            if guessed or spark.range(1).select(F.lit(default).try_cast(types[name])).head() == (None,):
                raise SettingsError(f"{where}.defaults.{name}: {default!r} is no {types[name]}")


def raw_schema(part: DatasetMapping) -> T.StructType:
    """Return the schema that the log is read with: the mapping's raw columns, all nullable."""
    return T.StructType([T.StructField(name, data_type(type_)) for name, type_ in part.raw.items()])


def required_columns(spark: SparkSession, dataset: Dataset, part: DatasetMapping) -> frozenset[str]:
    """Return the raw columns that every file must have: those named, and those of the ids, the action and the time.

    And the fields inside of them that are used, like ctx.os.
    """
    texts = [part.columns[name] for name in needed_columns(dataset, part)]
    if isinstance(part, InteractionsMapping):
        texts.append(part.event_time.source)
        texts += [part.action.source] if part.action else []
        for emitted in part.emit.values():
            texts += [emitted.when] if emitted.when else []
            texts += [emitted.columns[name] for name in needed_columns(dataset, part) if name in emitted.columns]
    empty = spark.createDataFrame([], raw_schema(part))
    used = frozenset().union(*(fields_used(empty, text) for text in texts)) | set(part.required)
    folded = {name.casefold() for name in used}
    return frozenset(path for path in _paths(raw_schema(part)) if path.casefold() in folded)


def misfit(declared: T.StructType, found: T.StructType, required: frozenset[str]) -> str | None:
    """Return what keeps a file from being read by the mapping: columns that are missing or of another type.

    So do fields that are missing inside of columns.
    """
    by_name = {field.name.casefold(): field.dataType for field in found}
    there_too = {path.casefold() for path in _paths(found)}
    problems = []
    for field in declared:
        there = by_name.get(field.name.casefold())
        if there is None:
            if field.name in required:
                problems.append(f"column {field.name} is not in it, which has {', '.join(found.names)}")
        elif not _reads_as(field.dataType, there):
            problems.append(f"column {field.name} is {there.simpleString()} instead of {field.dataType.simpleString()}")
        else:
            within = [path for path in sorted(required) if path.startswith(f"{field.name}.")]
            lacking = next((path for path in within if path.casefold() not in there_too), None)
            if lacking:
                problems.append(f"column {lacking} is not in it, whose {field.name} is {there.simpleString()}")
    return "; ".join(problems) or None


def added_columns(declared: T.StructType, found: T.StructType) -> tuple[str, ...]:
    """Return the columns of a file, also those inside of others, that the mapping does not know."""
    known = {path.casefold() for path in _paths(declared)}
    new = [path for path in _paths(found) if path.casefold() not in known]
    # Of a new column that has fields itself, the column only.
    return tuple(path for path in new if path.rpartition(".")[0] not in new)


def _paths(type_: T.DataType, above: str = "") -> Iterator[str]:
    """Yield the columns of a schema and the fields inside of them, also of lists' elements and maps' values."""
    if isinstance(type_, T.ArrayType):
        yield from _paths(type_.elementType, above)
    elif isinstance(type_, T.MapType):
        yield from _paths(type_.valueType, above)
    elif isinstance(type_, T.StructType):
        for field in type_:
            yield f"{above}{field.name}"
            yield from _paths(field.dataType, f"{above}{field.name}.")


_NEVER_READ = (T.CharType, T.VarcharType, T.NullType, T.TimeType, T.GeometryType, T.GeographyType)
"""Types that Spark has but reads from no Parquet file, or cannot hash."""


def _has(type_: T.DataType, kinds: tuple[type[T.DataType], ...]) -> bool:
    """Return whether a type is one of these kinds, or holds one inside."""
    if isinstance(type_, T.StructType):
        return any(_has(field.dataType, kinds) for field in type_)
    if isinstance(type_, T.ArrayType):
        return _has(type_.elementType, kinds)
    if isinstance(type_, T.MapType):
        return _has(type_.keyType, kinds) or _has(type_.valueType, kinds)
    return isinstance(type_, kinds)


_PARTS_OF_SECONDS = ("milliseconds", "microseconds", "nanoseconds")
"""Units in which a timestamp that Spark makes a number of, in seconds, would be misread."""


def _reads_as(declared: T.DataType, found: T.DataType) -> bool:
    """Return whether Spark reads the found type as the declared one: the same, but for fields more or fewer."""
    if isinstance(declared, T.StructType) and isinstance(found, T.StructType):
        by_name = {field.name.casefold(): field.dataType for field in found}
        known = [(field.dataType, by_name.get(field.name.casefold())) for field in declared]
        pairs = [(one, other) for one, other in known if other is not None]
        return bool(pairs) and all(_reads_as(one, other) for one, other in pairs)
    if isinstance(declared, T.ArrayType) and isinstance(found, T.ArrayType):
        return _reads_as(declared.elementType, found.elementType)
    if isinstance(declared, T.MapType) and isinstance(found, T.MapType):
        return _reads_as(declared.keyType, found.keyType) and _reads_as(declared.valueType, found.valueType)
    return declared.simpleString() == found.simpleString()


def _expressions(dataset: Dataset, part: DatasetMapping) -> dict[str, tuple[str, str]]:
    """Return key in the mapping -> (expression, the type that its value must be castable to)."""
    types = {column.name: column.type for column in BRONZE_TABLES[dataset].columns}
    texts = {f"columns.{name}": (text, types[name]) for name, text in part.columns.items()}
    if isinstance(part, InteractionsMapping):
        as_time = {"iso8601": "timestamp", "text": "string"}.get(part.event_time.unit, "decimal(38,6)")
        texts["event_time.from"] = (part.event_time.source, as_time)
        if part.action:
            texts["action.from"] = (part.action.source, "string")
        for name, emitted in part.emit.items():
            if emitted.when:
                texts[f"emit.{name}.when"] = (emitted.when, "boolean")
            for column, text in emitted.columns.items():
                texts[f"emit.{name}.columns.{column}"] = (text, types[column])
    return texts


def _unfit_expression(empty: DataFrame, text: str, wanted: str, is_condition: bool) -> str | None:
    if problem := find_unfit(empty.sparkSession, text):
        return problem
    known = {name.casefold() for name in empty.columns}
    for name in sorted(columns_used(empty.sparkSession, text)):
        if name.casefold() not in known:
            return f"{text!r} uses the column {name}, which is not in `raw`: {', '.join(empty.columns)}"
    try:
        given = empty.select(F.expr(text).alias("given"), F.expr(text).try_cast(wanted)).schema["given"].dataType
        if is_condition and not isinstance(given, T.BooleanType):
            return f"{text!r} is no condition but a {given.simpleString()}; conditions are like {text} = 1"
        if guesses_day(empty, text):
            return (
                f"{text!r} reads text as a time by itself, and 10:00 as of the day of the run; give the text as it is, "
                "or use try_to_timestamp with its format"
            )
    except (AnalysisException, ParseException, Py4JJavaError) as error:
        # Spark lacks some of its messages, like that of a path into something else than a variant.
        is_told = not isinstance(error, Py4JJavaError)
        return f"{text!r}: {str(error).splitlines()[0] if is_told else 'Spark cannot resolve it on these columns'}"
    return None


_PROBE = "2026-11-22 21:43:56"
"""A time none of whose parts can be mistaken for another."""


def _unfit_time(empty: DataFrame, time: TimeMapping) -> str | None:
    """Return what is wrong with a mapping of times: a format that reads none, a text that Spark would guess at."""
    if time.format is not None and _read_back(empty.sparkSession, time.format) not in (
        *(_PROBE, f"{_PROBE[:-3]}:00", f"{_PROBE[:-6]}:00:00", f"{_PROBE[:-9]} 00:00:00"),
    ):
        return (
            f"format: {time.format!r} does not read what is written by it: years are yyyy, months MM, days dd, "
            "hours HH, minutes mm, seconds ss, and names of days are not read"
        )
    source = empty.select(F.expr(time.source)).schema[0].dataType
    if isinstance(source, T.TimestampType) and time.unit in _PARTS_OF_SECONDS:
        return f"unit: {time.source!r} is a timestamp, no number of {time.unit}; its unit is iso8601"
    used = {name.casefold() for name in columns_used(empty.sparkSession, time.source)}
    of_text = any("string" in field.dataType.simpleString() for field in empty.schema if field.name.casefold() in used)
    if isinstance(source, T.TimestampType) and of_text and not re.fullmatch(r"[\w.`]+", time.source):
        return f"from: {time.source!r} reads text as a time by itself; give the text, and how it is written in `unit`"
    return None


def _read_back(spark: SparkSession, pattern: str) -> str | None:
    """Return what a format reads of the probe as the format writes it; None where it fails."""
    written = F.date_format(F.lit(_PROBE).cast("timestamp"), pattern)
    read = F.try_to_timestamp(written, F.lit(pattern)).cast("string").alias("read")
    try:
        (row,) = spark.range(1).select(read).collect()
    except (PySparkException, Py4JJavaError):
        return None
    return str(row["read"])
