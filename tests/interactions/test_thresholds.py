import pytest
from tests.conftest import CONF

from salience.interactions.thresholds import audit_shares, audit_volume
from salience.settings import load_settings

SETTINGS = load_settings(
    CONF,
    "local",
    {},
    [
        "clean.thresholds.min_rows=100",
        "clean.thresholds.max_shares={default: 0.1, duplicate: 0.5}",
        "clean.thresholds.volume={weeks: 4, min_past: 2, min_ratio: 0.5, max_ratio: 2}",
    ],
).clean.thresholds


@pytest.mark.parametrize(
    ("emitted", "by_reason", "failed"),
    [
        (100, {"too_late": 10, "duplicate": 50}, []),
        (
            100,
            {"too_late": 11, "duplicate": 50},
            ["share of too_late of emitted rows (clean.thresholds.max_shares.too_late)"],
        ),
        (
            100,
            {"too_late": 0, "duplicate": 51},
            ["share of duplicate of emitted rows (clean.thresholds.max_shares.duplicate)"],
        ),
        (99, {"too_late": 99}, []),
    ],
)
def test_a_reasons_share_may_be_as_large_as_its_threshold(emitted, by_reason, failed):
    audits = audit_shares("bronze.events", "here", emitted, by_reason, SETTINGS)
    assert [audit.rule for audit in audits if not audit.passed] == failed


@pytest.mark.parametrize(
    ("rows", "past", "passes"),
    [
        (500, [1000, 1000, 1000], True),
        (499, [1000, 1000, 1000], False),
        (0, [1000, 1000], False),
        (2000, [900, 1000, 5000], True),
        (2001, [900, 1000, 5000], False),
        (0, [1000], True),  # one week is no past
        (0, [], True),
        (10, [99, 99], True),  # too few to tell
        (100, [40, 40], False),
    ],
)
def test_a_volume_is_compared_with_the_median_of_the_past(rows, past, passes):
    assert all(audit.passed for audit in audit_volume("bronze.events", "here", rows, past, SETTINGS)) == passes
