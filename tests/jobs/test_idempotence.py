"""Cleaning ends in the same tables whatever came before: copies, corrections, any order of days, crashes, races."""

import shutil
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest
from pyspark import inheritable_thread_target
from pyspark.sql import functions as F
from tests.conftest import CONF
from tests.hashes import canonical_hashes, canonical_rows
from tests.logs import deliver, feed_event

from salience.interactions.cleaning import Source, clean_dataset
from salience.interactions.pseudonyms import find_key
from salience.job import side_by_side
from salience.settings import load_settings
from salience.sources.mapping import load_mapping
from salience.tables import bronze, silver
from salience.tables.warehouse import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DAYS = ("2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05")


class CrashError(Exception):
    """The run dies."""


class Hooked(Warehouse):
    """A warehouse that calls a function ahead of or behind the first replacement of a table: (table, function)."""

    def __init__(self, spark, root, run_id, *, ahead=None, behind=None):
        super().__init__(spark, root, run_id)
        self.left = {"ahead": ahead, "behind": behind}

    def replace(self, table, frame, where, note=None):
        self._call("ahead", table)
        commit = super().replace(table, frame, where, note)
        self._call("behind", table)
        return commit

    def _call(self, when, table):
        hook = self.left[when]
        if hook and hook[0] is table:
            self.left[when] = None
            hook[1]()


def crash():
    raise CrashError


class Platform:
    """A feed that delivers below one folder and is cleaned into another."""

    def __init__(self, spark, folder: Path, warehouse: str = "warehouse", platform: str = "feed"):
        self.spark, self.folder, self.logs = spark, folder, folder / "logs"
        self.root = folder / warehouse
        self.mapping = load_mapping(CONF, "feed").model_copy(update={"platform": platform})
        self.key = find_key(platform, "local", {})
        self.settings = load_settings(CONF, "local", {}, []).clean

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.spark, str(self.root), "test")

    def at(self, warehouse: str) -> "Platform":
        """Return the platform with the same logs and another warehouse."""
        return Platform(self.spark, self.folder, warehouse, self.mapping.platform)

    def copy(self, warehouse: str) -> "Platform":
        shutil.copytree(self.root, self.folder / warehouse)
        return self.at(warehouse)

    def deliver(self, day: str, *rows, dataset: str = "interactions") -> None:
        deliver(self.logs, day, rows, dataset=dataset, platform=self.mapping.platform)

    def clean(self, *days: str, into: Warehouse | None = None, logs: str = "logs", datasets=None, **settings):
        """Clean the datasets in their order, as the job does; return what became of the interactions."""
        source = Source(str(self.folder / logs), self.mapping, self.key)
        changed = self.settings.model_copy(update=settings)
        into = into or self.warehouse
        for dataset in datasets or self.mapping.datasets:
            found = clean_dataset(
                into, source, dataset, [date.fromisoformat(day) for day in days], changed, quiet, quiet
            )
        return found

    def hooked(self, **hooks) -> Hooked:
        return Hooked(self.spark, str(self.root), "hooked", **hooks)

    def rows(self):
        return canonical_rows(self.warehouse)

    def hashes(self):
        return canonical_hashes(self.warehouse)

    def rebuilt(self, *days: str, **how):
        """Return the rows of a new warehouse, made of all days at once."""
        fresh = self.at(f"rebuilt-{len(list(self.folder.iterdir()))}")
        fresh.clean(*days, **how)
        return fresh.rows()

    def accepted(self) -> set[tuple[str, str]]:
        rows = self.warehouse.read(silver.INTERACTIONS).select("event_id", F.col("delivery_date").cast("string"))
        return {tuple(row) for row in rows.collect()}

    def excluded(self) -> set[tuple[str, str]]:
        return {tuple(r) for r in self.warehouse.read(silver.EXCLUDED_EVENTS).select("event_id", "reason").collect()}


def quiet(*_):
    return None


def user(uid: str, analysed: bool | None = True) -> dict:
    about = {"region": "north", "age_band": "18-24", "registered_at": "2025-01-01", "personalised": True}
    return {"uid": uid, **about, "analysed": analysed}


def content(post_id: str | None, topics: str = "a,b") -> dict:
    about = {"author_uid": "zoe", "kind": "text", "lang": "en", "posted_at": "2026-11-01T00:00:00Z"}
    return {"post_id": post_id, "topics": topics, **about}


def event(log_id: str, ts: str, **more) -> dict:
    """Return an event at `ts`, UTC, of November 2026, like 02T10:00:00."""
    return feed_event(log_id=log_id, ts=f"2026-11-{ts}Z", **more)


def machine(uid: str, first: int, last: int) -> list[dict]:
    """Return events of a machine on 11-04, one every ten seconds."""
    times = [(n, f"04T12:{n // 6:02}:{n % 6}0") for n in range(first, last)]
    return [event(f"{uid}-{n}", ts, uid=uid, post_id=f"p{n}", act="show") for n, ts in times]


def deliver_four_days(feed: Platform) -> None:
    """Deliver days that bear on one another: copies, taps over midnight, late rows, machines, refused consent."""
    feed.deliver(
        DAYS[0],
        event("e1", "02T10:00:00"),
        event("e1", "02T10:00:00"),
        event("e2", "02T11:00:00", uid="bob"),
        event("e3", "02T12:00:00", uid=None, act="dance"),
        event("t1", "02T23:59:59.700", post_id="p9"),
    )
    feed.deliver(
        DAYS[1],
        event("e1", "02T10:00:00"),
        event("e2", "02T11:00:00", uid="bob", post_id="p7"),
        event("t2", "03T00:00:00.200", post_id="p9"),
        event("l1", "02T13:00:00", uid="cat"),
        event("t4", "03T00:00:00.500", uid="bob", post_id="p8"),
        event("e5", "05T00:00:00"),
    )
    feed.deliver(
        DAYS[2],
        event("t3", "02T23:59:59.900", uid="bob", post_id="p8"),
        event("l1", "02T13:00:00", uid="cat"),
        event("e6", "31T10:00:00") | {"ts": "2026-10-31T10:00:00Z"},
        event("e7", "04T10:00:00", uid="bob"),
        event("e8", "04T10:00:00", uid="cat"),
        *machine("droid", 0, 40),
        *machine("robot", 0, 40),
    )
    feed.deliver(
        DAYS[3],
        event("l2", "03T09:00:00", uid="cat"),
        event("e1", "05T10:00:00"),
        event("e9", "05T10:00:00", uid="bob"),
        *machine("droid", 30, 70),
        *machine("robot", 30, 70),
    )
    feed.deliver(DAYS[0], *(user(uid) for uid in ("u-ann", "bob", "cat", "droid")), dataset="users")
    feed.deliver(DAYS[1], user("cat", analysed=False), user("bob", analysed=None), dataset="users")
    feed.deliver(DAYS[2], user("cat"), user("droid", analysed=False), dataset="users")
    feed.deliver(DAYS[3], user("bob", analysed=False), user(None), dataset="users")
    feed.deliver(DAYS[0], content("p1"), content("p9"), dataset="contents")
    feed.deliver(DAYS[1], content("p1"), content("p9", "c"), dataset="contents")
    feed.deliver(DAYS[3], content("p1", "d"), content(None), dataset="contents")


@pytest.fixture
def feed(spark, tmp_path) -> Platform:
    (tmp_path / "logs").mkdir()
    # Another name of the same logs: runs in one session would share what the session keeps of a folder's rows.
    (tmp_path / "same-logs").symlink_to(tmp_path / "logs")
    return Platform(spark, tmp_path)


def files_by_day(feed: Platform, table) -> dict[str, set[str]]:
    """Return event day -> the files that hold it."""
    files = feed.spark.read.format("delta").load(feed.warehouse.path(table)).inputFiles()
    return {day: {file for file in files if f"event_date={day}" in file} for day in DAYS}


EVENTS_ONLY = ("interactions",)
EVENTS_OF_PEOPLE = ("users", "interactions")


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


@pytest.mark.parametrize("died_behind", [bronze.EVENTS, silver.EXCLUDED_EVENTS], ids=str)
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


@pytest.mark.parametrize("died_behind", [bronze.USERS, silver.USERS], ids=str)
def test_a_run_that_dies_with_a_refused_consent_is_healed_by_a_rerun(feed, died_behind):
    feed.deliver(DAYS[1], event("e1", "03T10:00:00"))
    feed.deliver(DAYS[0], user("u-ann"), dataset="users")
    feed.clean(*DAYS[:2])
    feed.deliver(DAYS[1], user("u-ann", analysed=False), dataset="users")
    with pytest.raises(CrashError):
        feed.clean(DAYS[1], into=feed.hooked(behind=(died_behind, crash)))
    assert feed.accepted() == {("e1", DAYS[1])}
    if died_behind is silver.USERS:
        # What is known of people is there, so a day without any delivery is enough.
        other = feed.copy("other")
        other.clean("2026-12-01")
        assert other.excluded() == {("e1", "consent")}
    feed.clean(DAYS[1])
    assert feed.accepted() == set() and feed.rows() == feed.rebuilt(*DAYS[:2])


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


def test_two_platforms_on_the_same_day_and_two_days_of_one_platform_at_once_end_as_one_after_the_other(feed):
    other = Platform(feed.spark, feed.folder, platform="other")
    for platform in (feed, other):
        platform.deliver(DAYS[0], event("e1", "02T10:00:00"), event("e2", "02T11:00:00", uid="bob"))
        platform.deliver(DAYS[2], event("e3", "04T10:00:00", uid="bob"), event("e1", "02T10:00:00"))
        platform.deliver(DAYS[0], user("bob", analysed=False), dataset="users")
        platform.deliver(DAYS[2], user("u-ann"), user("bob"), dataset="users")
    side_by_side(lambda: feed.clean(DAYS[0]), lambda: other.clean(DAYS[0]))
    side_by_side(lambda: feed.clean(DAYS[2]), lambda: other.clean(DAYS[2]))
    one_by_one = feed.at("one-by-one")
    one_by_one.clean(DAYS[0], DAYS[2])
    alone = one_by_one.copy("alone")
    other.at("one-by-one").clean(DAYS[0], DAYS[2])
    assert feed.rows() == one_by_one.rows()
    days_at_once = feed.at("days-at-once")
    side_by_side(lambda: days_at_once.clean(DAYS[0]), lambda: days_at_once.clean(DAYS[2], logs="same-logs"))
    assert days_at_once.rows() == alone.rows()


@pytest.mark.parametrize(
    "moment",
    [{"ahead": bronze.EVENTS}, {"behind": bronze.EVENTS}, {"ahead": silver.INTERACTIONS}],
    ids=["judged", "in bronze", "about to settle"],
)
def test_a_run_overtaken_by_a_corrected_delivery_leaves_nothing_of_its_older_reading(feed, moment):
    feed.deliver(DAYS[0], event("e0", "02T09:00:00"))
    feed.deliver(DAYS[1], event("old", "03T10:00:00"), event("e1", "02T10:00:00"), event("x", "never"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)

    def overtake() -> None:
        feed.deliver(DAYS[1], event("new", "03T10:00:00"), event("e1", "02T11:00:00"), event("e0", "02T09:00:00"))
        feed.clean(DAYS[1], logs="same-logs", datasets=EVENTS_ONLY)

    ((when, table),) = moment.items()
    (delivery,), _ = feed.clean(DAYS[1], into=feed.hooked(**{when: (table, overtake)}), datasets=EVENTS_ONLY)
    assert delivery.state == "taken" and delivery.rows == 3
    assert feed.accepted() == {("e0", DAYS[0]), ("new", DAYS[1]), ("e1", DAYS[1])}
    assert feed.rows() == feed.rebuilt(*DAYS[:2], datasets=EVENTS_ONLY)


def test_a_run_that_is_overtaken_and_then_dies_is_healed_by_the_next_one(feed):
    feed.deliver(DAYS[0], event("old", "02T10:00:00"))

    def overtake() -> None:
        feed.deliver(DAYS[1], event("late", "02T11:00:00"))
        feed.clean(DAYS[1], logs="same-logs", datasets=EVENTS_ONLY)

    hooked = feed.hooked(ahead=(silver.INTERACTIONS, overtake), behind=(silver.INTERACTIONS, crash))
    with pytest.raises(CrashError):
        feed.clean(DAYS[0], into=hooked, datasets=EVENTS_ONLY)
    feed.clean("2026-12-01", datasets=EVENTS_ONLY)
    assert feed.accepted() == {("old", DAYS[0]), ("late", DAYS[1])}


def test_an_emptied_delivery_that_changes_nothing_does_not_take_another_runs_commit_for_its_own(feed):
    """It settles a day for a refused consent, from a reading that the other run made old."""
    feed.deliver(DAYS[1], event("e1", "03T10:00:00"), event("e2", "03T11:00:00", uid="bob"))
    feed.clean(DAYS[1], datasets=EVENTS_ONLY)
    feed.deliver(DAYS[0], user("u-ann", analysed=False), dataset="users")
    feed.clean(DAYS[0], datasets=("users",))
    feed.deliver(DAYS[3])

    def overtake() -> None:
        feed.deliver(DAYS[2], event("late", "03T12:00:00", uid="bob"))
        feed.clean(DAYS[2], logs="same-logs", datasets=EVENTS_ONLY)

    feed.clean(DAYS[3], into=feed.hooked(ahead=(bronze.EVENTS, overtake)), datasets=EVENTS_ONLY)
    assert feed.accepted() == {("e2", DAYS[1]), ("late", DAYS[2])}


def test_files_that_change_while_they_are_cleaned_are_read_again_and_never_without_end(feed):
    feed.deliver(DAYS[0], event("old", "02T10:00:00"))

    def correct() -> None:
        feed.deliver(DAYS[0], event("new", "02T10:00:00"), event("e1", "02T11:00:00"))

    feed.clean(DAYS[0], into=feed.hooked(ahead=(bronze.EVENTS, correct)), datasets=EVENTS_ONLY)
    assert feed.accepted() == {("new", DAYS[0]), ("e1", DAYS[0])}

    class Restless(Warehouse):
        def replace(self, table, *rest):
            if table is bronze.EVENTS:
                feed.deliver(DAYS[0], *[event(f"n{n}", "02T10:00:00") for n in range(len(list(seen)) + 1)])
                seen.append(table)
            return super().replace(table, *rest)

    seen: list = []
    restless = Restless(feed.spark, str(feed.root), "restless")
    ((restive,), _) = feed.clean(DAYS[0], into=restless, datasets=EVENTS_ONLY, attempts=2)
    assert restive.state == "refused" and "kept changing while they were read" in restive.problem
    assert len(seen) == 2


def test_people_who_refuse_while_events_are_settled_are_excluded_and_no_older_reading_of_people_wins(feed):
    feed.deliver(DAYS[1], event("e1", "03T10:00:00"), event("e2", "03T11:00:00", uid="bob"))
    feed.deliver(DAYS[0], user("u-ann", analysed=False), dataset="users")
    feed.deliver(DAYS[1], user("bob", analysed=False), dataset="users")

    def clean_people(day: str, **hooks) -> None:
        feed.clean(day, into=feed.hooked(**hooks), datasets=("users",))

    def both() -> None:
        clean_people(DAYS[0], ahead=(silver.USERS, lambda: clean_people(DAYS[1])))

    feed.clean(DAYS[1], into=feed.hooked(ahead=(silver.INTERACTIONS, both)), datasets=EVENTS_ONLY)
    assert feed.excluded() == {("e1", "consent"), ("e2", "consent")}
    assert feed.rows() == feed.rebuilt(*DAYS[:2])


class Stalled(Warehouse):
    """A warehouse whose next write of a table stops in the midst of its transaction until it is let go."""

    def __init__(self, spark, root, table, folder: Path):
        super().__init__(spark, root, "stalled")
        self.table, self.started, self.go = table, folder / "started", folder / "go"

    def replace(self, table, frame, where, note=None):
        if table is self.table and not self.started.exists():
            started, go = self.started, self.go

            def wait(batches):
                started.touch()
                until = monotonic() + 120
                while not go.exists() and monotonic() < until:
                    sleep(0.1)
                yield from batches

            frame = frame.coalesce(1).mapInArrow(wait, frame.schema)
        return super().replace(table, frame, where, note)


def in_the_midst(feed: Platform, table, of: Callable[[Warehouse], object], do: Callable[[], object]) -> None:
    """Run `of` until it writes the table, then `do`, then the rest of `of`; raise what `of` raised."""
    stalled = Stalled(feed.spark, str(feed.root), table, feed.folder)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            of(stalled)
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=inheritable_thread_target(run))
    thread.start()
    while thread.is_alive() and not stalled.started.exists():
        sleep(0.1)
    try:
        do()
    finally:
        stalled.go.touch()
        thread.join()
    assert stalled.started.exists()
    if failed:
        raise failed[0]


@pytest.mark.parametrize("empties", [False, True], ids=["corrected", "emptied"])
def test_of_two_transactions_on_one_day_the_later_is_settled_again(feed, empties):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"))
    feed.deliver(DAYS[1], event("late", "02T11:00:00"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)

    def correct() -> None:
        feed.deliver(DAYS[0], *([] if empties else [event("e2", "02T12:00:00")]))
        feed.clean(DAYS[0], logs="same-logs", datasets=EVENTS_ONLY)

    in_the_midst(feed, silver.INTERACTIONS, lambda into: feed.clean(DAYS[1], into=into, datasets=EVENTS_ONLY), correct)
    assert feed.rows() == feed.rebuilt(*DAYS[:2], datasets=EVENTS_ONLY)


def test_of_two_transactions_on_people_the_later_is_settled_again(feed):
    feed.deliver(DAYS[0], user("u-ann"), dataset="users")
    feed.deliver(DAYS[1], user("bob"), dataset="users")
    feed.deliver(DAYS[2], user("cat"), dataset="users")
    feed.clean(DAYS[0], datasets=("users",))
    in_the_midst(
        feed,
        silver.USERS,
        lambda into: feed.clean(DAYS[1], into=into, datasets=("users",)),
        lambda: feed.clean(DAYS[2], datasets=("users",)),
    )
    assert feed.rows() == feed.rebuilt(*DAYS[:3], datasets=("users",))


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


def test_late_rows_of_a_run_that_died_are_settled_by_one_with_a_lower_max_lateness(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"))
    feed.deliver(DAYS[3], event("late", "02T12:00:00"))
    with pytest.raises(CrashError):
        feed.clean(DAYS[3], into=feed.hooked(behind=(bronze.EVENTS, crash)), datasets=EVENTS_ONLY)
    feed.clean(DAYS[0], datasets=EVENTS_ONLY, max_lateness_days=1)
    assert feed.accepted() == {("e1", DAYS[0]), ("late", DAYS[3])}


@pytest.mark.timeout(3600)  # 65 runs
def test_four_days_in_any_order_end_as_one_run_over_all_of_them_and_as_a_run_day_by_day(feed):
    deliver_four_days(feed)
    feed.clean(*DAYS, datasets=EVENTS_OF_PEOPLE)
    whole, expected = feed.rows(), feed.hashes()
    reasons = {reason for _, reason in feed.excluded()}
    assert reasons == {"consent", "duplicate", "bot", "double_tap"}
    assert {name for name, rows in whole.items() if not rows} == {str(bronze.CONTENTS), str(silver.CONTENTS)}
    ends: dict[tuple[str, ...], dict[str, str]] = {}

    def walk(order: tuple[str, ...]) -> None:
        """Clean the last day of the order into a copy of what the days before it left, then each that may follow."""
        node = feed.at("-".join(order))
        if order[:-1]:
            node = feed.at("-".join(order[:-1])).copy("-".join(order))
        node.clean(order[-1], datasets=EVENTS_OF_PEOPLE)
        if len(order) == len(DAYS):
            ends[order] = node.hashes()
            assert ends[order] == expected or node.rows() == whole, order
        for day in (day for day in DAYS if day not in order):
            walk((*order, day))
        shutil.rmtree(node.root)

    side_by_side(*(partial(walk, (day,)) for day in DAYS))
    assert len(ends) == 24 and all(hashes == expected for hashes in ends.values())
    assert DAYS in ends  # the run day by day
