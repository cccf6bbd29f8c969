import os
import shutil
from datetime import date, timedelta
from pathlib import Path
from time import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.logs import feed_event
from tests.sources.feed_days import DAYS, FEED, FIRST, mapped, middle

from salience.errors import InputError
from salience.sources.deliveries import delivered_days, find_deliveries, is_as_found
from salience.sources.intake import require_some
from salience.sources.typed import typed_rows

pytestmark = pytest.mark.integration

HOURLY = {"partition": "ds=%Y%m%d/hour=%H"}
ROW = pa.Table.from_pylist([{"log_id": "e1", "uid": "ann", "post_id": "p1", "act": "like", "ts": "2026-11-02"}])


def hour_of(logs: Path, hour: int, marker: str | None = "_SUCCESS", age_s: float = 0) -> Path:
    """Write an hour of the first day, below ds=20261102."""
    folder = logs / "feed" / "interactions" / "ds=20261102" / f"hour={hour:02}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(ROW, folder / "part-0.parquet")
    if marker:
        (folder / marker).touch()
    os.utime(folder / "part-0.parquet", (time() - age_s,) * 2)
    return folder


def states(deliveries):
    return [delivery.state for delivery in deliveries]


def test_a_delivery_is_complete_once_its_marker_lies_there_whatever_its_name(logs, look):
    (middle(logs) / "_SUCCESS").rename(middle(logs) / "_DONE")
    assert states(look()) == ["taken", "incomplete", "taken"]
    assert states(look(mapped(complete={"marker": "_DONE"}))) == ["incomplete", "taken", "incomplete"]


def test_an_hourly_delivery_is_complete_with_a_marker_for_each_of_24_hours_or_one_for_the_day(logs, look):
    mapping = mapped(**HOURLY)
    for hour in range(23):
        hour_of(logs, hour)
    assert states(look(mapping)) == ["incomplete"]
    last = hour_of(logs, 23)
    (found,) = look(mapping)
    assert (found.state, found.rows, len(found.files), found.day) == ("taken", 24, 24, FIRST)
    assert [entry.name for entry in found.files][::23] == ["hour=00/part-0.parquet", "hour=23/part-0.parquet"]
    assert str(found) == "feed/interactions/ds=20261102"
    (last / "_SUCCESS").unlink()
    assert states(look(mapping)) == ["incomplete"]
    (last.parent / "_SUCCESS").touch()
    assert states(look(mapping)) == ["taken"]


def test_a_delivery_without_markers_is_complete_once_none_of_its_files_was_written_to_for_a_while(logs, look):
    mapping = mapped(**HOURLY, complete={"settled_minutes": 30})
    hour_of(logs, 0, marker=None, age_s=86_400)
    hour_of(logs, 1, marker=None, age_s=31 * 60)
    assert states(look(mapping)) == ["taken"]
    hour_of(logs, 1, marker=None, age_s=29 * 60)
    assert states(look(mapping)) == ["incomplete"]
    day = logs / "feed" / "interactions" / "ds=20261102"
    for file in day.rglob("*.parquet"):
        file.unlink()
    assert states(look(mapping)) == ["incomplete"]
    # Whoever has taken the files away may be about to write them anew, however long ago: a file without rows says more.
    for folder in (day, *day.iterdir()):
        os.utime(folder, (time() - 86_400,) * 2)
    assert states(look(mapping)) == ["incomplete"]
    pq.write_table(ROW.slice(0, 0), day / "part-0.parquet")
    os.utime(day / "part-0.parquet", (time() - 31 * 60,) * 2)
    (emptied,) = look(mapping)
    assert (emptied.state, emptied.rows) == ("taken", 0)


def test_on_a_day_that_clocks_go_forward_23_hours_complete_a_delivery(spark, logs):
    mapping = mapped(**HOURLY, partition_zone="Europe/Berlin")
    for hour in (*range(2), *range(3, 24)):
        hour_of(logs, hour)
    ordinary = logs / "feed" / "interactions" / "ds=20261102"
    shutil.copytree(ordinary, ordinary.with_name("ds=20260329"))
    found = find_deliveries(spark, str(logs), mapping, "interactions", [date(2026, 3, 29), FIRST])
    assert [(delivery.state, len(delivery.files)) for delivery in found] == [("taken", 23), ("incomplete", 23)]
    skipped = ordinary.with_name("ds=20260329") / "hour=02"
    shutil.copytree(ordinary / "hour=01", skipped)
    (skipped / "_SUCCESS").unlink()
    (extra,) = find_deliveries(spark, str(logs), mapping, "interactions", [date(2026, 3, 29)])
    assert (extra.state, len(extra.files)) == ("incomplete", 24)  # folders may be of other hours than the mapping says
    shutil.rmtree(skipped)
    in_utc = find_deliveries(spark, str(logs), mapped(**HOURLY), "interactions", [date(2026, 3, 29)])
    assert states(in_utc) == ["incomplete"]
    with pytest.raises(InputError, match="none of its folders holds _SUCCESS, nor does every hour of a day"):
        require_some(spark, str(logs), [mapped(**HOURLY)], [date(2026, 3, 29)], in_utc)


def test_a_folder_below_an_hour_refuses_the_delivery_instead_of_being_left_out(logs, look):
    day = hour_of(logs, 0).parent
    (day / "_SUCCESS").touch()
    (day / "hour=00" / "_temporary").mkdir()
    assert states(look(mapped(**HOURLY))) == ["taken"]
    (day / "hour=00" / "part").mkdir()
    (found,) = look(mapped(**HOURLY))
    assert found.problem == "it holds the folder hour=00/part; deliver its files directly, or in hour=%H"


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("hour=24", "it holds the folder hour=24; deliver its files directly, or in hour=%H"),
        ("h=00", "it holds the folder h=00; deliver its files directly, or in hour=%H"),
    ],
)
def test_a_folder_that_is_no_hour_refuses_the_delivery_instead_of_being_left_out(logs, look, folder, told):
    day = hour_of(logs, 0).parent
    (day / "_SUCCESS").touch()
    (day / "_temporary").mkdir()
    assert states(look(mapped(**HOURLY))) == ["taken"]
    (day / folder).mkdir()
    (found,) = look(mapped(**HOURLY))
    assert (found.state, found.problem) == ("refused", told)


def test_without_hours_in_the_pattern_no_folder_may_lie_below_a_day(logs, look):
    (middle(logs) / "hour=00").mkdir()
    found = look()
    assert states(found) == ["taken", "refused", "taken"]
    assert found[1].problem == "it holds the folder hour=00; deliver its files directly, none in folders below"


def test_rows_are_counted_by_the_footers_and_columns_that_the_mapping_does_not_know_are_named(logs, look):
    more = pa.Table.from_pylist([feed_event() | {"slot": None, "extra": n} for n in range(5)])
    pq.write_table(more.drop_columns(["slot"]), middle(logs) / "part-1.parquet")
    before, found, _ = look()
    assert (found.state, found.rows) == ("taken", 6)
    assert found.added == ("author_uid", "device", "extra", "req")
    assert (before.rows, before.added) == (1, ("author_uid", "device", "req"))


def test_columns_of_types_that_spark_does_not_know_are_added_ones_unless_the_mapping_asks_for_them(spark, logs, look):
    table = pq.read_table(middle(logs) / "part-0.parquet", partitioning=None)
    clock = pa.array([1], pa.time64("ns"))
    pq.write_table(table.append_column("clock", clock), middle(logs) / "part-1.parquet")
    found = look()[1]
    assert (found.state, found.rows) == ("taken", 2) and "clock" in found.added
    assert {row["raw_user_id"] for row in typed_rows(spark, FEED, "interactions", [found]).collect()} == {"u-ann"}
    place = table.schema.get_field_index("slot")
    pq.write_table(table.set_column(place, "slot", clock), middle(logs) / "part-1.parquet")
    found = look()[1]
    assert found.state == "refused" and found.problem.startswith("part-1.parquet: its schema cannot be read (")


def test_a_complete_delivery_without_files_says_that_there_are_no_rows(logs, look):
    (middle(logs) / "part-0.parquet").unlink()
    found = look()[1]
    assert (found.state, found.rows, found.files) == ("taken", 0, ())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"post_id": None},
            "column post_id is not in it, which has log_id, uid, author_uid, act, ts, device, slot, req",
        ),
        ({"uid": pa.int64()}, "column uid is bigint instead of string"),
        (
            {"slot": pa.int64(), "act": None},
            "column act is not in it, which has .*; column slot is bigint instead of int",
        ),
    ],
)
def test_a_missing_required_column_or_another_type_refuses_the_delivery_with_file_and_key(logs, look, change, told):
    table = pq.read_table(middle(logs) / "part-0.parquet", partitioning=None)
    for name, type_ in change.items():
        place = table.schema.get_field_index(name)
        table = table.remove_column(place) if type_ is None else table.set_column(place, name, pa.array([1], type_))
    pq.write_table(table, middle(logs) / "part-1.parquet")
    found = look()
    assert states(found) == ["taken", "refused", "taken"]
    first, _, last = told.partition(".*")
    assert found[1].problem.startswith(f"part-1.parquet: {first}")
    assert found[1].problem.endswith(f"{last}; deliver it again, or change conf/sources/feed.yaml interactions.raw")


def test_files_that_are_no_parquet_are_refused_by_name_and_in_one_line(logs, look):
    bad = {
        b"log_id,uid\n" * 9: "part-1.parquet is not a Parquet file; deliver it again",
        b"PAR1": "part-1.parquet is not a Parquet file; deliver it again",
        b"": "part-1.parquet is empty (0 bytes); deliver it again",
        b"PAR1" + bytes(40) + b"PAR1": "part-1.parquet: its footer cannot be read (",
    }
    for content, told in bad.items():
        (middle(logs) / "part-1.parquet").write_bytes(content)
        found = look()
        assert states(found) == ["taken", "refused", "taken"]
        assert found[1].problem.startswith(told) and len(found[1].problem.splitlines()) == 1


def test_hidden_files_are_not_data_and_days_without_a_folder_are_left_out(logs, look):
    for name in ("_metadata", ".part-0.parquet.crc"):
        (middle(logs) / name).write_bytes(b"not Parquet")
    (found,) = look(days=[DAYS[1], DAYS[2] + timedelta(days=9)])
    assert (found.state, [entry.name for entry in found.files]) == ("taken", ["part-0.parquet"])


def test_only_a_changed_file_changes_the_manifest(spark, logs, look):
    before = look()
    (middle(logs) / "_committed").touch()
    assert [d.manifest_hash for d in look()] == [d.manifest_hash for d in before]
    file = middle(logs) / "part-0.parquet"
    os.utime(file, (1_000_000_000, 1_000_000_000))
    touched = look()
    assert [a.manifest_hash != b.manifest_hash for a, b in zip(touched, before, strict=True)] == [False, True, False]
    assert [is_as_found(spark, FEED, delivery) for delivery in before] == [True, False, True]
    file.rename(middle(logs) / "part-1.parquet")
    assert look()[1].manifest_hash != touched[1].manifest_hash


def test_days_that_have_deliveries_are_found_through_folders_of_several_levels(spark, tmp_path):
    mapping = mapped(partition="year=%Y/month=%m/day=%d/%H")
    for day in ("year=2026/month=11/day=02/00", "year=2025/month=12/day=31", "year=2026/month=13/day=01", "other/x/y"):
        (tmp_path / "feed" / "interactions" / day).mkdir(parents=True)
    assert delivered_days(spark, str(tmp_path), mapping, "interactions") == ["2025-12-31", "2026-11-02"]
