"""Raw rows to typed rows, by the mapping."""

import re
from collections.abc import Sequence
from functools import reduce

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from salience.sources.deliveries import Delivery
from salience.sources.mapping import (
    BRONZE_TABLES,
    Dataset,
    DatasetMapping,
    InteractionsMapping,
    SourceMapping,
    TimeMapping,
)

RAW = "__raw"
"""Column of the typed rows that holds the whole raw row as a struct, for judging and for the payload."""

_FILE = "__file"
_IDENTIFYING = ("raw_user_id", "content_id", "action", "event_time")
_MAX_MS = 253_402_300_800_000
"""Milliseconds from 1970 to the end of the year 9999, beyond which no timestamp is believed."""


def typed_rows(
    spark: SparkSession, mapping: SourceMapping, dataset: Dataset, deliveries: Sequence[Delivery]
) -> DataFrame:
    """Return the rows of all given deliveries with bronze's columns (but violations and payload) and `RAW`.

    Deliveries of equal schema are read together, so the plan does not grow with the number of days.
    """
    by_schema: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        if delivery.schema is not None:
            by_schema.setdefault(delivery.schema.json(), []).append(delivery)
    frames = []
    for group in by_schema.values():
        assert group[0].schema is not None
        rows = spark.read.schema(group[0].schema).parquet(*(delivery.path for delivery in group))
        raw = rows.select("*", F.struct("*").alias(RAW), F.col("_metadata.file_path").alias(_FILE))
        frames.append(_typed(raw, mapping, dataset, group[0].schema))
    if not frames:
        nothing = T.StructType([*_typed_schema(dataset).fields, T.StructField(RAW, T.StructType())])
        return spark.createDataFrame([], nothing)
    return reduce(DataFrame.unionByName, frames)


def find_mapping_problem(
    spark: SparkSession, mapping: SourceMapping, dataset: Dataset, schema: T.StructType
) -> str | None:
    """Return what keeps the mapping from being applied to rows of this schema; None if nothing does."""
    empty = spark.createDataFrame([], schema)
    part = mapping.datasets[dataset]
    types = {column.name: column.type for column in BRONZE_TABLES[dataset].columns}
    expressions = {f"columns.{name}": (text, types[name]) for name, text in part.columns.items()}
    if isinstance(part, InteractionsMapping):
        time = "timestamp" if part.event_time.unit == "iso8601" else "decimal(38,6)"
        expressions |= {
            "action.from": (part.action.source, "string"),
            "event_time.from": (part.event_time.source, time),
        }
    for key, (text, type_) in expressions.items():
        where = f"conf/sources/{mapping.platform}.yaml {dataset}.{key}"
        try:
            # Analysing it is the check. Beside the raw columns, nothing fits that makes more or fewer rows of them.
            empty.select("*", F.expr(text).try_cast(type_)).schema  # noqa: B018
        except ParseException:
            return f"{where}: {text!r} is not a Spark SQL expression"
        except AnalysisException as error:
            missing = (error.getMessageParameters() or {}).get("objectName")
            if missing:
                return f"{where}: column {missing} is not in the log, which has {', '.join(schema.names)}"
            return f"{where}: {str(error).splitlines()[0]}"
    return None


def _typed(raw: DataFrame, mapping: SourceMapping, dataset: Dataset, schema: T.StructType) -> DataFrame:
    part = mapping.datasets[dataset]
    columns = _mapped_columns(dataset, part)
    if isinstance(part, InteractionsMapping):
        columns["action"] = _action(part)
        source = raw.select(F.expr(part.event_time.source)).schema[0].dataType
        time = _event_time(part.event_time, is_instant=isinstance(source, T.TimestampType))
        columns["event_time"] = time
        if "utc_offset_min" not in part.columns:
            columns["utc_offset_min"] = _utc_offset_min(part.event_time, time)
    day = F.regexp_extract(_FILE, rf"/{re.escape(mapping.partition)}=(\d{{4}}-\d{{2}}-\d{{2}})/", 1)
    columns |= {
        "delivery_date": day.cast("date"),
        "platform": F.lit(mapping.platform),
        "source_file": _below(F.col(_FILE), f"/{mapping.platform}/{dataset}/"),
        "row_hash": _row_hash(schema),
    }
    typed = raw.select(RAW, *(column.alias(name) for name, column in columns.items()))
    if dataset == "interactions":
        typed = typed.withColumn("event_date", F.col("event_time").cast("date"))
        if "event_id" not in part.columns:
            typed = typed.withColumn("event_id", _hash_of_identity())
    return typed.select(*(field.name for field in _typed_schema(dataset)), RAW)


def _typed_schema(dataset: Dataset) -> T.StructType:
    return T.StructType([f for f in BRONZE_TABLES[dataset].schema.fields if f.name not in ("violations", "payload")])


def _mapped_columns(dataset: Dataset, part: DatasetMapping) -> dict[str, Column]:
    """Return each mapped or missing column as its contract's type; a value that does not fit becomes null."""
    columns = {}
    for column in BRONZE_TABLES[dataset].columns:
        text = part.columns.get(column.name)
        value = F.expr(text) if text is not None else F.lit(None)
        columns[column.name] = value.try_cast(column.type)
    return {name: column for name, column in columns.items() if name not in ("violations", "payload", "event_date")}


def _action(part: InteractionsMapping) -> Column:
    pairs = [F.lit(item) for pair in part.action.values.items() for item in pair]
    return F.element_at(F.create_map(*pairs), F.expr(part.action.source).cast("string"))


def _event_time(part: TimeMapping, is_instant: bool) -> Column:
    """Return the time in UTC.

    Args:
        part: the mapping.
        is_instant: whether the column is no text but a timestamp that is adjusted to UTC, which no zone may shift.
    """
    raw = F.expr(part.source)
    if part.unit == "iso8601":
        time = raw.try_cast("timestamp")
        if part.zone is None or is_instant:
            return time
        local = F.to_utc_timestamp(time, part.zone)
        return F.when(_has_offset(raw), time).otherwise(local)
    milliseconds = raw.try_cast("decimal(38,6)") * (1000 if part.unit == "seconds" else 1)
    believable = milliseconds.between(-_MAX_MS, _MAX_MS)
    return F.when(believable, F.timestamp_millis(milliseconds.try_cast("bigint")))


def _utc_offset_min(part: TimeMapping, time: Column) -> Column:
    """Return the offset that the text itself gives, else the zone's offset at that time, else null."""
    text = F.expr(part.source).cast("string")
    sign = F.when(F.regexp_extract(text, _OFFSET, 1) == "-", -1).otherwise(1)
    given = sign * (
        F.regexp_extract(text, _OFFSET, 2).try_cast("int") * 60
        + F.coalesce(F.regexp_extract(text, _OFFSET, 3).try_cast("int"), F.lit(0))
    )
    offset = F.when(F.lit(part.unit == "iso8601") & _has_offset(text), F.coalesce(given, F.lit(0)))
    if part.zone is not None:
        shifted = F.unix_timestamp(F.from_utc_timestamp(time, part.zone)) - F.unix_timestamp(time)
        offset = F.coalesce(offset, (shifted / 60))
    return offset.cast("int")


_OFFSET = r"[T ]\d{2}:.*([+-])(\d{2})(?::?(\d{2}))?$"


def _has_offset(text: Column) -> Column:
    return text.cast("string").rlike(rf"(Z$)|({_OFFSET})")


def _row_hash(schema: T.StructType) -> Column:
    """Return the xxHash64 of every raw column. Its nulls are hashed too, as flags: the function itself skips them."""
    values = [F.col(f"`{name}`") for name in schema.names]
    if "map<" in schema.simpleString():
        # Maps have no order, so Spark refuses to hash them.
        return F.xxhash64(F.to_json(RAW))
    return F.xxhash64(*values, *(value.isNull() for value in values))


def _hash_of_identity() -> Column:
    parts = [F.coalesce(F.col(name).cast("string"), F.lit("")) for name in _IDENTIFYING]
    return F.sha2(F.concat_ws("\x1f", *parts), 256)


def _below(path: Column, folder: str) -> Column:
    return F.concat(F.lit(folder[1:]), F.substring_index(path, folder, -1))
