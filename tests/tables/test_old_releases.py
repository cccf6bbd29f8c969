from datetime import UTC, datetime, timedelta

import pytest
from tests.snapshots import AS_OF, CANDIDATES, FIRST, LISTS, SECOND, SHORTFALLS, THIRD, record, run

from salience.errors import InputError
from salience.tables import ops, publishing, releases
from salience.tables.in_force import first_kept_day, in_force_by_day
from salience.tables.releases import SavedModel
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

LATER = datetime.now(UTC) + timedelta(days=1)
FEED = SavedModel(f"models/{FIRST}/als/feed/a run", "a hash")


@pytest.fixture
def published(warehouse):
    """Three releases; the last one replaces the lists of all, and the first's shortfalls stay in force."""
    for _ in range(3):
        publishing.open_release(warehouse, AS_OF, 5)
    record(warehouse, run(FIRST, LISTS, SHORTFALLS), run(SECOND, LISTS, CANDIDATES), run(THIRD, LISTS, CANDIDATES))
    for release in (FIRST, SECOND, THIRD):
        publishing.publish(warehouse, release, 5)
    return warehouse


class Late(Warehouse):
    """A warehouse where something happens between this run's reading of a ledger and its inserting."""

    act = None

    def frame(self, table, rows):
        act, self.act = self.act, None
        if act:
            act()
        return super().frame(table, rows)


def late(warehouse, act):
    made = Late(warehouse.spark, warehouse.root, "late")
    made.act = act
    return made


def test_old_releases_go_but_for_those_that_the_row_in_force_names(published):
    assert publishing.delete_old(published, LATER, 5) == [SECOND]
    row = releases.newest(published)
    assert (row.release_seq, row.action) == (4, "delete")
    assert row.tables == {str(LISTS): THIRD, str(CANDIDATES): THIRD, str(SHORTFALLS): FIRST}


def test_a_release_of_which_only_a_model_is_in_force_stays(warehouse):
    record(warehouse, run(FIRST, LISTS, feed=FEED), run(SECOND, LISTS))
    for release in (FIRST, SECOND):
        publishing.open_release(warehouse, AS_OF, 5)
        publishing.publish(warehouse, release, 5)
    assert publishing.delete_old(warehouse, LATER, 5) == []
    assert releases.newest(warehouse).release_seq == 2


def test_what_went_is_told_again_and_no_row_is_added_for_it(published):
    publishing.delete_old(published, LATER, 5)
    assert publishing.delete_old(published, LATER, 5) == [SECOND]
    assert releases.newest(published).release_seq == 4


def test_young_releases_stay_however_old_their_day_is(published):
    assert publishing.delete_old(published, datetime.now(UTC) - timedelta(hours=1), 5) == []


def test_a_release_that_was_put_back_lately_is_young(published):
    before_it = published.read(ops.RELEASES).agg({"published_at": "max"}).head()[0].replace(tzinfo=UTC)
    publishing.roll_back(published, 2, 5)
    publishing.roll_back(published, 3, 5)
    assert publishing.delete_old(published, before_it + timedelta(microseconds=1), 5) == []


def test_what_was_carried_forward_until_lately_is_young(published):
    fourth = publishing.open_release(published, AS_OF, 5)
    record(published, run(fourth, LISTS, CANDIDATES, SHORTFALLS))
    before_it = datetime.now(UTC)
    publishing.publish(published, fourth, 5)
    # Rows of the first and the third release were in force until a moment ago, those of the second no more.
    assert publishing.delete_old(published, before_it, 5) == [SECOND]


def test_what_is_gone_can_neither_be_written_to_nor_published(published):
    fourth = publishing.open_release(published, AS_OF, 5)
    record(published, run(fourth, LISTS))
    publishing.delete_old(published, LATER, 5)
    for act in (
        lambda: releases.require_open(published, fourth, None),
        lambda: publishing.publish(published, fourth, 5),
    ):
        with pytest.raises(InputError, match=f"release {fourth} was deleted since it was old"):
            act()


def test_an_opened_release_that_nobody_published_goes(published):
    fourth = publishing.open_release(published, AS_OF, 5)
    assert publishing.delete_old(published, LATER, 5) == [SECOND, fourth]


def test_where_nothing_is_published_nothing_goes(warehouse):
    publishing.open_release(warehouse, AS_OF, 5)
    assert publishing.delete_old(warehouse, LATER, 5) == []


def test_no_rollback_leads_to_what_is_gone_but_to_what_is_there(published):
    publishing.delete_old(published, LATER, 5)
    with pytest.raises(InputError, match=rf"release_seq 2 cannot come back: {SECOND} was deleted by jobs/delete_old"):
        publishing.roll_back(published, 2, 5)
    assert publishing.roll_back(published, 1, 5).tables == {str(LISTS): FIRST, str(SHORTFALLS): FIRST}


def test_a_rollback_that_comes_while_releases_are_deleted_is_spared_its_own(published):
    deleting = late(published, lambda: publishing.roll_back(published, 2, 5))
    assert publishing.delete_old(deleting, LATER, 5) == [THIRD]
    assert releases.newest(published).tables[str(LISTS)] == SECOND


def test_a_rollback_that_finds_its_release_deleted_meanwhile_is_refused(published):
    with pytest.raises(InputError, match="cannot come back"):
        publishing.roll_back(late(published, lambda: publishing.delete_old(published, LATER, 5)), 2, 5)
    assert releases.newest(published).action == "delete"


def test_an_earlier_day_is_not_offered_what_is_gone(published):
    later = publishing.open_release(published, AS_OF + timedelta(days=1), 5)
    record(published, run(later, LISTS, CANDIDATES, SHORTFALLS))
    publishing.publish(published, later, 5)
    assert releases.newest(published, AS_OF.isoformat()).tables[str(LISTS)] == THIRD
    assert publishing.delete_old(published, LATER, 5) == [FIRST, SECOND, THIRD]
    assert releases.newest(published, AS_OF.isoformat()).tables == {}
    with pytest.raises(InputError, match="none up to its day is published"):
        releases.resolve(published, LISTS, f"{AS_OF}.9")


def test_days_whose_lists_are_gone_keep_what_was_measured_of_them(published):
    in_force = in_force_by_day(published, CANDIDATES)
    (day,) = in_force
    assert first_kept_day(published, in_force) < day
    fourth = publishing.open_release(published, AS_OF, 5)
    record(published, run(fourth, LISTS, CANDIDATES))
    publishing.publish(published, fourth, 5)
    was = {day: in_force[day]}
    publishing.delete_old(published, LATER, 5)
    assert first_kept_day(published, was) == day + timedelta(days=1)
