import hashlib
import hmac
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pyspark.sql import functions as F
from tests.conftest import CONF
from tests.logs import deliver, feed_event

import clean_interactions
from salience.job import run_job
from salience.tables import bronze, ops, silver

pytestmark = pytest.mark.integration


@pytest.fixture
def logs(settings):
    return Path(settings.logs)


@pytest.fixture
def clean(settings, spark):
    def run(first: str, last: str | None = None, *more: str) -> int:
        argv = ["--env", "local", "--from", first, "--to", last or first]
        for key in ("logs", "warehouse"):
            argv += ["--set", f"{key}={getattr(settings, key)}"]
        argv += ["--set", "platforms=[feed]", *more]
        return run_job(clean_interactions.main, argv, extra=clean_interactions.extra)

    return run


def day_of(day, rows, **changes):
    """Return rows of as many people on a day, a minute apart."""
    return [
        feed_event(log_id=f"{day}-{n}", uid=f"u{n}", ts=f"{day}T{n // 60:02}:{n % 60:02}:00Z", **changes)
        for n in range(rows)
    ]


def accepted(warehouse):
    rows = warehouse.read(silver.INTERACTIONS).select("event_id", F.col("delivery_date").cast("string"))
    return sorted((row[0], row[1]) for row in rows.collect())


def ledger(warehouse, *columns):
    return [tuple(row) for row in warehouse.read(ops.DELIVERIES).orderBy("seen_at").select(*columns).collect()]


def test_every_row_ends_rejected_or_excluded_with_its_reasons_or_accepted_with_typed_values_and_no_raw_id(
    logs, clean, warehouse
):
    rows = [
        feed_event(),
        feed_event(),
        feed_event(log_id="e2", uid=None, act="dance"),
        feed_event(log_id="e3", ts="yesterday"),
        feed_event(log_id="e4", ts="2026-11-04T10:00:00Z"),
        feed_event(log_id="e5", ts="2026-10-30T10:00:00Z"),
        feed_event(log_id="e6", post_id=None),
        feed_event(log_id="e7", act="follow", post_id=None),
    ]
    deliver(logs, "2026-11-02", rows)
    assert clean("2026-11-02", None, "--set", "clean.max_lateness_days=2") == 0
    assert accepted(warehouse) == [("e1", "2026-11-02"), ("e7", "2026-11-02")]
    reasons = warehouse.read(silver.REJECTED_EVENTS).select("event_id", "reasons").collect()
    assert {row["event_id"]: row["reasons"] for row in reasons} == {
        "e2": ["missing_user_id", "unknown_action"],
        "e3": ["unparseable_time"],
        "e4": ["future_event"],
        "e5": ["too_late"],
        "e6": ["missing_content_id"],
    }
    excluded = warehouse.read(silver.EXCLUDED_EVENTS).select("event_id", "reason", "winner_event_id").collect()
    assert [tuple(row) for row in excluded] == [("e1", "duplicate", "e1")]
    assert ledger(warehouse, "state", "emitted", "rejected", "excluded", "accepted") == [("taken", 8, 5, 1, 2)]
    kept = warehouse.read(bronze.EVENTS).where("payload IS NOT NULL").select("payload").collect()
    assert len(kept) == 5 and all('"author_uid":"u-zoe"' in row["payload"] for row in kept)
    row = warehouse.read(silver.INTERACTIONS).where("event_id = 'e1'").head().asDict()
    assert row["event_time"].isoformat() == "2026-11-02T02:00:00"
    assert (row["utc_offset_min"], row["action"], row["position"], row["device"]) == (480, "like", 1, "phone")
    assert len(row["user_id"]) == len(row["creator_id"]) == 64
    assert "u-ann" not in str(row) and "u-zoe" not in str(row)


def test_an_event_id_that_the_log_does_not_give_cannot_be_made_without_the_key(
    logs, settings, spark, warehouse, tmp_path, monkeypatch
):
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    mapping = yaml.safe_load((conf / "sources" / "feed.yaml").read_text())
    del mapping["interactions"]["columns"]["event_id"]
    (conf / "sources" / "feed.yaml").write_text(yaml.safe_dump(mapping))
    monkeypatch.setenv("SALIENCE_CONF_DIR", str(conf))
    secret = "a secret that is only for this test"
    monkeypatch.setenv("SALIENCE_PSEUDONYM_KEY_FEED", secret)
    deliver(logs, "2026-11-02", [feed_event(), feed_event(), feed_event(uid="u-bob")])
    argv = ["--env", "local", "--date", "2026-11-02", "--set", "platforms=[feed]"]
    argv += ["--set", f"logs={logs}", "--set", f"warehouse={settings.warehouse}"]
    assert run_job(clean_interactions.main, argv) == 0
    open_id, bobs = (
        hashlib.sha256(
            "\x1f".join((user, "p1", "u-zoe", "like", "2026-11-02 02:00:00", "r1", "", "")).encode()
        ).hexdigest()
        for user in ("u-ann", "u-bob")
    )
    kept = [hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest() for text in (open_id, bobs)]
    assert accepted(warehouse) == sorted((event_id, "2026-11-02") for event_id in kept)
    (copy,) = warehouse.read(silver.EXCLUDED_EVENTS).collect()
    assert (copy["event_id"], copy["winner_event_id"]) == (kept[0], kept[0])


def test_what_came_late_is_taken_when_a_later_day_asks_for_it(logs, clean, warehouse):
    deliver(logs, "2026-11-03", day_of("2026-11-03", 1))
    assert clean("2026-11-03", None, "--late-days", "2") == 0
    deliver(logs, "2026-11-02", day_of("2026-11-02", 1))
    deliver(logs, "2026-11-04", day_of("2026-11-04", 1))
    assert clean("2026-11-04") == 0
    assert [day for _, day in accepted(warehouse)] == ["2026-11-03", "2026-11-04"]
    assert clean("2026-11-04", None, "--late-days", "2") == 0
    assert [day for _, day in accepted(warehouse)] == ["2026-11-02", "2026-11-03", "2026-11-04"]


def test_late_days_do_not_stand_in_for_the_day_that_is_asked_for_and_their_trouble_is_not_its(logs, clean, capsys):
    deliver(logs, "2026-11-02", [feed_event(act=None)])
    (logs / "feed" / "interactions" / "dt=2026-11-02" / "broken.parquet").write_bytes(b"no parquet")
    assert clean("2026-11-03", None, "--late-days", "2") == 2
    assert "no delivery from 2026-11-03 to 2026-11-03" in capsys.readouterr().err
    deliver(logs, "2026-11-03", day_of("2026-11-03", 1))
    assert clean("2026-11-03", None, "--late-days", "2") == 0


def test_a_copy_in_a_later_delivery_loses_even_when_it_is_taken_first(logs, clean, warehouse):
    deliver(logs, "2026-11-02", [feed_event()])
    deliver(logs, "2026-11-03", [feed_event()])
    assert clean("2026-11-03") == 0
    assert accepted(warehouse) == [("e1", "2026-11-03")]
    assert clean("2026-11-02") == 0
    assert accepted(warehouse) == [("e1", "2026-11-02")]
    excluded = warehouse.read(silver.EXCLUDED_EVENTS).select(F.col("delivery_date").cast("string")).collect()
    assert [row[0] for row in excluded] == ["2026-11-03"]


def test_files_that_are_no_parquet_empty_or_cut_in_the_middle_refuse_only_their_deliveries(
    logs, clean, warehouse, capsys
):
    deliver(logs, "2026-11-02", [feed_event()])
    days = ("2026-11-03", "2026-11-04", "2026-11-05")
    text, empty, cut = (deliver(logs, day, day_of(day, 2000)) for day in days)
    (text / "part-1.parquet").write_text("a,b\n" * 9)
    (empty / "part-1.parquet").touch()
    whole = (cut / "part-0.parquet").read_bytes()
    zeros = bytes(len(whole) // 2)
    (cut / "part-0.parquet").write_bytes(whole[:60] + zeros + whole[60 + len(zeros) :])
    assert clean("2026-11-02", days[-1]) == 2
    error = capsys.readouterr().err
    assert "dt=2026-11-03: part-1.parquet is not a Parquet file" in error
    assert "dt=2026-11-04: part-1.parquet is empty (0 bytes)" in error
    assert "feed/interactions/dt=2026-11-05" in error and "refused 3 of 4 deliveries (1 taken)" in error
    assert accepted(warehouse) == [("e1", "2026-11-02")]
    assert sorted(ledger(warehouse, "state")) == [("refused",)] * 3 + [("taken",)]


def test_a_log_without_a_mapped_column_is_refused_with_the_mappings_key(logs, clean, capsys):
    row = feed_event()
    del row["post_id"]
    deliver(logs, "2026-11-02", [row])
    assert clean("2026-11-02") == 2
    error = capsys.readouterr().err
    assert "part-0.parquet: column post_id is not in it, which has log_id, uid, author_uid, act" in error


def test_an_interval_without_deliveries_says_which_days_have_some(logs, clean, capsys):
    deliver(logs, "2026-11-02", [feed_event()])
    assert clean("2026-12-01") == 2
    assert "no delivery from 2026-12-01 to 2026-12-01; there are deliveries from 2026-11-02" in capsys.readouterr().err


def test_a_delivery_is_left_alone_until_it_is_complete(logs, clean, warehouse, capsys):
    deliver(logs, "2026-11-02", [feed_event()], complete=False)
    assert clean("2026-11-02") == 2
    assert (
        "no complete delivery from 2026-11-02 to 2026-11-02, for none of its folders holds _SUCCESS"
        in capsys.readouterr().err
    )
    assert not warehouse.exists(bronze.EVENTS)


def test_an_emptied_delivery_takes_its_rows_back(logs, clean, warehouse):
    deliver(logs, "2026-11-02", [feed_event()])
    assert clean("2026-11-02") == 0
    deliver(logs, "2026-11-02", [])
    assert clean("2026-11-02") == 0
    assert accepted(warehouse) == []


def test_a_new_version_of_a_content_ends_the_one_before(logs, clean, warehouse):
    content = {"post_id": "p1", "author_uid": "zoe", "topics": "a,b", "kind": "text", "lang": "en"}
    content["posted_at"] = "2026-11-01T00:00:00Z"
    deliver(logs, "2026-11-02", [])
    deliver(logs, "2026-11-02", [content], dataset="contents")
    deliver(logs, "2026-11-03", [content], dataset="contents")
    deliver(logs, "2026-11-04", [content | {"topics": "c"}, content | {"post_id": None}], dataset="contents")
    assert clean("2026-11-02", "2026-11-04") == 0
    rows = warehouse.read(silver.CONTENTS).orderBy("valid_from").select("tags", "valid_from", "valid_to").collect()
    assert [(row["tags"], str(row["valid_from"])[:10], str(row["valid_to"])[:10]) for row in rows] == [
        (["a", "b"], "2026-11-02", "2026-11-04"),
        (["c"], "2026-11-04", "None"),
    ]


STRICT = ("--set", "clean.thresholds.min_rows=10")


def test_a_delivery_past_a_reasons_threshold_is_held_and_the_others_are_taken(logs, clean, warehouse, capsys):
    deliver(logs, "2026-11-02", day_of("2026-11-02", 20))
    deliver(logs, "2026-11-03", [*day_of("2026-11-03", 15), *day_of("2026-11-04", 5, act="dance")])
    twice = day_of("2026-11-04", 20)
    deliver(logs, "2026-11-04", [*twice, *twice, *twice])
    assert clean("2026-11-02", "2026-11-04", *STRICT) == 3
    error = capsys.readouterr().err
    assert "held 2 of 3 deliveries (1 taken)" in error and "clean.thresholds" in error
    assert "of unknown_action of emitted rows (clean.thresholds.max_shares.unknown_action): 0.25 (at most 0.2)" in error
    assert "of duplicate of emitted rows (clean.thresholds.max_shares.duplicate): 0.666667 (at most 0.5)" in error
    assert {day for _, day in accepted(warehouse)} == {"2026-11-02"}
    assert warehouse.read(bronze.EVENTS).where("delivery_date > '2026-11-02'").isEmpty()
    assert warehouse.read(silver.REJECTED_EVENTS).isEmpty() and warehouse.read(silver.EXCLUDED_EVENTS).isEmpty()
    states = warehouse.read(ops.DELIVERIES).orderBy("delivery_date").select("state", "rows", "emitted").collect()
    assert [tuple(row) for row in states] == [("taken", 20, 20), ("held", 20, None), ("held", 60, None)]
    failed = warehouse.read(ops.AUDITS).where("NOT passed").select("place").collect()
    assert {row["place"] for row in failed} == {f"feed/interactions/dt=2026-11-0{n}" for n in (3, 4)}
    lenient = "clean.thresholds.max_shares={default: 1}"
    assert clean("2026-11-03", "2026-11-04", *STRICT, "--set", lenient) == 0
    assert len(accepted(warehouse)) == 20 + 15 + 20


def test_a_delivery_far_from_its_weekdays_usual_volume_is_held(logs, clean, warehouse, capsys):
    mondays = {"2026-10-19": 30, "2026-10-26": 34, "2026-11-02": 10, "2026-11-09": 99, "2026-11-16": 0}
    for day, rows in mondays.items():
        deliver(logs, day, day_of(day, rows))
    assert clean("2026-10-19", "2026-10-26", *STRICT) == 0
    assert clean("2026-11-02", "2026-11-16", *STRICT) == 3
    error = capsys.readouterr().err
    assert "held 2 of 3 deliveries (1 taken)" in error
    assert "rows over the same weekday's median (clean.thresholds.volume.max_ratio): 3.3 (at most 3)" in error
    assert "median that is missing (1 - clean.thresholds.volume.min_ratio): 1 (at most 0.7)" in error
    assert clean("2026-11-09", "2026-11-16", *STRICT, "--set", "clean.thresholds.volume.min_past=9") == 0
    assert len(accepted(warehouse)) == 30 + 34 + 10 + 99


def test_columns_that_come_go_or_change_between_days_are_told(logs, clean, warehouse, capsys):
    more = [event | {"mood": "good"} for event in day_of("2026-11-02", 2)]
    less = [{name: value for name, value in e.items() if name != "device"} for e in day_of("2026-11-03", 2)]
    lacking = [{name: value for name, value in e.items() if name != "uid"} for e in day_of("2026-11-05", 2)]
    for n, rows in enumerate((more, less, day_of("2026-11-04", 2), lacking), 2):
        folder = deliver(logs, f"2026-11-0{n}", rows)
        if n == 4:
            whole = pq.read_table(folder / "part-0.parquet")
            changed = whole.set_column(whole.column_names.index("act"), "act", pa.array([7, 7], pa.int64()))
            pq.write_table(changed, folder / "part-0.parquet")
    assert clean("2026-11-02", "2026-11-05") == 2
    error = capsys.readouterr().err
    assert "refused 2 of 4 deliveries (2 taken)" in error
    assert "dt=2026-11-04: part-0.parquet: column act is bigint instead of string; deliver it again" in error
    assert "dt=2026-11-05: part-0.parquet: column uid is not in it" in error
    rows = warehouse.read(silver.INTERACTIONS).select("event_id", "device").collect()
    assert sorted((row["event_id"], row["device"]) for row in rows) == [
        *((f"2026-11-02-{n}", "phone") for n in range(2)),
        *((f"2026-11-03-{n}", None) for n in range(2)),
    ]
    told = warehouse.read(ops.AUDITS).where("rule LIKE 'columns%'").select("rule", "place", "observed", "passed")
    assert [tuple(row) for row in told.collect()] == [
        ("columns that the mapping does not know: mood", "feed/interactions/dt=2026-11-02", 1.0, True)
    ]


def test_a_value_that_an_expression_fails_on_refuses_its_delivery_and_is_shown_nowhere(
    logs, clean, warehouse, tmp_path, monkeypatch, capsys
):
    """The column is one that no rule reads, so that only its own delivery's whole rows show the failure."""
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    mapping = yaml.safe_load((conf / "sources" / "feed.yaml").read_text())
    mapping["interactions"]["columns"]["position"] = "cast(device as int)"
    (conf / "sources" / "feed.yaml").write_text(yaml.safe_dump(mapping))
    monkeypatch.setenv("SALIENCE_CONF_DIR", str(conf))
    for n, device in enumerate(("1", "secret@example.com", "3"), 2):
        deliver(logs, f"2026-11-0{n}", [feed_event(log_id=f"e{n}", ts=f"2026-11-0{n}T10:00:00Z", device=device)])
    assert clean("2026-11-02", "2026-11-04") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "refused 1 of 3 deliveries (2 taken): feed/interactions/dt=2026-11-03: part-0.parquet: " in error
    assert "an expression of the mapping fails on a value (cast(device as int))" in error
    assert [event_id for event_id, _ in accepted(warehouse)] == ["e2", "e4"]
    for table in (ops.DELIVERIES, ops.RUNS, ops.AUDITS):
        assert "secret@" not in str(warehouse.read(table).collect())
    assert "secret@" not in error


def test_a_threshold_for_a_rule_that_there_is_not_is_refused(logs, clean, capsys):
    assert clean("2026-11-02", None, "--set", "clean.thresholds.max_shares.unknown_acton=0.5") == 2
    assert (
        "clean.thresholds.max_shares.unknown_acton: no such rule; there are absurd_dwell, " in capsys.readouterr().err
    )
