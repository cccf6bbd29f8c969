"""Runs whose transactions overlap: whichever commits last, the tables end as the newest reading has them."""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest
from pyspark import inheritable_thread_target
from tests.feed import DAYS, EVENTS_ONLY, CrashError, Hooked, Platform, crash, event, user

from salience.tables import silver
from salience.tables.warehouse import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.slow]


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


@pytest.mark.parametrize(
    "empties", [pytest.param(False, id="corrected"), pytest.param(True, id="emptied", marks=pytest.mark.trial)]
)
def test_of_two_transactions_on_one_day_the_later_is_settled_again(feed, empties):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"))
    feed.deliver(DAYS[1], event("late", "02T11:00:00"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)

    def correct() -> None:
        feed.deliver(DAYS[0], *([] if empties else [event("e2", "02T12:00:00")]))
        feed.clean(DAYS[0], logs="same-logs", datasets=EVENTS_ONLY)

    in_the_midst(feed, silver.INTERACTIONS, lambda into: feed.clean(DAYS[1], into=into, datasets=EVENTS_ONLY), correct)
    assert feed.rows() == feed.rebuilt(*DAYS[:2], datasets=EVENTS_ONLY)


@pytest.mark.trial
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


@pytest.mark.trial
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


@pytest.mark.trial
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
