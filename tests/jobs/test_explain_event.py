from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.conftest import CONF
from tests.feed import user
from tests.logs import deliver, deliver_as_mapped, feed_event

import clean_interactions
import explain_event
from salience.job import run_job
from salience.sources.mapping import load_mapping
from salience.tables import silver
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

FEED = "feed/interactions/dt=2026-11-02"
FAST = range(10, 17)


@pytest.fixture(scope="module")
def asked(spark, tmp_path_factory):
    """Clean deliveries, one of them unusable, one held, and return how to ask about an event."""
    root = tmp_path_factory.mktemp("explain")
    logs = Path(root / "logs")
    rows = [
        feed_event(),
        feed_event(),
        feed_event(log_id="tap", ts="2026-11-02T10:00:00.500+08:00"),
        feed_event(log_id="bad", uid=None, act="dance"),
        feed_event(log_id="timeless", ts="10:00"),
        feed_event(log_id="ancient", ts="0001-01-01T00:00:00Z"),
        feed_event(log_id="far", ts="9999-12-31T23:59:59.999999Z"),
        feed_event(log_id="refusing", uid="u-bob"),
        feed_event(log_id="gone", uid="u-cat"),
        *[feed_event(log_id=f"machine-{n}", uid="u-droid", act="show", ts=f"2026-11-02T10:00:{n}+08:00") for n in FAST],
    ]
    deliver(logs, "2026-11-02", rows)
    deliver(logs, "2026-11-03", [feed_event()])
    (deliver(logs, "2026-11-04", [feed_event(log_id="lost")]) / "part-1.parquet").touch()
    deliver(logs, "2026-11-05", [feed_event(log_id="held", act="dance")] * 30)
    deliver(logs, "2026-11-02", [user("u-bob", analysed=False)], dataset="users")
    shown = dict.fromkeys((f"user_feature_{n}" for n in range(4)), "x") | {"row": 7, "campaign": "men", "item_id": 1}
    shown |= {"file": "random/men", "timestamp": "2026-11-02 10:00:00+00:00", "position": 1, "click": 1}
    deliver_as_mapped(logs, load_mapping(CONF, "openbandit"), "interactions", "2026-11-02", [shown])
    common = ["--env", "local", "--set", f"logs={logs}", "--set", f"warehouse={root / 'warehouse'}"]
    days = ["--from", "2026-11-02", "--to", "2026-11-05", "--set", "platforms=[feed, openbandit]"]
    days += ["--set", "clean.bot.max_events_per_minute=5", "--set", "clean.thresholds.min_rows=30"]
    assert run_job(clean_interactions.main, [*common, *days]) == 3
    warehouse = Warehouse(spark, str(root / "warehouse"), "test")
    (cat,) = warehouse.read(silver.INTERACTIONS).where("event_id = 'gone'").select("platform", "user_id").collect()
    warehouse.append_rows(silver.ERASURES, [cat.asDict() | {"erased_at": datetime.now(UTC)}])
    assert run_job(clean_interactions.main, [*common, *days]) == 3

    def ask(event_id, platform="feed"):
        argv = [*common, "--platform", platform, "--event-id", event_id]
        return run_job(explain_event.main, argv, interval=False, records=False, extra=explain_event.extra)

    return ask


@pytest.mark.parametrize(
    ("event_id", "told"),
    [
        (
            "e1",
            [
                f"e1: like, 2026-11-02 02:00:00 UTC, from {FEED}/part-0.parquet",
                "  accepted: it stands in silver.interactions",
                f"e1: like, 2026-11-02 02:00:00 UTC, from {FEED}/part-0.parquet",
                "  excluded: duplicate (a copy of it came with an earlier delivery, or beside it); e1 stands for it",
                "e1: like, 2026-11-02 02:00:00 UTC, from feed/interactions/dt=2026-11-03/part-0.parquet",
                "  excluded: duplicate (a copy of it came with an earlier delivery, or beside it); e1 stands for it",
            ],
        ),
        (
            "tap",
            [
                f"tap: like, 2026-11-02 02:00:00 UTC, from {FEED}/part-0.parquet",
                "  excluded: double_tap (the person had just done the same to the same content (clean.double_tap)); "
                "e1 stands for it",
            ],
        ),
        (
            "bad",
            [
                f"bad: unknown action, 2026-11-02 02:00:00 UTC, from {FEED}/part-0.parquet",
                "  rejected: missing_user_id (the row names no person); "
                "unknown_action (the mapping has no action for what the row says)",
            ],
        ),
        (
            "timeless",
            [
                f"timeless: like, no readable time, from {FEED}/part-0.parquet",
                "  rejected: unparseable_time (the row's time cannot be read as the mapping says)",
            ],
        ),
        (
            "ancient",
            [
                f"ancient: like, 0001-01-01 00:00:00 UTC, from {FEED}/part-0.parquet",
                "  rejected: too_late (the event lies too long before its delivery's day (clean.max_lateness_days))",
            ],
        ),
        (
            "far",
            [
                f"far: like, 9999-12-31 23:59:59 UTC, from {FEED}/part-0.parquet",
                "  rejected: future_event (the event lies after its delivery's day (clean.future_tolerance_minutes))",
            ],
        ),
        (
            "refusing",
            [
                f"refusing: like, 2026-11-02 02:00:00 UTC, from {FEED}/part-0.parquet",
                "  excluded: consent (the person had withdrawn consent to analysis at that time)",
            ],
        ),
        (
            "machine-10",
            [
                f"machine-10: impression, 2026-11-02 02:00:10 UTC, from {FEED}/part-0.parquet",
                "  excluded: bot (nobody acts so much, so fast or so regularly in a day (clean.bot))",
            ],
        ),
    ],
)
def test_every_delivered_row_of_an_event_is_told_with_its_fate_and_why(asked, capsys, event_id, told):
    assert asked(event_id) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("::")] == told
    assert not any("u-ann" in line or "u-zoe" in line for line in lines)


def test_an_event_of_an_erased_person_is_known_no_more(asked):
    assert asked("gone") == 2


def test_an_event_of_a_delivery_that_was_not_taken_is_told_with_the_deliverys_problem(asked, capsys):
    assert asked("lost") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "explain_event: feed: no delivery that was taken holds the event lost; not taken: "
        "2026-11-04 refused (part-1.parquet is empty (0 bytes); deliver it again); "
        "2026-11-05 held (share of unknown_action of emitted rows (clean.thresholds.max_shares.unknown_action): "
        "1 (at most 0.2))"
    )


def test_the_id_of_a_row_stands_for_every_event_that_it_was_emitted_as(asked, capsys):
    assert asked("random/men/7", platform="openbandit") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("::")]
    place = "2026-11-02 10:00:00 UTC, from openbandit/interactions/dt=2026-11-02/part-0.parquet"
    assert lines == [
        f"random/men/7#click: click, {place}",
        "  accepted: it stands in silver.interactions",
        f"random/men/7#impression: impression, {place}",
        "  accepted: it stands in silver.interactions",
    ]
