from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.logs import deliver, feed_event

from salience.errors import InputError
from salience.sources import files
from salience.sources.deliveries import delivered_days, find_deliveries
from salience.sources.intake import look_at_deliveries, require_none_refused, require_some, take, unfinished
from salience.sources.mapping import SourceMapping
from salience.sources.typed import find_mapping_problem, typed_rows

pytestmark = pytest.mark.integration

FIRST = date(2026, 11, 2)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
COLUMNS = {"event_id": "log_id", "raw_user_id": "uid", "content_id": "post_id"}


def mapped(columns=COLUMNS, act="act", time="ts", **more):
    """Return a mapping of the feed's interactions."""
    action = {"from": act, "values": {"like": "like"}}
    parts = {"columns": columns, "action": action, "event_time": {"from": time, "unit": "iso8601"}}
    return SourceMapping.model_validate({"platform": "feed", "interactions": parts, **more})


FEED = mapped()


@pytest.fixture
def logs(tmp_path):
    """Three good deliveries of one event each, e1 to e3; a test spoils the one in the middle."""
    for n, day in enumerate(DAYS, 1):
        deliver(tmp_path, day.isoformat(), [feed_event(log_id=f"e{n}", ts=f"{day}T10:00:00Z")])
    return tmp_path


@pytest.fixture
def look(spark, logs):
    def at(mapping=FEED):
        return look_at_deliveries(spark, str(logs), mapping, "interactions", DAYS)

    return at


def middle(logs):
    return logs / "feed" / "interactions" / f"dt={DAYS[1]}"


def states(deliveries):
    return [delivery.state for delivery in deliveries]


def test_a_delivery_that_lacks_a_mapped_column_is_refused_and_the_others_are_not(logs, look):
    row = feed_event()
    del row["post_id"]
    deliver(logs, DAYS[1].isoformat(), [row])
    found = look()
    assert states(found) == ["taken", "refused", "taken"]
    assert found[1].problem == (
        "conf/sources/feed.yaml interactions.columns.content_id: column `post_id` is not in the log, "
        "which has log_id, uid, author_uid, act, ts, device, slot, req"
    )


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        (mapped({**COLUMNS, "position": "slot +"}), "columns.position: 'slot +' is not a Spark SQL expression"),
        (mapped({**COLUMNS, "position": "slot.x"}), "columns.position: "),
        (mapped({**COLUMNS, "position": "nonsense(slot)"}), "columns.position: "),
        (mapped({**COLUMNS, "position": "max(slot)"}), "columns.position: "),
        (mapped({**COLUMNS, "position": "array(slot)"}), "columns.position: "),
        (mapped({**COLUMNS, "position": "explode(array(slot))"}), "columns.position: "),
        (mapped(act="action"), "action.from: column `action` is not in the log"),
        (mapped(time="clock"), "event_time.from: column `clock` is not in the log"),
    ],
)
def test_an_expression_that_does_not_fit_the_log_is_told_with_file_and_key(spark, look, mapping, told):
    for delivery in look(mapping):
        assert delivery.state == "refused"
        assert delivery.problem.startswith(f"conf/sources/feed.yaml interactions.{told}")
        assert len(delivery.problem.splitlines()) == 1


def test_a_mapping_without_problems_has_none(spark, look):
    schema = look()[0].schema
    assert find_mapping_problem(spark, mapped({**COLUMNS, "position": "slot + 1"}), "interactions", schema) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"log_id,uid\n" * 9, "part-1.parquet is not a Parquet file; deliver it again"),
        (b"PAR1", "part-1.parquet is not a Parquet file; deliver it again"),
        (b"", "part-1.parquet is empty (0 bytes); deliver it again"),
        (b"PAR1" + bytes(40) + b"PAR1", "part-1.parquet: its schema cannot be read ("),
    ],
)
def test_a_file_that_is_no_parquet_file_is_told_by_name(logs, look, content, told):
    (middle(logs) / "part-1.parquet").write_bytes(content)
    found = look()
    assert states(found) == ["taken", "refused", "taken"]
    assert found[1].problem.startswith(told) and len(found[1].problem.splitlines()) == 1


def test_two_files_of_different_schemas_in_one_delivery_are_refused(logs, look):
    pq.write_table(pa.table({"other": [1]}), middle(logs) / "part-1.parquet")
    assert look()[1].problem == "part-1.parquet has another schema than part-0.parquet; deliver it again"


def test_hidden_files_are_not_data_and_days_without_a_folder_are_left_out(spark, logs):
    for name in ("_metadata", ".part-0.parquet.crc"):
        (middle(logs) / name).write_bytes(b"not Parquet")
    (later,) = find_deliveries(spark, str(logs), FEED, "interactions", [DAYS[1], DAYS[2] + timedelta(days=9)])
    assert (later.state, [entry.name for entry in later.files]) == ("taken", ["part-0.parquet"])


def test_a_changed_file_changes_the_manifest_and_nothing_else_does(logs, look):
    before = look()
    assert [d.manifest_hash for d in look()] == [d.manifest_hash for d in before]
    deliver(logs, DAYS[1].isoformat(), [feed_event(), feed_event(log_id="e9")])
    changed = [a.manifest_hash != b.manifest_hash for a, b in zip(look(), before, strict=True)]
    assert changed == [False, True, False]


def test_only_deliveries_that_are_taken_are_written_and_in_one_go(logs, look):
    (middle(logs) / "part-1.parquet").touch()
    written = []
    outcomes = take(look(), written.append)
    assert [[d.day for d in together] for together in written] == [[DAYS[0], DAYS[2]]]
    assert states(outcomes) == ["taken", "refused", "taken"]


@pytest.mark.parametrize("expression", ["CAST(device AS int)", "100 / slot", "slot * 2000000000"])
def test_a_value_that_an_expression_fails_on_refuses_only_its_delivery(spark, logs, look, expression):
    rows = [feed_event(log_id="e2", device="0", slot=0), feed_event(log_id="e3", device="no number", slot=2)]
    for n, day in enumerate(DAYS):
        deliver(logs, day.isoformat(), rows if n == 1 else [feed_event(device="7", slot=1)])
    mapping = mapped({**COLUMNS, "position": expression})

    def write(deliveries):
        typed_rows(spark, mapping, "interactions", deliveries).select("position").collect()

    outcomes = take(look(mapping), write)
    assert states(outcomes) == ["taken", "refused", "taken"]
    assert outcomes[1].problem.startswith("it cannot be read to its end: ")


def test_an_error_that_is_not_the_datas_fault_is_not_put_on_a_delivery(look):
    def write(_):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        take(look(), write)


def test_an_interval_without_any_delivery_names_the_setting(spark, tmp_path):
    nowhere = str(tmp_path / "nowhere")
    assert files.list_folders(spark, nowhere) == [] and delivered_days(spark, nowhere, FEED, "interactions") == []
    with pytest.raises(InputError) as caught:
        require_some(spark, nowhere, [FEED], DAYS, [])
    assert str(caught.value) == (
        f"{nowhere}/feed/interactions: no delivery from 2026-11-02 to 2026-11-04; there is none for any day. "
        "Check --date and the settings `logs` and `platforms`"
    )


def test_a_platform_that_delivered_nothing_is_told_though_another_one_did(spark, logs, look):
    video = mapped().model_copy(update={"platform": "video"})
    seen = look()
    assert unfinished([FEED], DAYS, seen) == []
    require_some(spark, str(logs), [FEED], DAYS, seen)
    with pytest.raises(InputError, match=r"video/interactions: no delivery from .*; there is none for any day"):
        require_some(spark, str(logs), [FEED, video], DAYS, seen)


def test_days_that_are_missing_or_not_complete_are_told_and_stop_nothing(spark, logs, look):
    (middle(logs) / "_SUCCESS").unlink()
    for file in (logs / "feed" / "interactions" / f"dt={DAYS[2]}").iterdir():
        file.unlink()
    (logs / "feed" / "interactions" / f"dt={DAYS[2]}").rmdir()
    (line,) = unfinished([FEED], DAYS, look())
    assert line.startswith("feed/interactions: 2 of 3 days missing or without _SUCCESS (the first 2026-11-03)")
    require_some(spark, str(logs), [FEED], DAYS, look())


def test_folders_below_a_delivery_are_refused_instead_of_left_out_without_a_word(logs, look):
    deliver(logs / "hour", DAYS[1].isoformat(), [feed_event()])
    (logs / "hour" / "feed" / "interactions" / f"dt={DAYS[1]}").rename(middle(logs) / "hour=00")
    found = look()
    assert states(found) == ["taken", "refused", "taken"]
    assert found[1].problem == "it holds the folder hour=00; deliver its files directly, none in folders below"


@pytest.mark.parametrize(
    ("text", "at", "offset"),
    [
        ("2026-11-02T10:00:00+08:00", "02:00", 480),
        ("2026-11-02 10:00:00+08:00", "02:00", 480),
        ("2026-11-02T10:00:00+0530", "04:30", 330),
        ("2026-11-02T10:00:00-08", "18:00", -480),
        ("2026-11-02T10:00:00Z", "10:00", 0),
        ("2026-11-02 10:00:00", "09:00", 60),
        ("2026-11-02T10:00:00.25", "09:00", 60),
    ],
)
def test_the_zone_counts_only_where_the_text_gives_no_offset(spark, tmp_path, text, at, offset):
    deliver(tmp_path, FIRST.isoformat(), [feed_event(ts=text)])
    parts = mapped().interactions.model_dump(by_alias=True)
    parts["event_time"]["zone"] = "Europe/Berlin"
    mapping = SourceMapping.model_validate({"platform": "feed", "interactions": parts})
    found = look_at_deliveries(spark, str(tmp_path), mapping, "interactions", [FIRST])
    row = typed_rows(spark, mapping, "interactions", found).select("event_time", "utc_offset_min").head()
    assert (f"{row['event_time']:%H:%M}", row["utc_offset_min"]) == (at, offset)


def test_a_zone_does_not_shift_a_timestamp_that_is_in_utc_already(spark, tmp_path):
    folder = deliver(tmp_path, FIRST.isoformat(), [])
    row = feed_event(ts=datetime(2026, 11, 2, 10, tzinfo=UTC))
    pq.write_table(pa.Table.from_pylist([row]), folder / "part-0.parquet")
    parts = mapped().interactions.model_dump(by_alias=True)
    parts["event_time"]["zone"] = "Europe/Berlin"
    mapping = SourceMapping.model_validate({"platform": "feed", "interactions": parts})
    found = look_at_deliveries(spark, str(tmp_path), mapping, "interactions", [FIRST])
    row = typed_rows(spark, mapping, "interactions", found).select("event_time", "utc_offset_min").head()
    assert (f"{row['event_time']:%H:%M}", row["utc_offset_min"]) == ("10:00", 60)


def test_every_refused_delivery_is_named_in_one_line(logs, look):
    for day in DAYS[1:]:
        (logs / "feed" / "interactions" / f"dt={day}" / "part-1.parquet").touch()
    with pytest.raises(InputError) as caught:
        require_none_refused(look())
    assert str(caught.value) == (
        "refused 2 of 3 deliveries (1 taken): "
        "feed/interactions/dt=2026-11-03: part-1.parquet is empty (0 bytes); deliver it again; "
        "feed/interactions/dt=2026-11-04: part-1.parquet is empty (0 bytes); deliver it again"
    )
