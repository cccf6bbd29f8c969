"""Raw rows to typed rows. Cases that need a mapping of their own are read in one Spark job."""

from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from tests.logs import deliver_as_mapped
from tests.sources.rows import DAY, event, mapped

from salience.sources.deliveries import find_deliveries
from salience.sources.mapping import SourceMapping
from salience.sources.typed import FIRST_OF_ROW, HAS_TIME, IS_UTF8, LACKING, UNREADABLE, typed_rows

pytestmark = pytest.mark.integration

EMIT = mapped(
    columns={"event_id": "id", "position": "slot"},
    raw={"id": "string", "slot": "int", "clicked": "int", "shown": "boolean", "clicked_at": "int"},
    emit={
        "impression": {"action": "impression", "when": "shown"},
        "click": {"action": "click", "when": "clicked = 1", "columns": {"position": "NULL", "dwell_s": "clicked_at"}},
    },
)
EMITTED = [
    event(id="both", slot=3, shown=True, clicked=1, clicked_at=7),
    event(id="shown", slot=4, shown=True, clicked=0),
    event(id="click", slot=5, shown=False, clicked=1, clicked_at=9),
    event(id="none", slot=6, shown=None, clicked=None),
    event(id=None, slot=7, shown=True, clicked=0),
]


def test_a_row_stands_for_the_events_whose_condition_holds_each_with_its_own_id_and_columns(typed):
    rows = typed(EMIT, EMITTED).select("event_id", "action", "position", "dwell_s", FIRST_OF_ROW, "row_hash").collect()
    assert sorted((tuple(row)[:5] for row in rows), key=str) == [
        ("both#click", "click", None, Decimal(7), False),
        ("both#impression", "impression", 3, None, True),
        ("click#click", "click", None, Decimal(9), True),
        # A row that stands for nothing leaves a trace: no action, so it is rejected.
        ("none#", None, 6, None, True),
        ("shown#impression", "impression", 4, None, True),
        (None, "impression", 7, None, True),
    ]
    assert len({row["row_hash"] for row in rows}) == 6


def test_events_of_one_row_have_different_ids_where_the_log_gives_none(typed):
    emit = {"seen": {"action": "impression"}, "pressed": {"action": "like", "when": "post = 'p1'"}}
    rows = typed(mapped(emit=emit), [event(), event(), event(post="p2"), event(uid="bob")]).collect()
    assert len(rows) == 7
    ids = [row["event_id"] for row in rows]
    assert all(len(event_id) == 64 for event_id in ids) and len(set(ids)) == 5


def test_a_default_stands_where_the_log_gives_nothing_or_nothing_readable(typed):
    columns = {"position": "slot", "paid": "ad", "dwell_s": "seen", "currency": "NULL"}
    defaults = {"position": 9, "paid": False, "dwell_s": "1.5", "currency": "CNY", "channel": "app"}
    raw = {"slot": "string", "ad": "boolean", "seen": "string"}
    rows = [event(slot="2", ad=True, seen="0.25"), event(), event(slot="two", ad=False, seen="")]
    found = typed(mapped(columns=columns, raw=raw, defaults=defaults), rows)
    got = found.select("position", "paid", "dwell_s", "currency", "channel", UNREADABLE).collect()
    assert sorted(tuple(row) for row in got) == [
        (2, True, Decimal("0.250"), "CNY", "app", []),
        (9, False, Decimal("1.500"), "CNY", "app", []),
        (9, False, Decimal("1.500"), "CNY", "app", ["dwell_s", "position"]),
    ]


SHANGHAI, BERLIN = {"zone": "Asia/Shanghai"}, {"zone": "Europe/Berlin"}
TIMES = [
    # unit, raw type, value, UTC, offset in minutes
    ({"unit": "seconds"}, "bigint", 1_762_077_600, "2025-11-02 10:00:00", None),
    ({"unit": "seconds", **SHANGHAI}, "bigint", 1_762_077_600, "2025-11-02 10:00:00", 480),
    ({"unit": "seconds"}, "double", 1_762_077_600.25, "2025-11-02 10:00:00.25", None),
    ({"unit": "seconds"}, "string", "1762077600.000001", "2025-11-02 10:00:00.000001", None),
    ({"unit": "seconds"}, "bigint", 1_762_077_600_000_000, None, None),
    ({"unit": "seconds"}, "bigint", -1, "1969-12-31 23:59:59", None),
    ({"unit": "seconds"}, "string", "soon", None, None),
    ({"unit": "milliseconds"}, "bigint", 1_762_077_600_123, "2025-11-02 10:00:00.123", None),
    ({"unit": "milliseconds"}, "bigint", -1, "1969-12-31 23:59:59.999", None),
    ({"unit": "microseconds"}, "bigint", 1_762_077_600_123_456, "2025-11-02 10:00:00.123456", None),
    ({"unit": "nanoseconds"}, "bigint", 1_762_077_600_123_456_789, "2025-11-02 10:00:00.123456", None),
    ({"unit": "nanoseconds"}, "bigint", 2**63 - 1, "2262-04-11 23:47:16.854775", None),
    ({"unit": "nanoseconds"}, "bigint", -(2**63), "1677-09-21 00:12:43.145224", None),
    ({"unit": "nanoseconds"}, "bigint", -1, "1969-12-31 23:59:59.999999", None),
    ({"unit": "nanoseconds"}, "bigint", -1000, "1969-12-31 23:59:59.999999", None),
    ({"unit": "text", "format": "yyyyMMddHHmmss"}, "string", "20261102100000", "2026-11-02 10:00:00", None),
    ({"unit": "text", "format": "yyyyMMddHHmmss", **SHANGHAI}, "string", "20261102070000", "2026-11-01 23:00:00", 480),
    ({"unit": "text", "format": "dd.MM.yyyy HH:mm", **BERLIN}, "string", "02.11.2026 10:00", "2026-11-02 09:00:00", 60),
    (
        {"unit": "text", "format": "dd.MM.yyyy HH:mm", **BERLIN},
        "string",
        "02.07.2026 10:00",
        "2026-07-02 08:00:00",
        120,
    ),
    ({"unit": "text", "format": "dd.MM.yyyy HH:mm"}, "string", "2026-11-02 10:00", None, None),
    ({"unit": "text", "format": "yyyyMMddHHmmss"}, "bigint", 20261102100000, "2026-11-02 10:00:00", None),
    (
        {"unit": "text", "format": "yyyy-MM-dd HH:mm:ss Z", **BERLIN},
        "string",
        "2026-11-02 10:00:00 -0500",
        "2026-11-02 15:00:00",
        -300,
    ),
    (
        {"unit": "text", "format": "dd/MMM/yyyy:HH:mm:ss Z", **BERLIN},
        "string",
        "02/Nov/2026:10:00:00 +0530",
        "2026-11-02 04:30:00",
        330,
    ),
    # What stands behind or before the time of day is no offset where the format knows none.
    (
        {"unit": "text", "format": "yyyy-MM-dd hh:mm:ss a", **SHANGHAI},
        "string",
        "2026-11-02 09:00:00 PM",
        "2026-11-02 13:00:00",
        480,
    ),
    (
        {"unit": "text", "format": "HH:mm:ss MMM dd yyyy", **SHANGHAI},
        "string",
        "21:00:00 Nov 02 2026",
        "2026-11-02 13:00:00",
        480,
    ),
    (
        {"unit": "text", "format": "HH:mm-dd/MM/yyyy", **SHANGHAI},
        "string",
        "21:00-02/11/2026",
        "2026-11-02 13:00:00",
        480,
    ),
    (
        {"unit": "text", "format": "yyyy-MM-dd'T'HH:mm:ss'Z'", **SHANGHAI},
        "string",
        "2026-11-02T10:00:00Z",
        "2026-11-02 10:00:00",
        0,
    ),
    ({"unit": "iso8601"}, "string", "2026-11-02T10:00:00", "2026-11-02 10:00:00", None),
    ({"unit": "iso8601"}, "string", "2026-11-02T10:00:00+08:00", "2026-11-02 02:00:00", 480),
    ({"unit": "iso8601"}, "string", "10:00:00", None, None),
    ({"unit": "iso8601"}, "string", "now", None, None),
    ({"unit": "iso8601", **BERLIN}, "string", "2026-11-02T10:00:00+08:00", "2026-11-02 02:00:00", 480),
    ({"unit": "iso8601", **BERLIN}, "string", "2026-11-02 10:00:00+08:00", "2026-11-02 02:00:00", 480),
    ({"unit": "iso8601", **BERLIN}, "string", "2026-11-02T10:00:00+0530", "2026-11-02 04:30:00", 330),
    ({"unit": "iso8601", **BERLIN}, "string", "2026-11-02T10:00:00-08", "2026-11-02 18:00:00", -480),
    ({"unit": "iso8601", **BERLIN}, "string", "2026-11-02T10:00:00Z", "2026-11-02 10:00:00", 0),
    ({"unit": "iso8601", **BERLIN}, "string", "2026-11-02 10:00:00", "2026-11-02 09:00:00", 60),
    ({"unit": "iso8601", **BERLIN}, "string", "2026-11-02T10:00:00.25", "2026-11-02 09:00:00.25", 60),
    # A timestamp column is in UTC already, one without a zone is local.
    ({"unit": "iso8601", **BERLIN}, "timestamp", datetime(2026, 11, 2, 10, tzinfo=UTC), "2026-11-02 10:00:00", 60),
    ({"unit": "iso8601", **BERLIN}, "timestamp_ntz", datetime(2026, 11, 2, 10), "2026-11-02 09:00:00", 60),
    ({"unit": "iso8601", **SHANGHAI}, "date", date(2026, 11, 2), "2026-11-01 16:00:00", 480),
]


def test_times_of_every_unit_become_utc_with_the_offset_that_is_known(typed):
    read = []
    for n, (unit, type_, value, *_) in enumerate(TIMES):
        rows = typed(mapped(f"p{n}", raw={"ts": type_}, unit=unit), [event(ts=value), event(ts=None)])
        text = F.date_format("event_time", "yyyy-MM-dd HH:mm:ss.SSSSSS")
        read.append(rows.select(F.lit(n).alias("n"), text.alias("at"), "utc_offset_min", HAS_TIME))
    found = reduce(DataFrame.union, read).collect()
    empty = [tuple(row)[1:] for row in found if not row[HAS_TIME]]
    assert empty == [(None, None, False)] * len(TIMES)
    given = {row["n"]: (row["at"], row["utc_offset_min"]) for row in found if row[HAS_TIME]}
    for n, (unit, type_, value, at, offset) in enumerate(TIMES):
        wanted = None if at is None else f"{at}{'.' if '.' not in at else ''}".ljust(26, "0")
        assert given[n] == (wanted, offset), f"{value!r} ({type_}) read as {unit}"


def test_json_and_nested_payloads_are_read_by_expressions(typed):
    raw = {
        "payload": "string",
        "ctx": "struct<device: struct<os: string>, pos: int>",
        "kv": "map<string,string>",
        "parts": "array<struct<k: string, v: double>>",
    }
    columns = {
        "device": "ctx.device.os",
        "position": "ctx.pos + 1",
        "channel": "kv['from']",
        "rating": "get(filter(parts, p -> p.k = 'stars'), 0).v",
        "dwell_s": "get_json_object(payload, '$.read.seconds')",
        "request_id": "get_json_object(payload, '$.ids[1]')",
        "campaign_id": "element_at(from_json(payload, 'utm map<string,string>').utm, 'campaign')",
    }
    payload = '{"read": {"seconds": 2.5}, "ids": ["a", "b"], "utm": {"campaign": "c1"}}'
    full = event(
        payload=payload,
        ctx={"device": {"os": "ios"}, "pos": 2},
        kv=[("from", "search")],
        parts=[{"k": "stars", "v": 4.5}],
    )
    broken = event(uid="bob", payload="{not json", ctx={"device": None, "pos": None}, kv=[], parts=[])
    rows = typed(mapped(columns=columns, raw=raw), [full, broken, event(uid="cat")])
    got = {row["raw_user_id"]: row for row in rows.collect()}
    assert {name: got["ann"][name] for name in columns} == {
        **{"device": "ios", "position": 3, "channel": "search", "rating": 4.5, "dwell_s": Decimal("2.500")},
        **{"request_id": "b", "campaign_id": "c1"},
    }
    for user in ("bob", "cat"):
        assert [got[user][name] for name in columns] == [None] * len(columns), user
        assert got[user][UNREADABLE] == []
    assert len({row["row_hash"] for row in got.values()}) == 3


def test_values_that_no_type_holds_are_named_and_required_columns_that_are_empty_too(typed):
    columns = {"position": "slot", "rating": "stars", "value": "price", "paid": "ad", "utc_offset_min": "tz"}
    raw = dict.fromkeys(("slot", "stars", "price", "ad"), "string") | {"tz": "bigint"}
    rows = [
        event(uid="good", slot="1", stars="4.5", price="1.99", ad="true", tz=480),
        event(uid="words", slot="one", stars="many", price="1,99", ad="perhaps", tz=2**40),
        event(uid="blank", slot="", stars=" ", price="", ad="", tz=None, post=""),
        event(uid="empty", post=None),
        event(uid="fraction", slot="1.9", stars="NaN", price="1.23456", ad="1", tz=-480),
    ]
    found = typed(mapped(columns=columns, raw=raw, required=["slot", "post"]), rows)
    got = {row["raw_user_id"]: row for row in found.select("raw_user_id", *columns, UNREADABLE, LACKING).collect()}
    assert tuple(got["good"])[1:] == (1, 4.5, Decimal("1.9900"), True, 480, [], [])
    for user in ("words", "blank"):
        assert tuple(got[user])[1:6] == (None,) * 5
    assert sorted(got["words"][UNREADABLE]) == ["paid", "position", "rating", "utc_offset_min", "value"]
    assert (sorted(got["blank"][UNREADABLE]), got["blank"][LACKING]) == (["paid", "position", "rating", "value"], [])
    assert (got["empty"][UNREADABLE], sorted(got["empty"][LACKING])) == ([], ["post", "slot"])
    assert got["fraction"]["value"] == Decimal("1.2346") and got["fraction"]["paid"] is True


def test_a_text_that_is_no_utf8_is_told_and_made_readable_wherever_it_lies(spark, tmp_path):
    mapping = mapped(
        raw={"kv": "map<string,string>", "ctx": "struct<os: array<string>>"}, columns={"device": "ctx.os[0]"}
    )
    bad = b"caf\xe9".decode("latin-1").encode("latin-1")
    rows = [
        {"uid": b"ann", "post": b"p1", "ts": b"2026-11-02", "kv": [(b"a", bad)], "ctx": {"os": [b"ios"]}},
        {"uid": b"bob", "post": b"p1", "ts": b"2026-11-02", "kv": None, "ctx": {"os": [bad]}},
        {"uid": bad, "post": b"p1", "ts": b"2026-11-02", "kv": None, "ctx": None},
        {"uid": "né".encode(), "post": b"p1", "ts": b"2026-11-02", "kv": [], "ctx": {"os": [None]}},
    ]
    folder = deliver_as_mapped(tmp_path, mapping, "interactions", DAY, [])
    bytes_ = pa.binary()
    texts = [(name, bytes_) for name in ("uid", "post", "ts")]
    nested = [("kv", pa.map_(bytes_, bytes_)), ("ctx", pa.struct([("os", pa.list_(bytes_))]))]
    binary = pa.schema([*texts, *nested])
    table = pa.Table.from_pylist(rows, schema=binary)
    strings = deliver_as_mapped(tmp_path / "types", mapping, "interactions", DAY, [])
    pq.write_table(table.cast(pq.read_schema(strings / "part-0.parquet"), safe=False), folder / "part-0.parquet")
    (found,) = find_deliveries(spark, str(tmp_path), mapping, "interactions", [date.fromisoformat(DAY)])
    got = typed_rows(spark, mapping, "interactions", [found]).select("raw_user_id", "device", IS_UTF8).collect()
    assert sorted(tuple(row) for row in got) == [
        ("ann", "ios", False),
        ("bob", "caf�", False),
        ("caf�", None, False),
        ("né", None, True),
    ]


def test_a_row_knows_its_file_its_delivery_and_its_platform(spark, tmp_path):
    part = mapped().model_dump(by_alias=True, mode="json", exclude_none=True)
    mapping = SourceMapping.model_validate(part | {"partition": "ds=%Y%m%d/hour=%H"})
    for day, hour in (("2026-11-02", "hour=00"), ("2026-11-02", "hour=23"), ("2026-11-03", "hour=00")):
        deliver_as_mapped(tmp_path, mapping, "interactions", day, [event(uid=f"{day} {hour}")], hour)
    days = [date(2026, 11, 2), date(2026, 11, 3)]
    found = find_deliveries(spark, str(tmp_path), mapping, "interactions", days)
    rows = typed_rows(spark, mapping, "interactions", found).select(
        "raw_user_id", "delivery_date", "source_file", "platform"
    )
    assert sorted(tuple(row) for row in rows.collect()) == [
        ("2026-11-02 hour=00", days[0], "feed/interactions/ds=20261102/hour=00/part-0.parquet", "feed"),
        ("2026-11-02 hour=23", days[0], "feed/interactions/ds=20261102/hour=23/part-0.parquet", "feed"),
        ("2026-11-03 hour=00", days[1], "feed/interactions/ds=20261103/hour=00/part-0.parquet", "feed"),
    ]


def test_text_that_an_expression_makes_of_bytes_is_told_where_it_is_no_utf8(typed):
    bytes_ = [event(post=b"p1"), event(uid="bob", post=b"\xff\xfe")]
    for n, content_id in enumerate(("post", "cast(post as string)")):
        rows = typed(mapped(f"p{n}", columns={"content_id": content_id}, raw={"post": "binary"}), bytes_)
        got = {row["raw_user_id"]: (row["content_id"], row[IS_UTF8]) for row in rows.collect()}
        assert got == {"ann": ("p1", True), "bob": ("\ufffd\ufffd", False)}
