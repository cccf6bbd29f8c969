"""Cleaning ends in the same tables whatever came before: copies, corrections, crashes, refusals."""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from tests.feed import (
    DAYS,
    EVENTS_ONLY,
    CrashError,
    Platform,
    content,
    crash,
    deliver_four_days,
    event,
    machine,
    user,
)

from salience.errors import AuditError
from salience.interactions.settling import EventDays
from salience.tables import bronze, ops, silver

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def files_by_day(feed: Platform, table) -> dict[str, set[str]]:
    """Return event day -> the files that hold it."""
    files = feed.spark.read.format("delta").load(feed.warehouse.path(table)).inputFiles()
    return {day: {file for file in files if f"event_date={day}" in file} for day in DAYS}


def test_the_same_delivery_twice_a_corrected_and_an_emptied_one_leave_what_the_last_one_says(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"), event("e2", "02T11:00:00"), event("x", "never"))
    feed.deliver(DAYS[1], event("e1", "02T10:00:00"), event("e3", "02T12:00:00"))
    feed.clean(*DAYS[:2], datasets=EVENTS_ONLY)
    before = feed.hashes()
    feed.clean(*DAYS[:2], datasets=EVENTS_ONLY)
    assert feed.hashes() == before
    feed.deliver(DAYS[0], event("e2", "02T11:00:00", post_id="p2"), event("e4", "03T00:01:00"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)
    assert feed.accepted() == {("e1", DAYS[1]), ("e2", DAYS[0]), ("e3", DAYS[1]), ("e4", DAYS[0])}
    assert feed.rows() == feed.rebuilt(*DAYS[:2], datasets=EVENTS_ONLY)
    feed.deliver(DAYS[0])
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)
    assert feed.accepted() == {("e1", DAYS[1]), ("e3", DAYS[1])}
    assert feed.warehouse.read(silver.REJECTED_EVENTS).isEmpty()


def test_a_late_row_rewrites_only_its_own_event_day(feed):
    for n, day in enumerate(DAYS[:3], start=2):
        copies = [event(f"e{n}", f"0{n}T10:00:00")] * 2
        feed.deliver(day, *copies, event(f"t{n}", f"0{n}T23:59:00"))
    feed.clean(*DAYS[:3], datasets=EVENTS_ONLY)
    tables = (silver.INTERACTIONS, silver.EXCLUDED_EVENTS)
    before = [files_by_day(feed, table) for table in tables]
    assert all(of_table[day] for of_table in before for day in DAYS[:3])
    feed.deliver(DAYS[3], event("late", "03T12:00:00"), event("e3", "03T10:00:00"), event("now", "05T10:00:00"))
    feed.clean(DAYS[3], datasets=EVENTS_ONLY)
    for was, of_table in zip(before, (files_by_day(feed, table) for table in tables), strict=True):
        assert [day for day in DAYS[:3] if of_table[day] != was[day]] == [DAYS[1]]
    assert ("late", DAYS[3]) in feed.accepted()


@pytest.mark.parametrize(
    "died_behind", [pytest.param(bronze.EVENTS, marks=pytest.mark.trial), silver.EXCLUDED_EVENTS], ids=str
)
def test_a_run_that_dies_before_it_settled_is_healed_by_the_same_day_and_by_any_other(feed, died_behind):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"), event("e2", "02T11:00:00"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)
    feed.deliver(DAYS[0], event("e2", "02T11:00:00", post_id="p2"))
    feed.deliver(DAYS[1], event("late", "02T12:00:00"), event("e3", "03T10:00:00"), event("x", "never"))
    feed.deliver(DAYS[2], event("e4", "04T10:00:00"))
    with pytest.raises(CrashError):
        feed.clean(*DAYS[:2], into=feed.hooked(behind=(died_behind, crash)), datasets=EVENTS_ONLY)
    assert ("late", DAYS[1]) not in feed.accepted()
    other, none = feed.copy("other"), feed.copy("none")
    feed.clean(*DAYS[:2], datasets=EVENTS_ONLY)
    assert feed.rows() == feed.rebuilt(*DAYS[:2], datasets=EVENTS_ONLY)
    none.clean("2026-12-01", datasets=EVENTS_ONLY)
    assert none.rows() == feed.rows()
    other.clean(DAYS[2], datasets=EVENTS_ONLY)
    assert other.rows() == feed.rebuilt(*DAYS[:3], datasets=EVENTS_ONLY)


@pytest.mark.parametrize("died_behind", [pytest.param(bronze.USERS, marks=pytest.mark.trial), silver.USERS], ids=str)
@pytest.mark.trial
def test_a_run_that_dies_with_a_refused_consent_is_healed_by_a_rerun_and_by_a_day_without_deliveries(feed, died_behind):
    feed.deliver(DAYS[1], event("e1", "03T10:00:00"))
    feed.deliver(DAYS[0], user("u-ann"), dataset="users")
    feed.clean(*DAYS[:2])
    feed.deliver(DAYS[1], user("u-ann", analysed=False), dataset="users")
    with pytest.raises(CrashError):
        feed.clean(DAYS[1], into=feed.hooked(behind=(died_behind, crash)))
    assert feed.accepted() == {("e1", DAYS[1])}
    other = feed.copy("other")
    other.clean("2026-12-01")
    assert other.excluded() == {("e1", "consent")} and other.accepted() == set()
    feed.clean(DAYS[1])
    assert other.rows() == feed.rows() == feed.rebuilt(*DAYS[:2])


@pytest.mark.trial
def test_a_consent_refused_after_the_events_were_settled_excludes_them_and_its_correction_brings_them_back(feed):
    """The people come on a day without interactions; a machine's events change their reason too."""
    feed.deliver(DAYS[2], event("e1", "04T10:00:00"), *machine("droid", 0, 70), event("e2", "04T11:00:00", uid="bob"))
    feed.clean(DAYS[2])
    assert feed.accepted() == {("e1", DAYS[2]), ("e2", DAYS[2])}
    feed.deliver(DAYS[1], user("u-ann", analysed=False), user("droid", analysed=False), user("bob"), dataset="users")
    feed.clean(DAYS[1])
    assert feed.accepted() == {("e2", DAYS[2])}
    assert feed.excluded() == {("e1", "consent")} | {(f"droid-{n}", "consent") for n in range(70)}
    assert feed.rows() == feed.rebuilt(*DAYS[1:3])
    feed.deliver(DAYS[1], user("u-ann"), user("droid"), user("bob"), dataset="users")
    feed.clean(DAYS[1])
    assert feed.accepted() == {("e1", DAYS[2]), ("e2", DAYS[2])}
    assert feed.rows() == feed.rebuilt(*DAYS[1:3])


@pytest.mark.trial
def test_late_rows_that_were_accepted_stay_when_max_lateness_is_lowered_until_their_delivery_is_taken_again(feed):
    """The late tap before midnight still makes the one behind it a double tap."""
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"))
    feed.deliver(DAYS[1], event("t2", "03T00:00:00.200", post_id="p9"))
    late = event("t1", "02T23:59:59.700", post_id="p9")
    feed.deliver(DAYS[3], late, event("late", "02T12:00:00"), event("now", "05T10:00:00"))
    feed.clean(DAYS[0], DAYS[1], DAYS[3], datasets=EVENTS_ONLY)
    before = feed.hashes()
    assert feed.excluded() == {("t2", "double_tap")}
    feed.clean(DAYS[0], datasets=EVENTS_ONLY, max_lateness_days=1)
    feed.clean(DAYS[1], datasets=EVENTS_ONLY, max_lateness_days=1)
    assert feed.hashes() == before
    feed.clean(DAYS[3], datasets=EVENTS_ONLY, max_lateness_days=1)
    assert feed.accepted() == {("e1", DAYS[0]), ("t2", DAYS[1]), ("now", DAYS[3])}
    assert feed.rows() == feed.rebuilt(DAYS[0], DAYS[1], DAYS[3], datasets=EVENTS_ONLY, max_lateness_days=1)


@pytest.mark.trial
def test_late_rows_of_a_run_that_died_are_settled_by_one_with_a_lower_max_lateness(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"))
    feed.deliver(DAYS[3], event("late", "02T12:00:00"))
    with pytest.raises(CrashError):
        feed.clean(DAYS[3], into=feed.hooked(behind=(bronze.EVENTS, crash)), datasets=EVENTS_ONLY)
    feed.clean(DAYS[0], datasets=EVENTS_ONLY, max_lateness_days=1)
    assert feed.accepted() == {("e1", DAYS[0]), ("late", DAYS[3])}


@pytest.mark.trial
def test_events_of_an_erased_person_leave_silver_for_good_and_keep_no_pseudonym(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"), event("e2", "02T11:00:00", uid="bob"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)
    rows = feed.warehouse.read(silver.INTERACTIONS).where("event_id = 'e2'")
    bob = rows.select("platform", "user_id").head().asDict() | {"erased_at": datetime.now(UTC)}
    feed.warehouse.append_rows(silver.ERASURES, [bob])
    feed.deliver(DAYS[1], event("e3", "03T10:00:00", uid="bob"), event("e2", "02T11:00:00", uid="bob"))
    for _ in range(2):
        feed.clean(*DAYS[:2], datasets=EVENTS_ONLY)
        assert feed.accepted() == {("e1", DAYS[0])}
        assert feed.excluded() == set()
        gone = feed.warehouse.read(silver.REJECTED_EVENTS).select("delivery_date", "reasons", "event_id").collect()
        found = sorted((str(day), reasons, event_id) for day, reasons, event_id in gone)
        assert found == [(day, ["erased"], None) for day in (DAYS[0], DAYS[1], DAYS[1])]


@pytest.mark.parametrize("state", [pytest.param("refused", marks=pytest.mark.trial), "held"])
def test_a_correction_that_cannot_be_taken_leaves_the_day_as_it_was(feed, state):
    deliver_four_days(feed)
    feed.clean(*DAYS)
    before, deliver = feed.hashes(), partial(feed.deliver, DAYS[2])
    for dataset, row in (("contents", content(None)), ("users", user(None)), ("interactions", event("x", "never"))):
        deliver(*[row] * 9, dataset=dataset)
        if state == "refused":
            (feed.logs / "feed" / dataset / f"dt={DAYS[2]}" / "part-0.parquet").write_bytes(b"PAR1 no more of it PAR1")
    thresholds = feed.settings.thresholds.model_copy(update={"min_rows": 5})
    for dataset in feed.mapping.datasets:
        ((delivery,), _) = feed.clean(DAYS[2], datasets=(dataset,), thresholds=thresholds)
        assert (delivery.state, bool(delivery.problem)) == (state, True)
    assert feed.hashes() == before


@pytest.mark.trial
def test_days_that_no_newly_known_consent_bears_on_are_not_read_again(feed):
    """Their files are taken away."""
    old = "2026-06-01"
    feed.deliver(old, *[event("e0", "") | {"ts": f"{old}T10:00:00Z"}] * 2)
    feed.deliver(DAYS[0], event("e1", "02T10:00:00", uid="bob"), event("e2", "02T11:00:00", uid="cat"))
    feed.deliver(old, user("bob", analysed=False), user("cat"), dataset="users")
    feed.clean(old, DAYS[0])
    for table in (silver.INTERACTIONS, silver.EXCLUDED_EVENTS):
        files = list((feed.root / table.layer / table.name / f"event_date={old}").rglob("*.parquet"))
        assert files
        for file in files:
            file.unlink()
    feed.deliver(DAYS[0], user("cat", analysed=False), dataset="users")
    feed.deliver(DAYS[1], event("e3", "03T10:00:00"))
    feed.clean(DAYS[0], DAYS[1])
    rows = feed.warehouse.read(silver.EXCLUDED_EVENTS).where(f"event_date > '{old}'").select("event_id", "reason")
    assert {tuple(row) for row in rows.collect()} == {("e1", "consent"), ("e2", "consent")}


@pytest.mark.parametrize("state", [pytest.param("vacuumed", marks=pytest.mark.trial), "noted by no commit"])
def test_consent_is_looked_for_everywhere_where_it_cannot_be_told_what_was_known(feed, state):
    """The commits of an earlier schema did not note what was known of people."""
    feed.deliver(DAYS[0], user("bob"), user("cat", analysed=False), dataset="users")
    feed.deliver(DAYS[1], event("e1", "03T10:00:00", uid="bob"), event("x", "never"))
    feed.clean(*DAYS[:2])
    feed.deliver(DAYS[1], user("bob", analysed=False), dataset="users")
    feed.clean(DAYS[1], datasets=("users",))
    if state == "vacuumed":
        (gone,) = {*parts(feed, silver.USERS)} - {*current(feed, silver.USERS)}
        gone.unlink()
    else:
        for file in feed.root.glob("silver/*/_delta_log/*.json"):
            file.write_text("".join(map(without_versions, file.read_text(encoding="utf-8").splitlines())), "utf-8")
            (file.parent / f".{file.name}.crc").unlink(missing_ok=True)
    feed.clean("2026-12-01")
    assert feed.excluded() == {("e1", "consent")}
    version = feed.warehouse.version(silver.INTERACTIONS)
    feed.clean("2026-12-01")
    assert feed.warehouse.version(silver.INTERACTIONS) == version


def parts(feed: Platform, table) -> list[Path]:
    return sorted((feed.root / table.layer / table.name).rglob("*.parquet"))


def current(feed: Platform, table) -> list[Path]:
    return [Path(unquote(urlparse(file).path)) for file in feed.warehouse.read(table).inputFiles()]


def without_versions(line: str) -> str:
    entry = json.loads(line)
    if "userMetadata" in entry.get("commitInfo", {}):
        note = json.loads(entry["commitInfo"]["userMetadata"])
        old = {key: value for key, value in note.items() if not key.startswith(("silver.i", "silver.u", "bronze."))}
        entry["commitInfo"]["userMetadata"] = json.dumps(old)
    return json.dumps(entry) + "\n"


def commits_of_another_platform(feed: Platform, table, count: int) -> None:
    """Add commits that change nothing of ours to a table's log."""
    log = feed.root / table.layer / table.name / "_delta_log"
    first = feed.warehouse.version(table) + 1
    for n in range(first, first + count):
        about = {"operation": "WRITE", "operationParameters": {}, "timestamp": 1764000000000 + n}
        about["userMetadata"] = json.dumps({"platform": "other", "bronze": n})
        (log / f"{n:020}.json").write_text(json.dumps({"commitInfo": about}) + "\n", encoding="utf-8")


@pytest.mark.parametrize("dataset", [pytest.param("interactions", marks=pytest.mark.trial), "users"])
def test_a_run_that_died_is_healed_though_other_platforms_committed_hundreds_of_times_since(feed, dataset):
    table, row = {
        "interactions": (bronze.EVENTS, event("e1", "02T10:00:00")),
        "users": (bronze.USERS, user("u-ann", analysed=False)),
    }[dataset]
    feed.deliver(DAYS[0], row, dataset=dataset)
    with pytest.raises(CrashError):
        feed.clean(DAYS[0], into=feed.hooked(behind=(table, crash)), datasets=(dataset,))
    commits_of_another_platform(feed, table, 450)
    feed.clean("2026-12-01", datasets=(dataset,))
    assert feed.rows() == feed.rebuilt(DAYS[0], datasets=(dataset,))


def test_events_that_the_count_loses_stop_the_run_before_anything_is_written(feed, monkeypatch):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"), event("e2", "02T11:00:00"))
    count = EventDays.count

    def lose_one(self, judged, deliveries):
        return {
            day: {**found, "accepted": found["accepted"] - 1} for day, found in count(self, judged, deliveries).items()
        }

    monkeypatch.setattr(EventDays, "count", lose_one)
    with pytest.raises(AuditError, match="rows lost or made"):
        feed.clean(DAYS[0], datasets=EVENTS_ONLY)
    assert all(feed.warehouse.read(table).isEmpty() for table in (bronze.EVENTS, silver.INTERACTIONS))
    (audit,) = feed.warehouse.read(ops.AUDITS).where("NOT passed").select("observed").collect()
    assert audit["observed"] == 1
