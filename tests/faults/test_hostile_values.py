"""Hostile values read by themselves: the first and last years, clocks that change, ids and numbers of odd types."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F
from tests.conftest import CONF

from salience.interactions.bronze_rows import bronze_rows
from salience.interactions.keys import find_key
from salience.settings import load_settings
from salience.sources.deliveries import find_deliveries
from salience.sources.mapping import SourceMapping

pytestmark = pytest.mark.integration


@pytest.fixture
def judged(spark, tmp_path):
    """Deliver a table on 2 November 2026 and return its judged rows, by the raw types and mapped columns given."""

    def run(rows, time, raw, day="2026-11-02", columns=None, **options):
        columns = {"event_id": "id", "raw_user_id": "who", "content_id": "item"} | (columns or {})
        part = {"raw": raw, "columns": columns, "action": {"from": "'like'", "values": {"like": "like"}}}
        mapping = SourceMapping.model_validate({"platform": "lab", "interactions": part | {"event_time": time}})
        folder = tmp_path / "lab" / "interactions" / f"dt={day}"
        folder.mkdir(parents=True)
        pq.write_table(rows, folder / "part-0.parquet", **options)
        (folder / "_SUCCESS").touch()
        days = [date.fromisoformat(day)]
        found = find_deliveries(spark, str(tmp_path), mapping, "interactions", days)
        assert [delivery.problem for delivery in found] == [None]
        settings = load_settings(CONF, "local", {}, []).clean
        rows = bronze_rows(spark, mapping, "interactions", find_key("lab", "local", {}), found, settings)
        # As texts: Python has no year 0, where pyspark would look for the first day's zone.
        named = rows.select("event_id", F.col("event_time").cast("string").alias("at"), "violations", "*")
        return {row["event_id"]: row for row in named.drop("event_time").collect()}

    return run


IDS = {"id": "string", "who": "string", "item": "string"}


def lab_rows(times, **columns):
    size = len(times)
    ids = {"id": [f"e{n}" for n in range(size)], "who": ["w"] * size, "item": ["p"] * size}
    return pa.table({**ids, "t": times, **columns})


@pytest.mark.parametrize(
    ("type_", "options"),
    [
        (pa.timestamp("us", "UTC"), {}),
        (pa.timestamp("us", "UTC"), {"store_schema": False}),
        (pa.timestamp("us"), {"use_deprecated_int96_timestamps": True}),
    ],
    ids=["microseconds", "microseconds without metadata", "INT96"],
)
def test_the_first_and_the_last_year_are_read_and_rejected(judged, type_, options):
    times = [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), datetime(1890, 1, 1), datetime(2026, 11, 2, 10)]
    raw = IDS | {"t": "timestamp"}
    rows = judged(lab_rows(pa.array(times, type_)), {"from": "t", "unit": "iso8601"}, raw, **options)
    assert [(row["at"], row["violations"]) for row in rows.values()] == [
        ("0001-01-01 00:00:00", ["too_late"]),
        ("9999-12-31 23:59:59", ["future_event"]),
        ("1890-01-01 00:00:00", ["too_late"]),
        ("2026-11-02 10:00:00", []),
    ]


def test_times_in_nanoseconds_come_as_numbers_and_are_right_to_the_microsecond(judged):
    at = int(datetime(2026, 11, 2, 10, tzinfo=UTC).timestamp()) * 10**9 + 123_456_789
    times = pa.array([at, -1, None], pa.timestamp("ns", "UTC"))
    rows = judged(lab_rows(times), {"from": "t", "unit": "nanoseconds"}, IDS | {"t": "bigint"}, version="2.6")
    assert [(row["at"], row["violations"]) for row in rows.values()] == [
        ("2026-11-02 10:00:00.123456", []),
        ("1969-12-31 23:59:59.999999", ["too_late"]),
        (None, ["missing_time"]),
    ]


def test_unsigned_and_decimal_ids_keep_every_digit(judged):
    rows = pa.table(
        {
            "id": pa.array([2**64 - 1, 0], pa.uint64()),
            "who": pa.array([2**32 - 1, 0], pa.uint32()),
            "item": pa.array([Decimal(10**38 - 1), Decimal(0)], pa.decimal128(38, 0)),
            "t": ["2026-11-02T10:00:00Z"] * 2,
        }
    )
    raw = {"id": "decimal(20,0)", "who": "bigint", "item": "decimal(38,0)", "t": "string"}
    found = judged(rows, {"from": "t", "unit": "iso8601"}, raw)
    ids = [(name, row["raw_user_id"], row["content_id"], row["violations"]) for name, row in found.items()]
    assert ids == [("18446744073709551615", "4294967295", "9" * 38, []), ("0", "0", "0", [])]


@pytest.mark.parametrize(
    ("day", "local", "at", "offset"),
    [
        ("2026-03-29", "2026-03-29 01:59:59", "2026-03-29 00:59:59", 60),
        ("2026-03-29", "2026-03-29 02:30:00", "2026-03-29 01:30:00", 120),  # skipped: read as one hour later
        ("2026-03-29", "2026-03-29 03:00:00", "2026-03-29 01:00:00", 120),
        ("2026-10-25", "2026-10-25 01:59:59", "2026-10-24 23:59:59", 120),
        ("2026-10-25", "2026-10-25 02:30:00", "2026-10-25 00:30:00", 120),  # twice: read as the first, summer time
        ("2026-10-25", "2026-10-25 03:00:00", "2026-10-25 02:00:00", 60),
    ],
)
def test_a_local_time_is_what_zoneinfo_says_also_where_clocks_change(judged, day, local, at, offset):
    time = {"from": "t", "unit": "text", "format": "yyyy-MM-dd HH:mm:ss", "zone": "Europe/Berlin"}
    (row,) = judged(lab_rows([local]), time, IDS | {"t": "string"}, day=day).values()
    berlin = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert berlin.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") == at
    assert (row["at"], row["utc_offset_min"], row["violations"]) == (at, offset, [])


@pytest.mark.parametrize(
    ("format_", "texts"),
    [
        ("yyyy-MM-dd HH:mm:ss", ["2023-02-29 10:00:00", "2026-11-02 24:00:00", "2026-11-02 23:59:60", "10:00", ""]),
        ("yyyy-MM-dd", ["2023-02-29", "2026-13-01", "10:00"]),
    ],
)
def test_a_text_that_names_no_time_is_unparseable_by_a_format_too(judged, format_, texts):
    time = {"from": "t", "unit": "text", "format": format_, "zone": "Europe/Berlin"}
    rows = judged(lab_rows(texts), time, IDS | {"t": "string"})
    assert [(row["at"], row["violations"]) for row in rows.values()] == [(None, ["unparseable_time"])] * len(texts)
