"""Deliveries that change, vanish or are spoilt while a run reads them: what was read is what is told, or they wait."""

import os
import shutil

import pytest
from tests.feed import DAYS, EVENTS_ONLY, CrashError, crash, event

from salience.tables import bronze, silver
from salience.tables.warehouse import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.slow]


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


@pytest.mark.trial
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


@pytest.mark.trial
def test_a_delivery_whose_folder_vanishes_while_it_is_read_is_refused(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"))

    def take_away(what: str) -> None:
        if what.startswith("settling"):
            shutil.rmtree(feed.logs / "feed" / "interactions" / f"dt={DAYS[0]}", ignore_errors=True)

    ((gone,), counts) = feed.clean(DAYS[0], datasets=EVENTS_ONLY, say=take_away)
    assert (gone.state, counts) == ("refused", {})
    assert gone.problem == "its folder was taken away while it was read; deliver it again"


@pytest.mark.trial
def test_a_delivery_that_is_spoilt_once_it_was_taken_is_told_as_both(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"))
    file = feed.logs / "feed" / "interactions" / f"dt={DAYS[0]}" / "part-0.parquet"
    into = feed.hooked(behind=(silver.INTERACTIONS, lambda: file.write_bytes(b"no Parquet any more")))
    ((spoilt,), counts) = feed.clean(DAYS[0], into=into, datasets=EVENTS_ONLY)
    assert (spoilt.state, counts[spoilt.day]["accepted"]) == ("taken", 1)
    before = "1 rows were taken before it was delivered again"
    assert spoilt.problem == f"{before}, and now part-0.parquet is not a Parquet file; deliver it again"
    assert feed.accepted() == {("e1", DAYS[0])}
