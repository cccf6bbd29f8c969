"""What makes two raw rows, or two events without ids of their own, the same one."""

from datetime import date

import pytest
from pyspark.sql import functions as F
from tests.logs import deliver_as_mapped
from tests.sources.rows import DAY, event, mapped

from salience.sources.deliveries import find_deliveries
from salience.sources.fit import require_fitting
from salience.sources.typed import typed_rows

pytestmark = pytest.mark.integration


def test_the_hash_of_a_row_tells_null_from_empty_and_one_column_from_another(typed):
    raw = {"a": "string", "b": "string"}
    values = [("x", None), (None, "x"), ("", None), (None, None), ("", ""), ("x", None)]
    rows = typed(mapped(raw=raw), [event(uid=str(n), a=a, b=b) | {"uid": "ann"} for n, (a, b) in enumerate(values)])
    assert len({row["row_hash"] for row in rows.collect()}) == 5


def test_the_hash_of_a_row_tells_where_in_a_struct_a_list_or_a_map_a_null_stands(typed):
    raw = {"ctx": "struct<a: string, b: string>", "tags": "array<string>", "kv": "map<string,string>"}
    values = [
        {"ctx": {"a": None, "b": "x"}},
        {"ctx": {"a": "x", "b": None}},
        {"ctx": {"a": None, "b": None}},
        {"tags": [None, "x"]},
        {"tags": ["x"]},
        {"tags": ["x", None]},
        {"tags": []},
        {"kv": [("a", None), ("b", "x")]},
        {"kv": [("a", "x"), ("b", None)]},
        {},
    ]
    rows = typed(mapped(raw=raw), [event(**{"ctx": None, "tags": None, "kv": None} | value) for value in values])
    assert len({row["row_hash"] for row in rows.collect()}) == len(values)
    again = typed(mapped("again", raw=raw), [event(ctx={"a": None, "b": "x"}, tags=None, kv=None)] * 2).collect()
    assert len({row["row_hash"] for row in again}) == 1


def test_a_variant_is_read_and_hashed_by_what_it_holds(spark, tmp_path):
    mapping = mapped(raw={"v": "variant"}, columns={"device": "v:os::string"})
    require_fitting(spark, mapping)
    folder = deliver_as_mapped(tmp_path, mapped(), "interactions", DAY, [])
    (folder / "part-0.parquet").unlink()
    values = ('{"os": "ios", "n": [1, null]}', '{"n": [1, null], "os": "ios"}', '{"os": "web"}', None)
    rows = spark.createDataFrame(
        [("ann", "p1", "2026-11-02", value) for value in values], "uid string, post string, ts string, v string"
    )
    rows.withColumn("v", F.parse_json("v")).write.mode("append").parquet(str(folder))
    (folder / "_SUCCESS").touch()
    (found,) = find_deliveries(spark, str(tmp_path), mapping, "interactions", [date.fromisoformat(DAY)])
    assert found.problem is None
    got = typed_rows(spark, mapping, "interactions", [found]).select("device", "row_hash", F.to_json("__raw")).collect()
    assert sorted((row["device"] for row in got), key=str) == [None, "ios", "ios", "web"]
    assert len({row["row_hash"] for row in got}) == 3


def test_events_without_ids_of_their_own_differ_by_whom_they_follow_and_what_they_grant(typed):
    columns = {"raw_creator_id": "who", "reward_id": "coupon", "mechanism_id": "poll"}
    rows = [
        event(post=None, **{"who": None, "coupon": None, "poll": None} | one)
        for one in ({"who": "a"}, {"who": "b"}, {"coupon": "c"}, {"coupon": "d"}, {"poll": "e"})
    ]
    found = typed(mapped(columns=columns, raw=dict.fromkeys(("who", "coupon", "poll"), "string")), [*rows, rows[0]])
    assert len({row["event_id"] for row in found.collect()}) == 5
