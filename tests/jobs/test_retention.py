"""Old days deleted layer by layer: what silver and gold hold of them, whatever is delivered or refused later.

Deliveries before 11-04 are deleted from bronze. So event days before 11-08 are frozen, and deliveries before 11-11,
which may be three days late, are closed.
"""

import shutil
from datetime import date

import pytest
from pyspark.sql import functions as F
from tests import silver_rows
from tests.feed import EVENTS_OF_PEOPLE, CrashError, Platform, crash, event, user

import apply_retention
import measure_audience
from salience.interactions import retention as of_cleaning
from salience.job import run_job
from salience.tables import activity, bronze, ops, retention, silver

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEPT_FROM = date(2026, 11, 4)
OLD, CLOSED, OPEN, LAST = "2026-11-02", "2026-11-09", "2026-11-12", "2026-11-14"


def delete(feed):
    for table, column in retention.AGEING["bronze"]:
        retention.delete_before(feed.warehouse, table, column, KEPT_FROM)


@pytest.fixture(scope="module")
def once(spark, tmp_path_factory):
    feed = Platform(spark, tmp_path_factory.mktemp("feed"))
    feed.logs.mkdir()
    feed.deliver("2026-11-01", user("u-ann"), user("u-bob"), dataset="users")
    feed.deliver(OLD, event("a2", "02T10:00:00"), event("b2", "02T11:00:00", uid="u-bob"), event("a2", "02T10:00:00"))
    feed.deliver("2026-11-03", event("a3", "03T10:00:00"), event("late", "02T12:00:00"))
    feed.deliver(OPEN, event("a12", "12T10:00:00"), event("very late", "05T10:00:00"))
    feed.deliver(LAST, event("a14", "14T10:00:00"))
    feed.clean("2026-11-01", OLD, "2026-11-03", OPEN, LAST, datasets=EVENTS_OF_PEOPLE, max_lateness_days=10)
    return feed


@pytest.fixture
def cleaned(once, tmp_path):
    """Everything is cleaned, one delivery with events of a day that will be frozen; nothing is deleted yet."""
    shutil.copytree(once.folder, tmp_path / "feed")
    return Platform(once.spark, tmp_path / "feed")


ACCEPTED = {
    ("a2", OLD),
    ("b2", OLD),
    ("a3", "2026-11-03"),
    ("late", "2026-11-03"),
    ("a12", OPEN),
    ("very late", OPEN),
    ("a14", LAST),
}


def states(feed, *days, datasets=("interactions",)):
    outcomes, _ = feed.clean(*days, datasets=datasets)
    return {str(delivery.day): (delivery.state, delivery.problem) for delivery in outcomes}


def test_silver_keeps_what_bronze_has_lost_whatever_is_delivered_or_corrected_later(cleaned):
    assert cleaned.accepted() == ACCEPTED and cleaned.excluded() == {("a2", "duplicate")}
    delete(cleaned)
    left = cleaned.warehouse.read(bronze.EVENTS).select(F.min("delivery_date"), F.count("*")).head()
    assert tuple(left) == (date.fromisoformat(OPEN), 3)
    (row,) = cleaned.warehouse.read(ops.RETENTION).collect()
    assert (row["table"], row["platform"], row["deleted_before"], row["rows"]) == (
        "bronze.events",
        "feed",
        KEPT_FROM,
        5,
    )
    version = cleaned.warehouse.version(bronze.EVENTS)
    delete(cleaned)
    assert (cleaned.warehouse.version(bronze.EVENTS), cleaned.warehouse.read(ops.RETENTION).count()) == (version, 1)

    # Corrections and late deliveries of days that may bear on what is gone.
    cleaned.deliver(OLD, event("new", "02T15:00:00"))
    cleaned.deliver(CLOSED, event("a9", "09T10:00:00"))
    found = states(cleaned, OLD, CLOSED, LAST)
    assert {day: state for day, (state, _) in found.items()} == {OLD: "refused", CLOSED: "refused", LAST: "taken"}
    assert found[OLD][1].startswith(
        "older than what bronze keeps (retention.bronze_days): deliveries before 2026-11-11 may hold events of"
    )
    assert cleaned.accepted() == ACCEPTED and cleaned.excluded() == {("a2", "duplicate")}

    # One that is open loses an event of a frozen day, which stays, and one of an open day, and brings another.
    cleaned.deliver(OPEN, event("a11", "11T10:00:00"))
    assert states(cleaned, OPEN) == {OPEN: ("taken", None)}
    assert cleaned.accepted() == ACCEPTED - {("a12", OPEN)} | {("a11", OPEN)}
    assert cleaned.excluded() == {("a2", "duplicate")}

    # Dimensions are made of all of their deliveries still.
    assert states(cleaned, "2026-11-01", datasets=["users"]) == {"2026-11-01": ("taken", None)}
    assert cleaned.warehouse.read(silver.USERS).count() == 2


@pytest.mark.trial
def test_a_refusal_that_reaches_frozen_days_takes_just_its_own_events_out_also_after_a_crash(cleaned):
    delete(cleaned)
    cleaned.deliver("2026-11-01", user("u-ann"), user("u-bob", analysed=False), dataset="users")
    with pytest.raises(CrashError):
        into = cleaned.hooked(behind=(silver.EXCLUDED_EVENTS, crash))
        cleaned.clean("2026-11-01", LAST, into=into, datasets=EVENTS_OF_PEOPLE)
    assert cleaned.accepted() == ACCEPTED
    cleaned.clean(LAST, datasets=EVENTS_OF_PEOPLE)
    assert cleaned.accepted() == ACCEPTED - {("b2", OLD)}
    assert cleaned.warehouse.read(silver.EXCLUDED_EVENTS).count() == 2
    assert cleaned.excluded() == {("a2", "duplicate"), ("b2", "consent")}
    told = [note for _, note, _ in cleaned.warehouse.notes(silver.INTERACTIONS) if note.get("event_days") == [OLD]]
    assert told, "what is measured of the day has to be measured anew"

    # Taken back, it brings nothing back: excluded events are kept without their details.
    cleaned.deliver("2026-11-01", user("u-ann"), user("u-bob"), dataset="users")
    cleaned.clean("2026-11-01", LAST, datasets=EVENTS_OF_PEOPLE)
    assert cleaned.accepted() == ACCEPTED - {("b2", OLD)}
    assert cleaned.warehouse.read(silver.EXCLUDED_EVENTS).count() == 2


@pytest.mark.trial
def test_nothing_is_deleted_that_a_dead_run_left_unsettled_and_what_is_torn_survives(cleaned, capsys):
    cleaned.deliver(
        "2026-11-03", event("a3", "03T10:00:00"), event("late", "02T12:00:00"), event("more", "03T13:00:00")
    )
    with pytest.raises(CrashError):
        cleaned.clean(
            "2026-11-03", into=cleaned.hooked(behind=(silver.EXCLUDED_EVENTS, crash)), datasets=["interactions"]
        )
    argv = ["--env", "local", "--date", "2027-02-01", "--set", f"warehouse={cleaned.root}"]
    assert run_job(apply_retention.main, argv) == 2
    assert (
        "feed: a run died before it settled all of its deliveries before 2026-11-08; clean" in capsys.readouterr().err
    )
    assert cleaned.warehouse.read(bronze.EVENTS).count() == 9

    delete(cleaned)  # all the same
    assert states(cleaned, LAST) == {LAST: ("taken", None)}
    assert cleaned.accepted() == ACCEPTED


@pytest.mark.trial
def test_the_ledger_comes_first_so_a_run_that_dies_before_it_deletes_freezes_already(cleaned, monkeypatch):
    into = cleaned.warehouse
    monkeypatch.setattr(into, "delete_before", lambda *_: crash())
    with pytest.raises(CrashError):
        retention.delete_before(into, bronze.EVENTS, "delivery_date", KEPT_FROM)
    assert cleaned.warehouse.read(bronze.EVENTS).count() == 8
    assert of_cleaning.cut_off(cleaned.warehouse, "feed").kept_from == KEPT_FROM
    assert of_cleaning.cut_off(cleaned.warehouse, "other").kept_from is None
    cleaned.deliver(OLD, event("new", "02T15:00:00"))
    assert states(cleaned, OLD)[OLD][0] == "refused"
    delete(cleaned)
    assert cleaned.warehouse.read(bronze.EVENTS).count() == 3
    assert cleaned.accepted() == ACCEPTED


def test_each_layer_keeps_its_days_and_what_was_measured_of_deleted_ones_stays(spark, warehouse, settings, capsys):
    events = [
        {"user": f"u{n}", "at": silver_rows.instant(f"{day} 10:00")} for day in (1, 2, 10, 28, 29) for n in range(6)
    ]
    frame = silver_rows.interactions(spark, events)
    days = sorted(row[0] for row in frame.select("event_date").distinct().collect())
    warehouse.replace(silver.INTERACTIONS, frame, {"event_date": days, "platform": ["feed"]}, {"event_days": []})
    warehouse.ensure(silver.USERS)

    def job(main, day, *more):
        argv = [
            "--env",
            "local",
            "--date",
            day,
            "--set",
            "platforms=[feed]",
            "--set",
            f"warehouse={settings.warehouse}",
        ]
        return run_job(main, [*argv, *(part for setting in more for part in ("--set", setting))])

    def measured(table):
        return {r["event_date"].isoformat(): r.asDict() for r in warehouse.read(table).collect()}

    assert job(measure_audience.main, "2026-11-29") == 0
    before = measured(activity.CONTENT_DAILY), measured(activity.AUDIENCE_DAILY)
    keeping = ("retention.bronze_days=20", "retention.silver_days=60", "retention.gold_days=62")
    assert job(apply_retention.main, "2027-01-01", *keeping) == 0
    # 60 days that end on 1 January begin on 3 November.
    left = sorted({str(row[0]) for row in warehouse.read(silver.INTERACTIONS).select("event_date").collect()})
    assert left == ["2026-11-10", "2026-11-28", "2026-11-29"]
    assert min(measured(activity.CONTENT_DAILY)) == min(measured(activity.AUDIENCE_DAILY)) == "2026-11-01"
    assert job(apply_retention.main, "2027-01-01", *keeping) == 0
    assert {r["table"]: str(r["deleted_before"]) for r in warehouse.read(ops.RETENTION).collect()} == {
        "silver.interactions": "2026-11-03"
    }

    # Asked for again, a day whose input is gone in part stays as it is; one whose is whole is measured.
    assert job(measure_audience.main, "2026-11-29") == 2
    assert "2026-11-29 cannot be measured any more" in capsys.readouterr().err
    assert (measured(activity.CONTENT_DAILY), measured(activity.AUDIENCE_DAILY)) == before
    assert job(measure_audience.main, "2026-11-30") == 0
    after = measured(activity.AUDIENCE_DAILY)
    assert after["2026-11-30"]["is_complete"] is False and after["2026-11-30"]["mau_28d"] == 6
    assert {day: row for day, row in after.items() if day != "2026-11-30"} == before[1]

    assert job(apply_retention.main, "2027-01-03", *keeping) == 0
    assert min(measured(activity.CONTENT_DAILY)) == "2026-11-10"
    assert min(measured(activity.AUDIENCE_DAILY)) == "2026-11-03"
