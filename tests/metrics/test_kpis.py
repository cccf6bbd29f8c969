from datetime import date, timedelta
from math import inf

import pytest

from salience.metrics.kpi_rules import Rule
from salience.metrics.kpis import audits, kpis

AS_OF = date(2026, 11, 14)
RATE = {"of": "engagements", "per": "impressions"}
SCHEMA = (
    "event_date date, platform string, content_id string, impressions bigint, engagements bigint, watch_time_s double"
)
AUDIENCE = "event_date date, platform string, segment string, dau bigint, mau_28d bigint, is_complete boolean"


def rule(window_days=7, table="gold.content_daily", change=None, **metric):
    return Rule(metric={"table": table} | metric, change=change or {"fall": 0.2}, window_days=window_days)


def of_days(days, platform="feed", content="c1"):
    """Return rows of contents from (impressions, engagements) by how many days before AS_OF they are."""
    return [(AS_OF - timedelta(days=back), platform, content, *counts, None) for back, counts in days.items()]


def weeks(before, now, platform="feed"):
    """Return rows of two weeks, each day of one with the same counts."""
    return of_days({back: now if back < 7 else before for back in range(14)}, platform)


def judged(spark, rows, asked, platforms=("feed",), schema=SCHEMA, as_of=AS_OF):
    """Return what `kpis` finds by rule and platform, and the audits as (rule, place, observed, threshold)."""
    found = kpis(spark.createDataFrame(rows, schema), asked, platforms, as_of).cache()
    by_key = {(row["rule"], row["platform"]): row for row in found.collect()}
    made = audits(found, asked, as_of)
    assert {audit.table for audit in made} <= {one.metric.table for one in asked.values()}
    return by_key, [(audit.rule, audit.place, audit.observed, audit.threshold) for audit in made]


def alarms(spark, rows, asked, platforms=("feed",), **more):
    """Return the platforms and rules of audits that fail."""
    _, made = judged(spark, rows, asked, platforms, **more)
    return [(place.split(",")[0], text) for text, place, observed, threshold in made if observed > threshold]


def test_a_rate_is_one_sum_over_the_other_and_a_count_the_mean_of_days(spark):
    rows = of_days({0: (100, 3), 1: (100, 1), 2: (100, 8), 3: (300, 8)})
    rows += of_days({1: (100, 5), 2: (100, 0)}, content="c2")
    found, made = judged(spark, rows, {"rate": rule(2, **RATE), "shown": rule(2, of="impressions")})
    # (3 + 1 + 5) / 300 after (8 + 8 + 0) / 500; the mean of the contents' rates would be 0.03 after 0.0356.
    of_rate, shown = found["rate", "feed"], found["shown", "feed"]
    assert of_rate["value"] == pytest.approx(0.03, rel=1e-12)
    assert of_rate["value_before"] == pytest.approx(0.032, rel=1e-12)
    assert of_rate["change"] == pytest.approx(-0.0625, rel=1e-12)
    assert (shown["value"], shown["value_before"], shown["change"]) == (150.0, 250.0, -0.4)
    for row in (of_rate, shown):
        assert [*row][5:] == [0, 0, 2, 2, 2, AS_OF - timedelta(days=3), True]
    days = "feed, 2026-11-13 to 2026-11-14"
    assert made == [
        (
            "fall of KPI rate (engagements / impressions) against the 2 days before",
            f"{days} (0.03 after 0.032, 2 of 2 days compared)",
            0.0625,
            0.2,
        ),
        (
            "fall of KPI shown (impressions) against the 2 days before",
            f"{days} (150 after 250, 2 of 2 days compared)",
            0.4,
            0.2,
        ),
    ]


@pytest.mark.parametrize(
    ("now", "fell", "rose"),
    [
        *[(70, True, False), (79, True, False)],
        *[(80, False, False), (90, False, False), (150, False, False)],
        (151, False, True),
    ],
)
def test_a_week_raises_an_alarm_only_where_it_moved_by_more_than_is_allowed(spark, now, fell, rose):
    asked = {"rate": rule(**RATE, change={"fall": 0.2, "rise": 0.5})}
    found = [text.split()[0] for _, text in alarms(spark, weeks((1000, 100), (1000, now)), asked)]
    assert found == ["fall"] * fell + ["rise"] * rose


def test_a_fall_by_just_what_is_allowed_passes_whatever_doubles_make_of_it(spark):
    assert 1 - 7 / 10 > 0.3
    asked = {"shown": rule(of="impressions", change={"fall": 0.3})}
    assert alarms(spark, weeks((10, 1), (7, 1)), asked) == []


def test_what_rises_is_told_as_a_negative_fall(spark):
    _, made = judged(spark, weeks((1000, 100), (1000, 130)), {"rate": rule(**RATE)})
    assert [observed for _, _, observed, _ in made] == [-0.3]


@pytest.mark.parametrize("back", range(7))
def test_weekdays_alone_raise_nothing_on_any_day_in_whole_weeks(spark, back):
    busy = {0: (1000, 100), 1: (1000, 100)}  # two days of the week have five times as many as the others
    rows = of_days({n: busy.get(n % 7, (200, 4)) for n in range(28)})
    asked = {"rate": rule(**RATE), "shown": rule(of="impressions")}
    assert alarms(spark, rows, asked, as_of=AS_OF - timedelta(days=back)) == []
    if back == 3:  # the rule is no blind one: over three days the same rows do fall
        assert alarms(spark, rows, {"shown": rule(3, of="impressions")}, as_of=AS_OF - timedelta(days=2)) != []


def test_platforms_are_judged_apart_and_a_rule_may_be_of_one(spark):
    rows = weeks((1000, 100), (1000, 100)) + weeks((1000, 100), (1000, 70), "video") + weeks((9, 9), (9, 1), "shop")
    asked = {"rate": rule(**RATE), "of_feed": rule(**RATE, where={"platform": "feed"})}
    found, made = judged(spark, rows, asked, ("feed", "video"))
    assert set(found) == {("rate", "feed"), ("rate", "video"), ("of_feed", "feed")}
    observed = [(text.split()[3], place.split(",")[0], moved) for text, place, moved, _ in made]
    assert observed == [("of_feed", "feed", 0.0), ("rate", "feed", 0.0), ("rate", "video", 0.3)]


def with_hidden(before, now, impressions=100):
    """Return rows of two weeks in which a content has 100 engagements, one 5, and some few, which are hidden."""
    rows = weeks((1000, 100), (1000, 100)) + of_days(dict.fromkeys(range(14), (100, 5)), content="small")
    for back in range(14):
        for n in range(now if back < 7 else before):
            rows += of_days({back: (impressions, None)}, content=f"few{n}")
    return rows


def test_hidden_figures_are_left_out_of_both_sums_and_are_no_zero(spark):
    asked = {"rate": rule(**RATE), "engaged": rule(of="engagements")}
    found, made = judged(spark, with_hidden(0, 2), asked)
    assert found["rate", "feed"]["value"] == pytest.approx(105 / 1100, rel=1e-12)
    assert found["engaged", "feed"]["value"] == 105
    for row in found.values():
        assert (row["hidden"], row["hidden_before"]) == (pytest.approx(10 / 115, rel=1e-12), 0)
    assert [observed for *_, observed, _ in made] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("before", "now", "told", "share"),
    [
        (2, 30, "which was known before", 150 / 255),
        (2, 10, "not judged", 50 / 155),
        (10, 2, "not judged", 50 / 155),
        (10, 30, "not judged", 150 / 255),
        (30, 30, "not judged", 150 / 255),
    ],
)
def test_a_figure_of_which_much_is_hidden_is_not_judged_and_fails_if_it_was_shown_before(
    spark, before, now, told, share
):
    _, ((text, _, observed, threshold),) = judged(spark, with_hidden(before, now), {"rate": rule(**RATE)})
    assert text == f"share of KPI rate (engagements / impressions) about few people, and so hidden, {told}"
    assert observed == pytest.approx(share, rel=1e-12)
    assert threshold == (inf if told == "not judged" else 0.5)


def test_where_all_but_zeros_is_hidden_nothing_is_said(spark):
    rows = weeks((1000, 0), (1000, 0)) + of_days(dict.fromkeys(range(14), (50, None)), content="few")
    _, ((text, _, observed, threshold),) = judged(spark, rows, {"rate": rule(**RATE)})
    assert text.endswith("hidden, not judged") and (observed, threshold) == (1, inf)


def test_of_a_rate_what_few_people_saw_is_hidden_above_and_below_the_line_and_does_not_count(spark):
    asked = {"rate": rule(**RATE), "shown": rule(of="impressions")}
    found, made = judged(spark, with_hidden(2, 30, impressions=None), asked)
    assert (found["rate", "feed"]["hidden"], found["rate", "feed"]["change"]) == (0, 0)
    # The smallest number of impressions that is shown is 100.
    assert found["shown", "feed"]["hidden"] == pytest.approx(3000 / 4100, rel=1e-12)
    assert [text.split()[0] for text, *_ in made] == ["fall", "share"]


def test_a_lost_day_is_no_fall_and_takes_its_weekday_out_of_both_windows(spark):
    days = {n: (700 if n % 7 == 2 else 100, 10) for n in range(14)}
    asked = {"shown": rule(of="impressions")}
    for lost in (2, 9):
        rows = of_days({n: counts for n, counts in days.items() if n != lost})
        found, made = judged(spark, rows, asked)
        row = found["shown", "feed"]
        assert (row["value"], row["value_before"], row["days_compared"]) == (100.0, 100.0, 6)
        assert (row["days"], row["days_before"]) == ((6, 7) if lost == 2 else (7, 6))
        assert made[0][1].endswith("(100 after 100, 6 of 7 days compared)") and made[0][2] == 0


def test_a_rate_is_unknown_on_a_day_without_a_denominator(spark):
    rows = of_days({0: (10, 1), 1: (0, 5), 2: (10, 1), 3: (10, 1)})
    row = judged(spark, rows, {"rate": rule(2, **RATE)})[0]["rate", "feed"]
    assert (row["value"], row["days"], row["days_compared"]) == (0.1, 1, 1)


@pytest.mark.parametrize(
    ("before", "now", "observed"),
    [(0, 0, {"fall": 0.0, "rise": 0.0}), (0, 5, {"fall": 0.0, "rise": inf}), (5, 0, {"fall": 1.0, "rise": -1.0})],
)
def test_nothing_falls_from_0_and_any_rise_from_it_is_too_far(spark, before, now, observed):
    asked = {"engaged": rule(of="engagements", change={"fall": 0.2, "rise": 3})}
    found, made = judged(spark, weeks((10, before), (10, now)), asked)
    assert {text.split()[0]: moved for text, _, moved, _ in made} == observed
    assert (found["engaged", "feed"]["change"] is None) == (before == 0)


def why(made):
    ((text, place, observed, threshold),) = made
    assert place == "feed, 2026-11-08 to 2026-11-14"
    return text.partition("), ")[2], observed, threshold


@pytest.mark.parametrize(
    ("known", "told", "unknown"),
    [
        ([], "not judged: never known", 7),
        (range(13), "not judged: not known for two windows yet", 0),
        # Also one that is gone before it was known for so long.
        (range(1, 13), "not judged: not known for two windows yet", 1),
        ([*range(7), 14], "not judged: no day of the window before is known", 0),
        # It comes and goes: so few people are behind it that it is hidden now and then.
        ([1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13], "not judged: unknown on the last day, as on days before", 1),
    ],
)
def test_what_cannot_be_judged_passes_and_says_why(spark, known, told, unknown):
    _, made = judged(spark, of_days(dict.fromkeys(known, (100, 10))), {"rate": rule(**RATE)})
    assert why(made) == (told, unknown, inf)


@pytest.mark.parametrize("known", [range(1, 14), range(7, 14), range(3, 30), range(20, 30), [40]])
@pytest.mark.parametrize("is_hidden", [False, True])
def test_a_figure_that_is_gone_fails_whether_its_rows_are_missing_or_hidden(spark, known, is_hidden):
    rows = of_days(dict.fromkeys(known, (100, 10)))
    if is_hidden:
        rows += of_days(dict.fromkeys(range(min(known)), (None, None)))
    _, made = judged(spark, rows, {"rate": rule(**RATE)})
    assert why(made) == ("which was known before", min(*known, 7), 0)


def test_two_whole_windows_are_enough_and_the_future_is_not_looked_at(spark):
    rows = weeks((1000, 100), (1000, 70)) + of_days({-1: (1000, 1), -2: (1000, 1)})
    _, made = judged(spark, rows, {"rate": rule(**RATE)})
    assert [moved for *_, moved, _ in made] == [0.3]
    tomorrow = AS_OF + timedelta(days=1)
    assert judged(spark, rows, {"rate": rule(**RATE)}, as_of=tomorrow)[1][0][2] > 0.3


def test_only_rows_count_that_have_what_a_rule_asks_for(spark):
    days = [(AS_OF - timedelta(days=n), n) for n in range(4)]
    rows = [(day, "feed", "all", 50, 100, True) for day, _ in days]
    rows += [(day, "feed", "region=eu", 50 if n < 2 else 1, 60, True) for day, n in days]
    rows += [(day, "video", "all", 50, 100, n < 3) for day, n in days]
    of_all = {"table": "gold.audience_daily", "where": {"segment": "all"}}
    whole = of_all | {"where": {"segment": "all", "is_complete": True}}
    asked = {"actives": rule(2, of="dau", **of_all), "sticky": rule(2, of="dau", per="mau_28d", **whole)}
    found, made = judged(spark, rows, asked, ("feed", "video"), schema=AUDIENCE)
    assert [found["actives", "feed"][name] for name in ("value", "value_before")] == [50.0, 50.0]
    assert [found["sticky", "feed"][name] for name in ("value", "value_before")] == [0.5, 0.5]
    # On video the months became whole three days ago, which is one short of two windows.
    assert made[-1][0].endswith("not judged: not known for two windows yet")
    assert found["actives", "video"]["value"] == 50.0
