from pathlib import Path

import pytest
from tests.logs import deliver, feed_event

import clean_interactions
import explain_event
from salience.job import run_job

pytestmark = pytest.mark.integration

FEED = "feed/interactions/dt=2026-11-02"


@pytest.fixture(scope="module")
def asked(spark, tmp_path_factory):
    """Clean three deliveries, one of them unusable, and return how to ask about an event."""
    root = tmp_path_factory.mktemp("explain")
    logs = Path(root / "logs")
    rows = [
        feed_event(),
        feed_event(),
        feed_event(log_id="tap", ts="2026-11-02T10:00:00.500+08:00"),
        feed_event(log_id="bad", uid=None, act="dance"),
        feed_event(log_id="timeless", ts="10:00"),
    ]
    deliver(logs, "2026-11-02", rows)
    deliver(logs, "2026-11-03", [feed_event()])
    (deliver(logs, "2026-11-04", [feed_event(log_id="lost")]) / "part-1.parquet").touch()
    common = ["--env", "local", "--set", f"logs={logs}", "--set", f"warehouse={root / 'warehouse'}"]
    days = ["--from", "2026-11-02", "--to", "2026-11-04", "--set", "platforms=[feed]"]
    assert run_job(clean_interactions.main, [*common, *days]) == 2

    def ask(event_id):
        argv = [*common, "--platform", "feed", "--event-id", event_id]
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
    ],
)
def test_every_delivered_row_of_an_event_is_told_with_its_fate_and_why(asked, capsys, event_id, told):
    assert asked(event_id) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("::")] == told
    assert not any("u-ann" in line or "u-zoe" in line for line in lines)


def test_an_event_of_a_delivery_that_was_not_taken_is_told_with_the_deliverys_problem(asked, capsys):
    assert asked("lost") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "explain_event: feed: no delivery that was taken holds the event lost; not taken: "
        "2026-11-04 refused (part-1.parquet is empty (0 bytes); deliver it again)"
    )
