from datetime import date
from math import sqrt

import pytest
from scipy.stats import binomtest, norm

from salience.metrics.content import RATES_BY_IMPRESSIONS, content_daily, content_totals
from salience.settings import MetricSettings
from salience.tables import activity
from salience.tables.conform import conform
from salience.tables.suppression import publishable
from tests.silver_rows import interactions

SETTINGS = MetricSettings(segment_attributes=[], positive_actions=["like", "share", "comment"])
SECOND, THIRD = date(2026, 11, 2), date(2026, 11, 3)
Z = norm.ppf(0.975)
RATES = ("frequency", "completion_rate_by_plays", "engagement_rate_by_reach", *RATES_BY_IMPRESSIONS)


def measure(spark, *rows, days=(SECOND,)):
    """Return the measured rows by day, platform and content."""
    frame = content_daily(interactions(spark, [{"at": "2 10:00"} | row for row in rows]), days, SETTINGS)
    measured = conform(activity.CONTENT_DAILY, publishable(activity.CONTENT_DAILY, frame, 1)).collect()
    found = {(row["event_date"], row["platform"], row["content_id"]): row.asDict() for row in measured}
    assert len(found) == len(measured)
    return found


def test_counts_and_rates_of_a_day_worked_by_hand(spark):
    shown = {"ann": 2, "bob": 1, "cyd": 3}
    did = [("ann", "like"), ("ann", "share"), ("cyd", "comment"), ("eve", "like"), ("bob", "hide")]
    rows = [{"user": name} for name, times in shown.items() for _ in range(times)]
    rows[0]["paid"], rows[1]["paid"] = True, False
    (found,) = measure(spark, *rows, *({"user": name, "action": action} for name, action in did)).values()
    counts = ("impressions", "impressions_paid", "impressions_organic", "reach", "engagements", "engagers")
    assert [found[name] for name in (*counts, "engaged_reach", "plays")] == [6, 1, 1, 3, 4, 3, 2, 0]
    assert found["frequency"] == 2.0
    wilson = binomtest(2, 3).proportion_ci(0.95, method="wilson")
    by_reach = [found[f"engagement_rate_by_reach{end}"] for end in ("", "_ci_low", "_ci_high")]
    assert by_reach == pytest.approx([2 / 3, wilson.low, wilson.high], rel=1e-12)
    # y - R x of the people behind each ratio R: 2/3, -2/3, -1 and 1 (eve, who saw nothing, engaged all the same);
    # 2/3, -1/6 and -1/2; -1/3, -1/6 and 1/2. Their variances: n/(n-1) times the sum of squares, over 6^2.
    expected = {
        "engagement_rate_by_impressions": (4 / 6, sqrt(4 / 3 * 26 / 9) / 6),
        "amplification_rate_by_impressions": (1 / 6, sqrt(3 / 2 * 26 / 36) / 6),
        "comment_rate_by_impressions": (1 / 6, sqrt(3 / 2 * 14 / 36) / 6),
    }
    for name, (rate, error) in expected.items():
        ends = [max(rate - Z * error, 0), rate + Z * error]
        values = [found[f"{name}{end}"] for end in ("", "_ci_low", "_ci_high")]
        assert values == pytest.approx([rate, *ends], rel=1e-12), name
    assert found["amplification_rate_by_impressions_ci_low"] == 0 < found["engagement_rate_by_impressions_ci_low"]
    for name in ("save_rate_by_impressions", "purchase_rate_by_impressions"):
        assert (found[name], found[f"{name}_ci_low"], found[f"{name}_ci_high"]) == (0.0, None, None)


def test_a_content_that_nobody_saw_has_counts_but_no_rates(spark):
    (found,) = measure(spark, {"user": "eve", "action": "like"}, {"user": "bob", "action": "like"}).values()
    assert [found[name] for name in ("impressions", "reach", "engagements", "engagers")] == [0, 0, 2, 2]
    assert found["watch_time_s"] == 0.0
    rates = [name for name in found if name.startswith(RATES)]
    assert len(rates) == 2 + 3 * 6 and all(found[name] is None for name in rates)


def test_one_person_alone_gives_a_rate_without_an_interval(spark):
    rows = [{"user": "ann"}, {"user": "ann"}, {"user": "ann", "action": "like"}]
    (found,) = measure(spark, *rows).values()
    assert [found[f"engagement_rate_by_impressions{end}"] for end in ("", "_ci_low", "_ci_high")] == [0.5, None, None]
    wilson = binomtest(1, 1).proportion_ci(0.95, method="wilson")
    ends = [found[f"engagement_rate_by_reach_ci_{end}"] for end in ("low", "high")]
    assert ends == pytest.approx([wilson.low, 1.0], rel=1e-12)


@pytest.mark.integration
def test_a_play_is_complete_from_19_of_20_seconds_on_and_counts_only_if_its_length_is_known(spark):
    def play(dwell=None, length=None):
        return {"user": "ann", "action": "play"} | {
            name: value for name, value in (("dwell_s", dwell), ("video_length_s", length)) if value is not None
        }

    plays = [play(19, 20), play(25, 20), play("18.999", 20), play(5, 0), play(7), play(None, 20), play()]
    (found,) = measure(spark, *plays, {"user": "bob", "action": "view", "dwell_s": "1.5"}).values()
    assert found["plays"] == 7
    assert found["completion_rate_by_plays"] == pytest.approx(2 / 3, rel=1e-15)
    assert found["watch_time_s"] == 19 + 25 + 18.999 + 5 + 7 + 1.5
    (unmeasured,) = measure(spark, play(7), play(5, 0)).values()
    assert (unmeasured["plays"], unmeasured["completion_rate_by_plays"]) == (2, None)


def test_days_platforms_and_contents_are_measured_apart_and_only_the_days_asked_for(spark):
    rows = [
        {"user": "ann"},
        {"user": "ann", "at": "3 00:00"},
        {"user": "bob", "at": "3 23:59"},
        {"user": "ann", "at": "3 10:00", "action": "like"},
        {"user": "ann", "platform": "video"},
        {"user": "ann", "content_id": "c2"},
        {"user": "ann", "at": "4 00:00"},
        {"user": "ann", "action": "follow", "content_id": None},
    ]
    days = (SECOND, THIRD)
    found = measure(spark, *rows, days=days)
    totals = content_totals(interactions(spark, [{"at": "2 10:00"} | row for row in rows]), days, SETTINGS)
    assert totals == {"impressions": 5, "plays": 0, "engagements": 1}
    assert totals == {name: sum(row[name] for row in found.values()) for name in totals}
    assert {key: (row["reach"], row["engaged_reach"]) for key, row in found.items()} == {
        (SECOND, "feed", "c1"): (1, 0),
        (THIRD, "feed", "c1"): (2, 1),
        (SECOND, "video", "c1"): (1, 0),
        (SECOND, "feed", "c2"): (1, 0),
    }
