import shutil
from datetime import UTC, date, datetime, timedelta

import pytest
from tests import silver_rows
from tests.conftest import CONF

import check_kpis
import measure_audience
import measure_outcomes
from salience.job import run_job
from salience.report.status import problems, status
from salience.tables import activity, ops, outcomes, silver

pytestmark = pytest.mark.integration

AS_OF = date(2026, 11, 28)
DAYS = [AS_OF - timedelta(days=back) for back in range(14)]
RULES = ("engagement_rate", "impressions", "watch_time", "daily_actives", "stickiness", "engaged_by_recommended")


@pytest.fixture
def check(settings):
    """Run a job for a day and return its exit code."""

    def job(*more, main=check_kpis.main, day=AS_OF, platforms="feed"):
        places = ("--set", f"warehouse={settings.warehouse}", "--set", f"platforms=[{platforms}]")
        extra = getattr(check_kpis, "extra", None) if main is check_kpis.main else None
        return run_job(main, ["--env", "local", "--date", str(day), *places, *more], extra=extra)

    return job


def fill(warehouse, table, rows):
    whole = [{"segment": "all", "is_complete": True, "suppressed_cells": 0} | row for row in rows]
    keys = {name: sorted({row[name] for row in whole}) for name in ("event_date", "platform")}
    warehouse.replace(table, warehouse.frame(table, whole), keys)


def measured(warehouse, **of_platforms):
    """Fill the day tables with two weeks of each platform; of the last, engagements are what is given."""
    keys = [(platform, day, n < 7) for platform in of_platforms for n, day in enumerate(DAYS)]
    rows = [{"platform": platform, "event_date": day} for platform, day, _ in keys]
    engaged = [of_platforms[platform] if is_last else 100 for platform, _, is_last in keys]
    contents = {"content_id": "c1", "impressions": 1000, "reach": 200, "watch_time_s": 60.5}
    with_engagements = [row | contents | {"engagements": n} for row, n in zip(rows, engaged, strict=True)]
    fill(warehouse, activity.CONTENT_DAILY, with_engagements)
    fill(warehouse, activity.AUDIENCE_DAILY, [row | {"dau": 100, "wau_7d": 150, "mau_28d": 200} for row in rows])
    lists = {"release_id": "2026-11-01.1", "arm": "personalised", "recommended": 1000, "engaged": 50}
    fill(warehouse, outcomes.OUTCOMES, [row | lists for row in rows])


def recorded(warehouse):
    """Return what the newest run audited: KPI, way, platform -> observed, threshold, passed."""
    run = warehouse.read(ops.RUNS).where("job = 'check_kpis'").orderBy("ended_at").collect()[-1]["run_id"]
    rows = warehouse.read(ops.AUDITS).where(f"run_id = '{run}'").collect()
    keyed = {}
    for row in rows:
        words = row["rule"].split()
        key = (words[words.index("KPI") + 1], words[0], row["place"].split(",")[0])
        keyed[key] = (row["observed"], row["threshold"], row["passed"])
    assert len(keyed) == len(rows)
    return keyed


def test_a_rate_that_fell_by_30_percent_is_recorded_told_gated_and_part_of_the_status(check, warehouse, capsys):
    measured(warehouse, feed=100, video=70)
    assert check(platforms="feed, video") == 0
    told = (
        "gold.content_daily: fall of KPI engagement_rate (engagements / impressions) against the 7 days before: 0.3 "
        "(at most 0.2) in video, 2026-11-22 to 2026-11-28 (0.07 after 0.1, 7 of 7 days compared)"
    )
    assert f"check_kpis: audit failed: {told}\n" in capsys.readouterr().out
    found = recorded(warehouse)
    ways = [(name, "fall") for name in RULES] + [("impressions", "rise")]
    assert set(found) == {(name, way, platform) for name, way in ways for platform in ("feed", "video")}
    assert found["engagement_rate", "fall", "video"] == (0.3, 0.2, False)
    assert found["engagement_rate", "fall", "feed"] == (0.0, 0.2, True)
    assert [key for key, (*_, passed) in found.items() if not passed] == [("engagement_rate", "fall", "video")]

    assert check("--gate", platforms="feed, video") == 3
    assert capsys.readouterr().err.splitlines()[-1] == f"check_kpis: 1 KPI alarms: {told}"
    assert recorded(warehouse) == found
    (row,) = warehouse.read(ops.RUNS).where("status = 'failed'").collect()
    assert row["error"].startswith("1 KPI alarms: ") and set(row["inputs"]) == {
        str(table) for table in (activity.CONTENT_DAILY, activity.AUDIENCE_DAILY, outcomes.OUTCOMES)
    }
    found = problems(status(warehouse, AS_OF, ["feed"], datetime.now(UTC)))
    wrong = [problem for problem in found if "KPI" in problem]
    assert [problem.partition(": ")[0] for problem in wrong] == [
        "check_kpis for 2026-11-28 failed",
        "an audit of check_kpis failed",
    ]
    assert "is 0.3, at most 0.2 passes" in wrong[1]


def test_a_platform_of_which_a_day_is_missing_fails_and_one_in_order_passes_the_gate(check, warehouse):
    measured(warehouse, feed=90)
    assert check("--gate") == 0
    tomorrow = AS_OF + timedelta(days=1)
    assert check("--gate", day=tomorrow) == 3
    gone = recorded(warehouse)
    assert set(gone) == {(name, "days", "feed") for name in RULES}
    assert set(gone.values()) == {(1.0, 0.0, False)}


def test_in_a_new_warehouse_nothing_is_judged_and_that_is_told(check, spark, warehouse, capsys):
    events = [{"user": f"u{n}", "at": f"{day} 10:00"} for n in range(9) for day in (26, 27, 28)]
    frame = silver_rows.interactions(spark, events)
    warehouse.replace(silver.INTERACTIONS, frame, {"event_date": DAYS[:3], "platform": ["feed"]})
    people = [{"user": f"u{n}", "attributes": {}, "valid_from": "1 00:00"} for n in range(9)]
    warehouse.replace(silver.USERS, silver_rows.users(spark, people), {"platform": ["feed"]})
    assert check("--gate") == 2
    assert "no such table in" in (told := capsys.readouterr().err) and "run jobs/measure_" in told

    for job in (measure_audience, measure_outcomes):
        assert check(main=job.main) == 0
    assert check("--gate") == 0
    told = capsys.readouterr().out
    assert (
        "check_kpis: days without KPI daily_actives (dau), not judged: not known for two windows yet: 4 "
        "in feed, 2026-11-22 to 2026-11-28\n"
    ) in told
    assert "KPI engaged_by_recommended (engaged / recommended), not judged: never known: 7 in feed" in told
    found = recorded(warehouse)
    assert set(found) == {(name, "days", "feed") for name in RULES}
    assert all(passed for *_, passed in found.values())


def test_rules_come_from_the_folder_of_the_settings_and_wrong_ones_end_with_code_2_before_anything_is_read(
    check, warehouse, tmp_path, monkeypatch, capsys
):
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    monkeypatch.setenv("SALIENCE_CONF_DIR", str(conf))
    rules = "frozen:\n  metric: {table: gold.content_daily, of: plays}\n  change: {fall: 0.2}\n  window_days: 7\n"
    (conf / "kpis.yaml").write_text(rules.replace("fall: 0.2", "fall: 20"), encoding="utf-8")
    assert check() == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"check_kpis: {conf}/kpis.yaml: frozen.change.fall: Input should be less than 1 (given: 20)"
    )
    (conf / "kpis.yaml").write_text(rules, encoding="utf-8")
    measured(warehouse, feed=100)
    assert check("--gate") == 0
    assert recorded(warehouse) == {("frozen", "days", "feed"): (7.0, float("inf"), True)}
