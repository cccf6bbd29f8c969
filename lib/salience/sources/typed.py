"""Raw rows to typed rows, by the mapping."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_, or_

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from salience.sources.deliveries import Delivery
from salience.sources.fit import raw_schema
from salience.sources.guarded import guarded
from salience.sources.mapping import (
    BRONZE_TABLES,
    Dataset,
    DatasetMapping,
    InteractionsMapping,
    SourceMapping,
)
from salience.sources.times import bytes_of, event_time, utc_offset_min, with_date
from salience.tables.contract import data_type

RAW = "__raw"
"""Column of the typed rows that holds the whole raw row as a struct, for the payload."""
FIRST_OF_ROW = "__first_of_row"
"""Whether the event is the first that its raw row stands for: these count the raw rows."""
HAS_TIME = "__has_time"
"""Whether the row gives a time, readable or not."""
IS_UTF8 = "__is_utf8"
"""Whether all of the row's texts are UTF-8."""
LACKING = "__lacking"
"""Required raw columns that the row leaves empty."""
UNREADABLE = "__unreadable"
"""Columns of ours that the row gives a value for which their type cannot hold."""
NOTES = (RAW, FIRST_OF_ROW, HAS_TIME, IS_UTF8, LACKING, UNREADABLE)
"""Columns beside bronze's, for judging the row."""

_NESTED = (T.StructType, T.ArrayType, T.MapType, T.VariantType)
_FILE, _EMIT = "__file", "__emit"
_IDENTIFYING = (
    *("raw_user_id", "content_id", "raw_creator_id", "action", "event_time"),
    *("request_id", "mechanism_id", "reward_id"),
)
_JUDGED = ("violations", "payload")


def typed_rows(
    spark: SparkSession, mapping: SourceMapping, dataset: Dataset, deliveries: Sequence[Delivery]
) -> DataFrame:
    """Return the rows of all given deliveries with bronze's columns (but violations and payload) and `NOTES`.

    All are read together with the schema that the mapping declares, so the plan does not grow with the number of days.
    """
    part = mapping.datasets[dataset]
    schema = raw_schema(part)
    paths = [delivery.path for delivery in deliveries if delivery.files]
    if paths:
        # Looking for files by itself, Spark takes no folder's name for a column.
        rows = spark.read.schema(schema).option("recursiveFileLookup", "true").parquet(*paths)
        rows = rows.select(*(F.col(_quoted(name)) for name in schema.names), F.col("_metadata.file_path").alias(_FILE))
    else:
        rows = spark.createDataFrame([], T.StructType([*schema.fields, T.StructField(_FILE, T.StringType())]))
    texts = [_is_utf8(F.col(_quoted(f.name)), f.dataType) for f in schema]
    clean = [_as_utf8(F.col(_quoted(f.name)), f.dataType).alias(f.name) for f in schema]
    raw = rows.select(*clean, reduce(and_, texts, F.lit(True)).alias(IS_UTF8), _FILE)
    raw = raw.withColumn(RAW, F.struct(*(_quoted(name) for name in schema.names)))
    if isinstance(part, InteractionsMapping) and part.emit:
        raw = raw.select("*", F.posexplode(_emitted(part)).alias("__place", _EMIT))
        raw = raw.withColumn(FIRST_OF_ROW, F.col("__place") == 0)
    else:
        raw = raw.withColumn(FIRST_OF_ROW, F.lit(True))
    return _typed(raw, mapping, dataset, schema)


def _typed(raw: DataFrame, mapping: SourceMapping, dataset: Dataset, schema: T.StructType) -> DataFrame:
    part = mapping.datasets[dataset]
    columns, unreadable, is_utf8 = _mapped_columns(raw, dataset, part)
    has_time = F.lit(True)
    if isinstance(part, InteractionsMapping):
        columns["action"] = _action(part)
        source = raw.select(guarded(part.event_time.source)).schema[0].dataType
        time = event_time(part.event_time, source)
        columns["event_time"] = time
        has_time = guarded(part.event_time.source).isNotNull()
        if "utc_offset_min" not in part.columns:
            columns["utc_offset_min"] = utc_offset_min(part.event_time, time)
        if part.emit and "event_id" in part.columns:
            source_id = columns["event_id"]
            named = F.concat(source_id, F.lit("#"), F.col(_EMIT))
            # One that is empty or ends in a blank stays as it is, for the name would hide that from the rules.
            columns["event_id"] = F.when(source_id.rlike(r"^$|\s$"), source_id).otherwise(named)
    above = f"{mapping.platform}/{dataset}/"
    file = F.concat(F.lit(above), F.substring_index(_FILE, f"/{above}", -1))
    # All parts of a day's folder have a fixed width; a regular expression for each would cost more than all rules.
    day = (bytes_of(file, len(above) + start + 1, length) for start, length in mapping.partition.day_places())
    columns |= {
        "delivery_date": F.concat_ws("-", *day).cast("date"),
        "platform": F.lit(mapping.platform),
        "source_file": file,
        "row_hash": _row_hash(schema, is_emitted=_EMIT in raw.columns),
        HAS_TIME: has_time,
        IS_UTF8: F.col(IS_UTF8) & is_utf8,
        LACKING: names_where({name: F.col(_quoted(name)).isNull() for name in part.required}),
        UNREADABLE: names_where(unreadable),
    }
    kept = (RAW, FIRST_OF_ROW, *((_EMIT,) if _EMIT in raw.columns else ()))
    typed = raw.select(*kept, *(column.alias(name) for name, column in columns.items()))
    if dataset == "interactions":
        typed = typed.withColumn("event_date", F.col("event_time").cast("date"))
        if "event_id" not in part.columns:
            typed = typed.withColumn("event_id", _hash_of_identity(is_emitted=_EMIT in raw.columns))
    bronze_columns = [column.name for column in BRONZE_TABLES[dataset].columns if column.name not in _JUDGED]
    return typed.select(*bronze_columns, *NOTES)


def _mapped_columns(
    raw: DataFrame, dataset: Dataset, part: DatasetMapping
) -> tuple[dict[str, Column], dict[str, Column], Column]:
    """Return each mapped or missing column as its contract's type, where its value does not fit, whether all is UTF-8.

    A value that does not fit becomes null, or its default.
    """
    overrides = part.emit if isinstance(part, InteractionsMapping) else {}
    values, columns, unreadable, is_utf8 = {}, {}, {}, F.lit(True)
    wanted = [column for column in BRONZE_TABLES[dataset].columns if column.name not in (*_JUDGED, "event_date")]
    for column in wanted:
        text = part.columns.get(column.name)
        value = guarded(text) if text is not None else F.lit(None)
        for name, emitted in overrides.items():
            if column.name in emitted.columns:
                value = F.when(F.col(_EMIT) == name, guarded(emitted.columns[column.name])).otherwise(value)
        values[column.name] = value
    given = {field.name: field.dataType for field in raw.select(*(v.alias(n) for n, v in values.items())).schema}
    for column in wanted:
        value, is_text = values[column.name], column.type == "string"
        if column.type in ("timestamp", "date") and isinstance(given[column.name], T.StringType):
            typed = with_date(value).try_cast(column.type)
        else:
            typed = value.try_cast(column.type)
        if given[column.name] not in (data_type(column.type), T.NullType()) and not is_text:
            unreadable[column.name] = value.isNotNull() & typed.isNull()
        type_ = data_type(column.type)
        source = part.columns.get(column.name)
        is_raw_text = source is None or "string" in part.raw.get(source, "").lower()
        if _has_text(type_) and (overrides or not is_raw_text):
            # The raw texts are UTF-8 by now; what is made of bytes may not be.
            is_utf8, typed = is_utf8 & _is_utf8(typed, type_), _as_utf8(typed, type_)
        if column.name in part.defaults:
            typed = F.coalesce(typed, F.lit(part.defaults[column.name]).cast(column.type))
        columns[column.name] = typed
    return columns, unreadable, is_utf8


def _emitted(part: InteractionsMapping) -> Column:
    """Return the names of the events that the row stands for; for a row that stands for none, one without a name.

    That one has no action and is rejected for it: no row goes without a trace.
    """
    found = names_where({name: guarded(emitted.when or "true") for name, emitted in part.emit.items()})
    return F.when(F.size(found) == 0, F.array(F.lit(""))).otherwise(found)


def _action(part: InteractionsMapping) -> Column:
    if part.action is None:
        source, values = F.col(_EMIT), {name: emitted.action for name, emitted in part.emit.items()}
    else:
        source, values = guarded(part.action.source).cast("string"), part.action.values
    return F.element_at(F.create_map(*(F.lit(item) for pair in values.items() for item in pair)), source)


def _row_hash(schema: T.StructType, is_emitted: bool) -> Column:
    """Return the xxHash64 of every raw column and of the event's name.

    Nulls are hashed too, as flags: the function itself skips them, also those inside of structs and lists, which are
    therefore hashed as JSON. (Maps and variants it refuses.)
    """
    emit = [F.col(_EMIT)] if is_emitted else []
    values = [F.col(_quoted(field.name)) for field in schema]
    hashed = [
        F.to_json(F.struct(value)) if isinstance(field.dataType, _NESTED) else value
        for value, field in zip(values, schema, strict=True)
    ]
    return F.xxhash64(*hashed, *(value.isNull() for value in values), *emit)


def _hash_of_identity(is_emitted: bool) -> Column:
    parts = [F.coalesce(F.col(name).cast("string"), F.lit("")) for name in _IDENTIFYING]
    return F.sha2(F.concat_ws("\x1f", *parts, *([F.col(_EMIT)] if is_emitted else [])), 256)


def names_where(conditions: Mapping[str, Column]) -> Column:
    """Return the distinct names whose condition holds, in their order; a null condition does not.

    Nearly every row has none, and is told so by one compiled condition. Spark compiles no function that takes a lambda,
    nor what it is called with, so there is none here.
    """
    nothing = F.array().cast("array<string>")
    if not conditions:
        return nothing
    holds = {name: F.coalesce(condition, F.lit(False)) for name, condition in conditions.items()}
    names = F.array(*(F.when(condition, F.lit(name)) for name, condition in holds.items()))
    null = F.array(F.lit(None).cast("string"))
    return F.when(reduce(or_, holds.values()), F.array_except(names, null)).otherwise(nothing)


def _is_utf8(value: Column, type_: T.DataType) -> Column:
    """Return whether every text in a value is UTF-8; true for null."""
    checked = F.lit(True)
    if isinstance(type_, T.StringType):
        checked = F.is_valid_utf8(value)
    elif isinstance(type_, T.StructType):
        for field in type_:
            checked = checked & _is_utf8(value[field.name], field.dataType)
    elif isinstance(type_, T.ArrayType):
        checked = F.forall(value, _one(_is_utf8, type_.elementType))
    elif isinstance(type_, T.MapType):
        keys = F.forall(F.map_keys(value), _one(_is_utf8, type_.keyType))
        checked = keys & F.forall(F.map_values(value), _one(_is_utf8, type_.valueType))
    return F.coalesce(checked, F.lit(True)) if _has_text(type_) else F.lit(True)


def _as_utf8(value: Column, type_: T.DataType) -> Column:
    """Return the value with every byte that is not UTF-8 replaced: no reader of our tables could read it."""
    if not _has_text(type_):
        return value
    if isinstance(type_, T.StructType):
        fields = (_as_utf8(value[field.name], field.dataType).alias(field.name) for field in type_)
        return F.when(value.isNotNull(), F.struct(*fields))
    if isinstance(type_, T.ArrayType):
        return F.transform(value, _one(_as_utf8, type_.elementType))
    if isinstance(type_, T.MapType):
        keys = F.transform(F.map_keys(value), _one(_as_utf8, type_.keyType))
        return F.map_from_arrays(keys, F.transform(F.map_values(value), _one(_as_utf8, type_.valueType)))
    return F.make_valid_utf8(value)


def _one(check: Callable[[Column, T.DataType], Column], type_: T.DataType) -> Callable[[Column], Column]:
    """Return the check as a function of one element of the type."""
    return lambda element: check(element, type_)


def _has_text(type_: T.DataType) -> bool:
    return "string" in type_.simpleString()


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
