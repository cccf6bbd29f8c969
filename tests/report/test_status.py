from datetime import UTC, date, datetime, timedelta

import pytest

from salience.report.status import as_text, problems, status
from salience.tables import ops, publishing, recommendations
from tests.snapshots import FIRST, LISTS, SECOND, record, run

pytestmark = pytest.mark.integration

DAY = date(2026, 11, 2)
NOW = datetime(2026, 11, 3, 5, tzinfo=UTC)
DELIVERY = {
    "run_id": "r1",
    "platform": "feed",
    "dataset": "interactions",
    "delivery_date": DAY,
    "state": "taken",
    "files": 1,
    "bytes": 1,
    "manifest_hash": "",
    "seen_at": NOW,
}
AUDIT = {
    "run_id": "r2",
    "table": "gold.recommendations",
    "rule": "rows without a person",
    "place": FIRST,
    "observed": 0.0,
    "threshold": 0.0,
    "passed": True,
    "audited_at": NOW,
}


def of_run(run_id, job, hour, **change):
    times = {"started_at": NOW.replace(hour=hour), "ended_at": NOW.replace(hour=hour, minute=2)}
    return run(FIRST, LISTS) | {"run_id": run_id, "job": job, "interval_to": DAY} | times | change


@pytest.fixture
def well(warehouse):
    """A warehouse in which all is well."""
    record(warehouse, of_run("r1", "clean_interactions", 4), of_run("r2", "recommend", 5))
    warehouse.append_rows(ops.DELIVERIES, [DELIVERY])
    warehouse.append_rows(ops.AUDITS, [AUDIT])
    publishing.publish(warehouse, FIRST, 5)
    return warehouse


def wrong(warehouse, day=DAY, platforms=("feed",), now=NOW):
    return problems(status(warehouse, day, platforms, now))


def test_where_all_is_well_everything_is_told_and_nothing_is_a_problem(well):
    found = status(well, DAY, ["feed"], NOW)
    assert problems(found) == []
    told = as_text(found).splitlines()
    assert told[:4] == [
        "runs",
        f"  clean_interactions       succeeded  2026-11-03 04:00 after 120 s      {FIRST}",
        f"  recommend                succeeded  2026-11-03 05:00 after 120 s      {FIRST}",
        "",
    ]
    assert "  recommend                1 of 1 passed" in told
    assert "  feed                     interactions up to 2026-11-02" in told
    assert any(line.startswith(f"       1  {FIRST}   publish") for line in told)


def test_a_new_warehouse_is_late_with_everything(warehouse):
    assert wrong(warehouse) == ["feed is late: no interactions of 2026-11-02 were taken", "late: nothing is published"]


def test_a_day_that_nobody_delivered_and_no_release_knows_is_late(well):
    assert wrong(well, DAY + timedelta(days=1)) == [
        "feed is late: no interactions of 2026-11-03 were taken",
        "gold.recommendations is late: it knows 2026-11-02, not 2026-11-03",
    ]


def test_a_platform_that_delivered_nothing_is_late_though_another_is_not(well):
    assert wrong(well, platforms=("feed", "video")) == ["video is late: no interactions of 2026-11-02 were taken"]


BROKEN = {"status": "failed", "error": "ValueError: no"}


def test_a_job_is_judged_by_its_newest_run_for_the_same_days(well):
    record(well, of_run("r0", "recommend", 3, **BROKEN), of_run("r3", "clean_interactions", 6, **BROKEN))
    assert wrong(well) == ["clean_interactions for 2026-11-02 failed: ValueError: no"]


def test_a_platform_that_failed_is_told_though_another_was_cleaned_after_it(well):
    record(well, of_run("r0", "clean_interactions", 3, settings_hash="of video", **BROKEN))
    assert wrong(well) == ["clean_interactions for 2026-11-02 failed: ValueError: no"]


STARTED = {"status": "started", "ended_at": None}


def test_a_run_that_started_and_ended_is_judged_by_its_end(well):
    record(well, of_run("r2", "recommend", 5, **STARTED))
    assert wrong(well) == []


def test_a_run_goes_on_for_half_a_day_and_has_been_lost_after_that(well):
    record(well, of_run("r3", "recommend", 6, **STARTED))
    assert f"  recommend                started    2026-11-03 06:00 and goes on      {FIRST}" in as_text(
        status(well, DAY, ["feed"], NOW)
    )
    assert wrong(well, now=NOW + timedelta(hours=13)) == []
    assert wrong(well, now=NOW + timedelta(hours=14)) == [
        "recommend for 2026-11-02 started at 2026-11-03 06:00 and has not ended: it was killed, or hangs"
    ]


def test_a_run_that_failed_is_a_problem_until_another_has_ended_well_not_only_begun(well):
    record(well, of_run("r3", "recommend", 6, **BROKEN), of_run("r4", "recommend", 7, **STARTED))
    assert wrong(well) == ["recommend for 2026-11-02 failed: ValueError: no"]
    assert "started    2026-11-03 07:00 and goes on" in as_text(status(well, DAY, ["feed"], NOW))
    record(well, of_run("r4", "recommend", 7))
    assert wrong(well) == []


def test_of_jobs_that_say_how_things_stand_the_newest_days_answer_counts(well):
    day_before = {"interval_to": DAY - timedelta(days=1)}
    record(
        well,
        of_run("r3", "check_kpis", 2, **BROKEN, **day_before),
        of_run("r4", "recommend", 2, **BROKEN, **day_before),
    )
    record(well, of_run("r5", "check_kpis", 6))
    assert wrong(well) == ["recommend for 2026-11-01 failed: ValueError: no"]


def test_a_run_that_was_killed_is_a_problem_until_another_has_succeeded(well):
    record(well, of_run("r3", "recommend", 6, status="killed", error="InterruptedError: SIGTERM"))
    assert wrong(well) == ["recommend for 2026-11-02 killed: InterruptedError: SIGTERM"]
    record(well, of_run("r4", "recommend", 7, **STARTED), of_run("r4", "recommend", 7))
    assert wrong(well) == []


def test_what_failed_more_than_a_week_ago_is_told_no_more(well):
    record(well, of_run("r0", "recommend", 3, **BROKEN, interval_to=date(2026, 10, 1)))
    assert wrong(well) != []
    assert [told for told in wrong(well, DAY + timedelta(days=10)) if "failed" in told] == []


def test_tables_of_models_may_be_a_week_old_and_no_older(well):
    record(well, run(SECOND, recommendations.EVALUATION))
    publishing.publish(well, SECOND, 5)
    assert [told for told in wrong(well, DAY + timedelta(days=8)) if "evaluation" in told] == []
    (late,) = (told for told in wrong(well, DAY + timedelta(days=9)) if "evaluation" in told)
    assert late == "gold.recommender_evaluation is late: it knows 2026-11-02, not 2026-11-03"


def test_an_audit_that_the_newest_run_failed_is_a_problem_and_an_older_runs_is_none(well):
    failed = {"passed": False, "observed": 3.0}
    record(well, of_run("r0", "recommend", 3))
    well.append_rows(ops.AUDITS, [AUDIT | failed | {"run_id": "r0"}])
    assert wrong(well) == []
    well.append_rows(ops.AUDITS, [AUDIT | failed | {"rule": "drift", "place": None}])
    assert wrong(well) == ["an audit of recommend failed: gold.recommendations: drift is 3, at most 0 passes"]


def test_a_delivery_that_was_held_is_a_problem_until_it_is_taken(well):
    users = DELIVERY | {"dataset": "users"}
    well.append_rows(ops.DELIVERIES, [users | {"state": "held", "problem": "half the rows of the days before"}])
    assert wrong(well) == ["feed users of 2026-11-02 is held: half the rows of the days before"]
    well.append_rows(ops.DELIVERIES, [users | {"run_id": "r4", "seen_at": NOW + timedelta(hours=1)}])
    assert wrong(well) == []
