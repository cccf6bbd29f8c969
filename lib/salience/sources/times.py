"""When an event happened, as its log gives it: numbers, ISO 8601 or other texts, with an offset, a zone or neither."""

import re
from decimal import Decimal

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from salience.sources.guarded import guarded
from salience.sources.mapping import TimeMapping

_MICROS = 1_000_000
_PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
_MAX_S = 253_402_300_799
"""Seconds from 1970 to the end of the year 9999, beyond which no timestamp is believed."""


def event_time(part: TimeMapping, source: T.DataType) -> Column:
    """Return the time in UTC.

    Args:
        part: the mapping.
        source: the type of what the log gives: a timestamp that is adjusted to UTC may be shifted by no zone.
    """
    is_text, is_instant = isinstance(source, T.StringType), isinstance(source, T.TimestampType)
    raw = guarded(part.source)
    if part.unit in _PER_SECOND:
        per_second = _PER_SECOND[part.unit]
        if isinstance(source, T.IntegralType):
            return _time_of_integer(raw.cast("bigint"), per_second)
        number = raw.try_cast("decimal(38,9)")
        # As a decimal, since nanoseconds of such years are beyond a bigint.
        limit = Decimal(_MAX_S * per_second)
        micros = number * (_MICROS // per_second) if per_second <= _MICROS else number / (per_second // _MICROS)
        return F.when(number.between(-limit, limit), F.timestamp_micros(F.floor(micros).cast("bigint")))
    if part.unit == "text":
        time = F.try_to_timestamp(raw.cast("string"), F.lit(part.format))
    elif is_text:
        time = with_date(raw).try_cast("timestamp")
    else:
        time = raw.try_cast("timestamp")
    if part.zone is None or is_instant or _format_has_offset(part):
        return time
    local = F.to_utc_timestamp(time, part.zone)
    if part.unit == "iso8601" and is_text:
        return F.when(_has_offset(raw), time).otherwise(local)
    return local


def _time_of_integer(number: Column, per_second: int) -> Column:
    """Return the time of a whole number since 1970, rounded down to microseconds."""
    if per_second <= _MICROS:
        is_believed = number.between(-_MAX_S * per_second, _MAX_S * per_second)
        return F.when(is_believed, F.timestamp_micros(number * (_MICROS // per_second)))
    # Of nanoseconds a bigint holds no year that is not believed; `div` rounds up below zero.
    per_micro = F.lit(per_second // _MICROS)
    below = F.when((number < 0) & (number % per_micro != 0), 1).otherwise(0)
    return F.timestamp_micros(F.call_function("div", number, per_micro) - below)


def utc_offset_min(part: TimeMapping, time: Column) -> Column:
    """Return the offset that the text itself gives, else the zone's offset at that time, else null."""
    text = guarded(part.source).cast("string")
    pattern = _OFFSET_AT_END if _format_has_offset(part) else _OFFSET
    sign = F.when(F.regexp_extract(text, pattern, 1) == "-", -1).otherwise(1)
    given = sign * (
        F.regexp_extract(text, pattern, 2).try_cast("int") * 60
        + F.coalesce(F.regexp_extract(text, pattern, 3).try_cast("int"), F.lit(0))
    )
    given = F.coalesce(given, F.when(text.endswith("Z"), F.lit(0)))
    may_give = part.unit == "iso8601" or _format_has_offset(part)
    offset = F.when(F.lit(may_give) & text.rlike(rf"(Z$)|({pattern})"), given)
    if part.unit == "iso8601":
        # As nearly all logs write it, +08:00 behind a time; the expressions above read whatever else there is.
        hours, minutes = (bytes_of(text, start, 2).try_cast("int") for start in (-5, -2))
        signed = F.when(bytes_of(text, -6, 1) == "-", -1).otherwise(1)
        is_usual = _is_iso(text) & bytes_of(text, -6, 1).isin("+", "-") & (bytes_of(text, -3, 1) == ":")
        usual = F.when(is_usual & (bytes_of(text, 14, 1) == ":"), signed * (hours * 60 + minutes))
        offset = F.coalesce(usual, offset)
    if part.zone is not None:
        shifted = F.unix_timestamp(F.from_utc_timestamp(time, part.zone)) - F.unix_timestamp(time)
        offset = F.coalesce(offset, (shifted / 60))
    return offset.cast("int")


_OFFSET = r"[T ]\d{2}:.*([+-])(\d{2})(?::?(\d{2}))?$"
_OFFSET_AT_END = r"([+-])(\d{2})(?::?(\d{2}))?$"


def _format_has_offset(part: TimeMapping) -> bool:
    """Return whether the text's format names an offset or a zone: letters outside of quotes, or the Z of UTC."""
    if part.format is None:
        return False
    return part.format.endswith("'Z'") or re.search("[OVXZxz]", re.sub("'[^']*'", "", part.format)) is not None


def with_date(text: Column) -> Column:
    """Return the text where it begins with a year: Spark takes a bare time of day for one of the day of the run."""
    return F.when(_is_iso(text) | text.rlike(r"^\s*\d{4}"), text)


def _is_iso(text: Column) -> Column:
    """Return whether a text that can be read as a time at all begins with its day, like 2026-11-02.

    Much cheaper than a regular expression.
    """
    return (bytes_of(text, 5, 1) == "-") & (bytes_of(text, 8, 1) == "-")


def bytes_of(text: Column, start: int, length: int) -> Column:
    """Return a part of a text by bytes, from 1, or from the end below 0: looking for characters walks over all."""
    return F.substring(text.cast("string").cast("binary"), start, length).cast("string")


def _has_offset(text: Column) -> Column:
    """Return whether anything stands behind an ISO time of day that says where it is meant: Z, an offset, a zone."""
    return text.cast("string").rlike(r"\d{1,2}:\d{1,2}[\d:.]*\s*[A-Za-z+-]")
