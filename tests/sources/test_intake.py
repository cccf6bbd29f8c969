"""What a run says of the deliveries that it found: in its ledger, and to the person who started it."""

from datetime import UTC, datetime

import pytest
from tests.logs import deliver
from tests.sources.feed_days import DAYS, FEED, FIRST, mapped, middle

from salience.errors import AuditError, InputError
from salience.sources import files
from salience.sources.deliveries import delivered_days
from salience.sources.intake import ledger_rows, require_none_refused, require_some, unfinished

pytestmark = pytest.mark.integration


def test_the_ledger_keeps_the_manifest_the_rows_and_of_those_taken_the_counts(logs, look):
    (logs / "feed" / "interactions" / f"dt={DAYS[2]}" / "_SUCCESS").unlink()
    found = look()
    found[1] = found[1].held("too much of it")
    counts = {DAYS[0]: {"emitted": 2, "rejected": 1, "excluded": 0, "accepted": 1}, DAYS[1]: {"emitted": 9}}
    rows = ledger_rows("run", found, counts)
    told = [(row["state"], row["rows"], row["problem"], row.get("emitted"), row.get("accepted")) for row in rows]
    assert told == [
        ("taken", 1, None, 2, 1),
        ("held", 1, "too much of it", None, None),
        ("incomplete", None, None, None, None),
    ]
    file = logs / "feed" / "interactions" / f"dt={DAYS[0]}" / "part-0.parquet"
    ((name, size, modified_ms),) = rows[0]["manifest"]
    assert (name, size, rows[0]["files"], rows[0]["bytes"]) == ("part-0.parquet", file.stat().st_size, 1, size)
    assert modified_ms == file.stat().st_mtime_ns // 1_000_000
    assert rows[0]["manifest_hash"] == found[0].manifest_hash and rows[0]["delivery_date"] == FIRST
    assert abs((datetime.now(UTC) - rows[0]["seen_at"]).total_seconds()) < 60


def test_an_interval_without_any_delivery_names_the_settings(spark, tmp_path):
    nowhere = str(tmp_path / "nowhere")
    assert files.list_folders(spark, nowhere) == [] and delivered_days(spark, nowhere, FEED, "interactions") == []
    with pytest.raises(InputError) as caught:
        require_some(spark, nowhere, [FEED], DAYS, [])
    assert str(caught.value) == (
        f"{nowhere}/feed/interactions: no delivery from 2026-11-02 to 2026-11-04; there is none for any day. "
        "Check --date and the settings `logs` and `platforms`"
    )


def test_a_platform_that_delivered_nothing_is_told_though_another_one_did(spark, logs, look):
    seen = look()
    assert unfinished([FEED], DAYS, seen) == []
    require_some(spark, str(logs), [FEED], DAYS, seen)
    with pytest.raises(InputError, match=r"^[^;]*video/interactions: no delivery from .*; there is none for any day"):
        require_some(spark, str(logs), [FEED, mapped("video")], DAYS, seen)


@pytest.mark.parametrize(
    ("complete", "why"),
    [({"marker": "_DONE"}, "none of its folders holds _DONE"), ({"settled_minutes": 30}, "all were written to lately")],
)
def test_a_platform_of_which_nothing_is_complete_is_told_with_the_signal_that_is_missing(
    spark, logs, look, complete, why
):
    mapping = mapped(complete=complete)
    with pytest.raises(InputError, match=f"no complete delivery from 2026-11-02 to 2026-11-04, for {why}"):
        require_some(spark, str(logs), [mapping], DAYS, look(mapping))


def test_days_that_are_missing_or_not_complete_are_told_and_stop_nothing(spark, logs, look):
    (middle(logs) / "_SUCCESS").unlink()
    seen = look(days=DAYS[:2])
    assert unfinished([FEED], DAYS, seen) == [
        "feed/interactions: 2 of 3 days missing or not complete (the first 2026-11-03); "
        "clean them again once they are delivered"
    ]
    require_some(spark, str(logs), [FEED], DAYS, seen)


def test_a_dataset_beside_the_interactions_whose_folder_is_not_complete_is_told(logs, look):
    deliver(logs, "2026-11-03", [{"uid": "ann"}], dataset="users", complete=False)
    mapping = mapped("feed", users={"raw": {"uid": "string"}, "columns": {"raw_user_id": "uid"}})
    seen = [*look(mapping), *look(mapping, dataset="users")]
    assert unfinished([mapping], DAYS, seen) == ["1 of 1 deliveries not complete (the first feed/users/dt=2026-11-03)"]


def test_refused_and_held_deliveries_are_all_named_and_held_ones_are_an_audit_that_failed(logs, look):
    (middle(logs) / "part-1.parquet").touch()
    found = look()
    refused = (
        "refused 1 of 3 deliveries (2 taken): "
        "feed/interactions/dt=2026-11-03: part-1.parquet is empty (0 bytes); deliver it again"
    )
    with pytest.raises(InputError) as caught:
        require_none_refused(found)
    assert str(caught.value) == refused
    found[2] = found[2].held("share of bot of emitted rows: 0.5 (at most 0.2)")
    with pytest.raises(AuditError) as caught:
        require_none_refused(found)
    assert str(caught.value) == (
        "held 1 of 3 deliveries (1 taken): feed/interactions/dt=2026-11-04: share of bot of emitted rows: 0.5 "
        "(at most 0.2). What is right all the same passes with another value of the setting that is named. "
        f"{refused.replace('2 taken', '1 taken')}"
    )
    require_none_refused(found[:1])
    with pytest.raises(InputError) as caught:
        require_none_refused([found[0].taken_though("its files kept changing")])
    assert str(caught.value) == (
        "took, though something is wrong, 1 of 1 deliveries (1 taken): feed/interactions/dt=2026-11-02: "
        "its files kept changing"
    )
