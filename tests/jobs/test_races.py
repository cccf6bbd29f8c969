"""Runs that clean at the same time end in the same tables as one after the other, and no older reading wins."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest
from pyspark import inheritable_thread_target
from tests.feed import DAYS, EVENTS_ONLY, CrashError, Hooked, Platform, crash, event, user

from salience.tables import bronze, ops, silver
from salience.tables.warehouse import Warehouse
from salience.threads import side_by_side

pytestmark = [pytest.mark.integration, pytest.mark.slow]


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


@pytest.mark.parametrize("table", [silver.REJECTED_EVENTS, silver.EXCLUDED_EVENTS], ids=str)
def test_what_a_run_that_was_overtaken_left_before_it_died_is_healed_by_any_other_day(feed, table):
    feed.deliver(DAYS[0], event("e0", "02T10:00:00"))
    feed.deliver(DAYS[1], event("e0", "02T10:00:00"), event("x", "never"), event("e1", "03T10:00:00"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)

    def overtake() -> None:
        feed.deliver(DAYS[1], event("e2", "03T11:00:00"))
        feed.clean(DAYS[1], logs="same-logs", datasets=EVENTS_ONLY)

    with pytest.raises(CrashError):
        feed.clean(DAYS[1], into=feed.hooked(ahead=(table, overtake), behind=(table, crash)), datasets=EVENTS_ONLY)
    assert not feed.warehouse.read(table).isEmpty()
    feed.clean("2026-12-01", datasets=EVENTS_ONLY)
    healed = feed.rows()
    assert healed == feed.rebuilt(*DAYS[:2], datasets=EVENTS_ONLY)
    versions = [feed.warehouse.version(one) for one in (silver.INTERACTIONS, table)]
    feed.clean("2026-12-01", datasets=EVENTS_ONLY)
    assert [feed.warehouse.version(one) for one in (silver.INTERACTIONS, table)] == versions


def test_a_run_whose_files_were_corrected_and_taken_meanwhile_does_not_put_its_own_reading_over_them(feed):
    feed.deliver(DAYS[0], event("old", "02T10:00:00"))
    told = []

    def correct(what: str) -> None:
        told.append(what)
        if what.startswith("settling") and len(told) == 3:
            feed.deliver(DAYS[0], event("new", "02T10:00:00"), event("e1", "02T11:00:00"))
            feed.clean(DAYS[0], logs="same-logs", datasets=EVENTS_ONLY)

    with pytest.raises(CrashError):
        feed.clean(DAYS[0], into=feed.hooked(behind=(bronze.EVENTS, crash)), datasets=EVENTS_ONLY, say=correct)
    assert len(told) == 6  # it began anew
    feed.clean("2026-12-01", datasets=EVENTS_ONLY)
    assert feed.accepted() == {("new", DAYS[0]), ("e1", DAYS[0])}


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
        def replace_by_staged(self, files, *rest):
            if files.table is bronze.EVENTS:
                feed.deliver(DAYS[0], *[event(f"n{n}", "02T10:00:00") for n in range(len(list(seen)) + 1)])
                seen.append(files.table)
            return super().replace_by_staged(files, *rest)

    seen: list = []
    restless = Restless(feed.spark, str(feed.root), "restless")
    ((restive,), counts) = feed.clean(DAYS[0], into=restless, datasets=EVENTS_ONLY, attempts=2)
    assert restive.state == "taken" and "kept changing while they were read: 1 rows were taken" in restive.problem
    assert len(seen) == 2
    assert counts[restive.day]["accepted"] == 1 and feed.accepted() == {("n0", DAYS[0])}


def test_the_counts_of_a_run_that_was_overtaken_are_those_of_the_verdicts_that_stand(feed):
    """The other run takes the delivery that the copy's winner comes with."""
    feed.deliver(DAYS[1], event("e1", "02T10:00:00"), event("e2", "03T10:00:00"), event("x", "never"))

    def overtake() -> None:
        feed.deliver(DAYS[0], event("e1", "02T10:00:00"))
        feed.clean(DAYS[0], logs="same-logs", datasets=EVENTS_ONLY)

    into = feed.hooked(ahead=(silver.INTERACTIONS, overtake))
    ((delivery,), counts) = feed.clean(DAYS[1], into=into, datasets=EVENTS_ONLY)
    assert feed.excluded() == {("e1", "duplicate")}
    names = ("emitted", "rejected", "excluded", "accepted")
    assert tuple(counts[delivery.day][name] for name in names) == (3, 1, 1, 1)
    audits = feed.warehouse.read(ops.AUDITS).where("run_id = 'hooked'").groupBy("table", "rule", "place").count()
    assert not audits.isEmpty() and audits.where("count > 1").isEmpty()


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


class Stalled(Hooked):
    """A warehouse whose next write of a table stops in the midst of its transaction until it is let go."""

    def __init__(self, spark, root, table, folder: Path, **hooks):
        super().__init__(spark, root, "stalled", **hooks)
        self.table, self.started, self.go = table, folder / "started", folder / "go"

    def replace(self, table, frame, where, note=None):
        if table is self.table and not self.started.exists():
            wait = stall(self.started, self.go)

            def slowly(batches):
                wait()
                yield from batches

            frame = frame.coalesce(1).mapInArrow(slowly, frame.schema)
        return super().replace(table, frame, where, note)

    def replace_by_staged(self, files, where, note=None):
        if files.table is self.table and not self.started.exists():
            log, wait = files._log, stall(self.started, self.go)

            class Log:
                def startTransaction(self):  # noqa: N802 (Delta's name)
                    begun = log.startTransaction()
                    wait()
                    return begun

            files._log = Log()
        return super().replace_by_staged(files, where, note)


def stall(started: Path, go: Path) -> Callable[[], None]:
    """Return a function that tells that it was called and ends when it is let go."""

    def wait() -> None:
        started.touch()
        until = monotonic() + 120
        while not go.exists() and monotonic() < until:
            sleep(0.1)

    return wait


def in_a_thread(function: Callable[[], object]) -> Callable[[], None]:
    """Start a function; return one that waits for it and raises what it raised."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=inheritable_thread_target(run))
    thread.start()

    def join() -> None:
        thread.join()
        if failed:
            raise failed[0]

    return join


def in_the_midst(feed: Platform, table, of: Callable[[Warehouse], object], do: Callable[[], object], **hooks) -> None:
    """Run `of` until it writes the table, then `do`, then the rest of `of`; raise what either raised."""
    stalled = Stalled(feed.spark, str(feed.root), table, feed.folder, **hooks)
    join = in_a_thread(lambda: of(stalled))
    until = monotonic() + 120
    while not stalled.started.exists() and monotonic() < until:
        sleep(0.1)
    try:
        assert stalled.started.exists(), f"nothing was written into {table}"
        do()
    finally:
        stalled.go.touch()
        join()


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


def test_verdicts_put_over_newer_ones_by_a_run_that_then_fails_are_settled_again_though_its_days_show_no_trace(feed):
    """It moved its event to another day; the other run finds a repeated event on the day that this one left."""
    feed.deliver(DAYS[0], event("e0", "02T10:00:00"))
    feed.deliver(DAYS[1], event("e1", "02T11:00:00"))
    feed.clean(DAYS[0], DAYS[1], datasets=EVENTS_ONLY)
    feed.deliver(DAYS[1], event("e1", "03T11:00:00"))
    feed.deliver(DAYS[2], event("e0", "02T10:00:00"))
    has_excluded, may_accept, others = Event(), Event(), []

    def pause() -> None:
        has_excluded.set()
        assert may_accept.wait(120)

    def start_the_other() -> None:
        into = feed.hooked(behind=(silver.EXCLUDED_EVENTS, pause))
        others.append(in_a_thread(lambda: feed.clean(DAYS[2], into=into, logs="same-logs", datasets=EVENTS_ONLY)))
        assert has_excluded.wait(120)

    def let_the_other_end() -> None:
        may_accept.set()
        others[0]()

    in_the_midst(
        feed,
        silver.INTERACTIONS,
        lambda into: feed.clean(DAYS[1], into=into, datasets=EVENTS_ONLY),
        let_the_other_end,
        ahead=(silver.EXCLUDED_EVENTS, start_the_other),
    )
    assert feed.excluded() == {("e0", "duplicate")}
    assert feed.rows() == feed.rebuilt(*DAYS[:3], datasets=EVENTS_ONLY)


def test_of_three_runs_an_older_reading_below_the_newest_is_settled_again_though_its_run_died(feed):
    feed.deliver(DAYS[0], event("old", "02T10:00:00"))
    feed.deliver(DAYS[1], event("late", "02T11:00:00"))
    feed.deliver(DAYS[3], event("other", "05T11:00:00"))
    third = Paused(feed, DAYS[3])

    def meanwhile() -> None:
        feed.clean(DAYS[1], logs="same-logs", datasets=EVENTS_ONLY)
        third.start()

    hooked = feed.hooked(ahead=(silver.INTERACTIONS, meanwhile), behind=(silver.INTERACTIONS, crash))
    with pytest.raises(CrashError):
        feed.clean(DAYS[0], into=hooked, datasets=EVENTS_ONLY)
    third.finish()
    feed.clean("2026-12-01", datasets=EVENTS_ONLY)
    assert feed.accepted() == {("old", DAYS[0]), ("late", DAYS[1]), ("other", DAYS[3])}


def test_a_consent_that_is_corrected_twice_while_runs_overlap_counts_as_it_was_told_last(feed):
    feed.deliver(DAYS[0], user("bob", analysed=False), dataset="users")
    feed.deliver(DAYS[1], event("e1", "03T10:00:00", uid="bob"))
    feed.deliver(DAYS[2], event("e2", "04T10:00:00"))
    feed.deliver(DAYS[3], event("e3", "05T10:00:00"))
    feed.clean(*DAYS[:2])
    assert feed.excluded() == {("e1", "consent")}
    third = Paused(feed, DAYS[3])

    def meanwhile() -> None:
        feed.deliver(DAYS[0], user("bob"), dataset="users")
        feed.clean(DAYS[0], datasets=("users",), logs="same-logs")
        third.start()

    feed.clean(DAYS[2], into=feed.hooked(ahead=(silver.INTERACTIONS, meanwhile)), datasets=EVENTS_ONLY)
    third.finish()
    assert feed.excluded() == set()
    feed.deliver(DAYS[0], user("bob", analysed=False), dataset="users")
    feed.clean(DAYS[0])
    assert feed.excluded() == {("e1", "consent")}


class Paused:
    """A run of one day that waits ahead of writing the accepted events, until it is told to go on."""

    def __init__(self, feed: Platform, day: str) -> None:
        self.feed, self.day, self.reached, self.go = feed, day, Event(), Event()

    def start(self) -> None:
        into = self.feed.hooked(ahead=(silver.INTERACTIONS, self._wait))
        self.finished = in_a_thread(
            lambda: self.feed.clean(self.day, into=into, logs="same-logs", datasets=EVENTS_ONLY)
        )
        assert self.reached.wait(200)

    def finish(self) -> None:
        self.go.set()
        self.finished()

    def _wait(self) -> None:
        self.reached.set()
        assert self.go.wait(200)


def test_a_delivery_that_keeps_changing_is_refused_and_the_others_of_the_run_are_taken(feed):
    for n, day in enumerate(DAYS[:3]):
        feed.deliver(day, event(f"e{n}", f"0{n + 2}T10:00:00"))
    file, told = feed.logs / "feed" / "interactions" / f"dt={DAYS[2]}" / "part-0.parquet", []

    def touch(what: str) -> None:
        if what.startswith("settling"):
            told.append(what)
            os.utime(file, (1_700_000_000 + len(told),) * 2)

    outcomes, _ = feed.clean(*DAYS[:3], datasets=EVENTS_ONLY, say=touch, attempts=3)
    assert [delivery.state for delivery in outcomes] == ["taken", "taken", "refused"]
    assert outcomes[2].problem.startswith("its files kept changing while they were read; clean it again")
    assert feed.accepted() == {("e0", DAYS[0]), ("e1", DAYS[1])}


def test_a_delivery_whose_folder_vanishes_while_it_is_read_is_refused(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"))

    def take_away(what: str) -> None:
        if what.startswith("settling"):
            shutil.rmtree(feed.logs / "feed" / "interactions" / f"dt={DAYS[0]}", ignore_errors=True)

    ((gone,), counts) = feed.clean(DAYS[0], datasets=EVENTS_ONLY, say=take_away)
    assert (gone.state, counts) == ("refused", {})
    assert gone.problem == "its folder was taken away while it was read; deliver it again"


def test_a_delivery_that_is_spoilt_once_it_was_taken_is_told_as_both(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"))
    file = feed.logs / "feed" / "interactions" / f"dt={DAYS[0]}" / "part-0.parquet"
    into = feed.hooked(behind=(silver.INTERACTIONS, lambda: file.write_bytes(b"no Parquet any more")))
    ((spoilt,), counts) = feed.clean(DAYS[0], into=into, datasets=EVENTS_ONLY)
    assert (spoilt.state, counts[spoilt.day]["accepted"]) == ("taken", 1)
    before = "1 rows were taken before it was delivered again"
    assert spoilt.problem == f"{before}, and now part-0.parquet is not a Parquet file; deliver it again"
    assert feed.accepted() == {("e1", DAYS[0])}


def test_what_was_odd_by_a_reading_that_another_run_made_old_is_not_told(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"), event("e9", "02T12:00:00"))
    feed.deliver(DAYS[1], event("e1", "02T11:00:00"), event("e2", "03T10:00:00"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)

    def overtake() -> None:
        feed.deliver(DAYS[0], event("e9", "02T12:00:00"))
        feed.clean(DAYS[0], logs="same-logs", datasets=EVENTS_ONLY)

    into = feed.hooked(ahead=(silver.INTERACTIONS, overtake))
    ((delivery,), counts) = feed.clean(DAYS[1], into=into, datasets=EVENTS_ONLY)
    assert counts[delivery.day]["reused"] == 0
    audits = feed.warehouse.read(ops.AUDITS).where("run_id = 'hooked'")
    assert {row["rule"].split(":")[0] for row in audits.select("rule").collect()} == {"rows lost or made"}
