from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier
from types import SimpleNamespace

import pytest
from tests.snapshots import AS_OF, CANDIDATES, FIRST, LISTS, SECOND, SHORTFALLS, THIRD, record, run

from salience.errors import ConflictError, InputError
from salience.tables import ops, publishing, releases
from salience.tables.releases import SavedModel
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

FEED, VIDEO, NEW_FEED = (
    SavedModel(f"models/{release}/als/{name}/a run", f"hash of {name} of {release}")
    for release, name in ((FIRST, "feed"), (SECOND, "video"), (SECOND, "feed"))
)


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """A warehouse where one release is published, a second, the first is put back, and a third is published.

    Every act's outcome is kept by its name; the tests below only look.
    """
    warehouse = Warehouse(spark, str(tmp_path_factory.mktemp("warehouse")), "a run")
    kept = SimpleNamespace(warehouse=warehouse, opened=[publishing.open_release(warehouse, AS_OF, 5) for _ in range(2)])
    record(
        warehouse,
        run(FIRST, LISTS, SHORTFALLS, feed=FEED),
        run(FIRST, CANDIDATES, video=VIDEO, status="failed"),
        run(SECOND, LISTS, CANDIDATES, feed=NEW_FEED),
        run(SECOND, video=VIDEO),
        run(THIRD, SHORTFALLS),
    )
    kept.before = releases.newest(warehouse)
    kept.first = publishing.publish(warehouse, FIRST, 5)
    kept.second = publishing.publish(warehouse, SECOND, 5)
    kept.back = publishing.roll_back(warehouse, 1, 5)
    kept.after_rollback = releases.newest(warehouse)
    kept.third = publishing.publish(warehouse, THIRD, 5)
    return kept


def history(warehouse):
    rows = warehouse.read(ops.RELEASES).orderBy("release_seq").select("release_seq", "release_id", "action")
    return [tuple(row) for row in rows.collect()]


def test_ids_count_up_for_each_day_and_are_never_given_twice(story):
    assert story.opened == [FIRST, SECOND]
    assert publishing.open_release(story.warehouse, date(2026, 11, 3), 5) == "2026-11-03.1"


def test_what_no_release_names_is_not_in_force(story):
    assert story.before is None


def test_a_published_release_names_what_its_successful_runs_made_and_read(story):
    assert (story.first.release_seq, story.first.release_id, story.first.action) == (1, FIRST, "publish")
    assert story.first.tables == {"gold.recommendations": FIRST, "gold.recommendation_shortfalls": FIRST}
    assert story.first.models == {"feed": FEED}
    assert story.first.inputs == {"silver.interactions": 3}


def test_what_a_release_did_not_make_is_carried_forward(story):
    assert story.second.tables == {
        "gold.recommendations": SECOND,
        "gold.recommendation_candidates": SECOND,
        "gold.recommendation_shortfalls": FIRST,
    }
    assert story.second.models == {"feed": NEW_FEED, "video": VIDEO}


def test_a_rollback_adds_a_row_that_names_the_earlier_ids_and_removes_none(story):
    assert (story.back.tables, story.back.models) == (story.first.tables, story.first.models)
    assert story.after_rollback == story.back
    assert history(story.warehouse)[:3] == [(1, FIRST, "publish"), (2, SECOND, "publish"), (3, FIRST, "rollback")]


def test_after_a_rollback_the_next_release_builds_on_what_was_put_back(story):
    assert story.third.release_seq == 4
    assert story.third.tables == {"gold.recommendations": FIRST, "gold.recommendation_shortfalls": THIRD}
    assert story.third.models == {"feed": FEED}
    assert releases.newest(story.warehouse) == story.third


def test_a_release_reads_what_its_own_runs_made_else_what_is_in_force(story):
    assert releases.resolve(story.warehouse, LISTS, SECOND) == SECOND
    assert releases.resolve(story.warehouse, SHORTFALLS, SECOND) == THIRD
    assert releases.resolve_model(story.warehouse, "feed", SECOND, "train") == NEW_FEED
    assert releases.resolve_model(story.warehouse, "feed", THIRD, "train") == FEED


def test_a_table_or_model_that_only_a_failed_run_wrote_names_the_job_to_run(story):
    told = (
        r"gold\.recommendation_candidates: release 2026-11-02\.1 has no rows .* run jobs/find_candidates\.py --release"
    )
    with pytest.raises(InputError, match=told):
        releases.resolve(story.warehouse, CANDIDATES, FIRST)
    with pytest.raises(
        InputError, match=r"model video: release 2026-11-02\.1 has none .* run jobs/train\.py --release"
    ):
        releases.resolve_model(story.warehouse, "video", FIRST, "train")


@pytest.mark.parametrize("published", [FIRST, SECOND], ids=["in force", "rolled back"])
def test_a_published_release_is_never_written_again(story, published):
    with pytest.raises(InputError, match=f"release {published} is published and is never written again; open a new"):
        releases.require_unpublished(story.warehouse, published)


def test_a_release_that_was_never_opened_is_not_written(story):
    with pytest.raises(InputError, match=r"release 2026-11-03\.9 was never opened; jobs/open_release\.py reserves"):
        releases.require_open(story.warehouse, "2026-11-03.9", None)


def test_a_job_may_not_write_to_another_days_release(story):
    opened = publishing.open_release(story.warehouse, date(2026, 11, 5), 5)
    releases.require_open(story.warehouse, opened, date(2026, 11, 5))
    with pytest.raises(InputError, match=r"release 2026-11-05\.1 is not of 2026-11-06; jobs/open_release\.py --date"):
        releases.require_open(story.warehouse, opened, date(2026, 11, 6))


def test_rows_that_must_be_the_releases_own_are_not_taken_from_an_earlier_one(story):
    assert releases.resolve(story.warehouse, SHORTFALLS, SECOND) == THIRD
    assert releases.resolve(story.warehouse, LISTS, SECOND, own_only=True) == SECOND
    with pytest.raises(
        InputError, match=r"gold\.recommendation_shortfalls: release .* has no rows yet; run jobs/recom"
    ):
        releases.resolve(story.warehouse, SHORTFALLS, SECOND, own_only=True)


def test_an_opened_release_may_be_written_until_it_is_published(story):
    releases.require_open(story.warehouse, publishing.open_release(story.warehouse, date(2026, 11, 4), 5), None)


def test_a_release_without_snapshots_is_not_published(story):
    with pytest.raises(InputError, match=r"release 2026-11-03\.9 holds no snapshot; run jobs with --release"):
        publishing.publish(story.warehouse, "2026-11-03.9", 5)
    assert releases.newest(story.warehouse) == story.third


def test_a_rollback_to_a_row_that_is_not_there_says_where_they_are_listed(story):
    with pytest.raises(InputError, match=r"no release_seq 7 in ops\.releases; jobs/query_tables\.py lists them"):
        publishing.roll_back(story.warehouse, 7, 5)
    assert releases.newest(story.warehouse) == story.third


def test_a_rollback_before_anything_was_published_names_no_job_that_does_not_exist(warehouse):
    with pytest.raises(InputError, match=r"ops\.releases") as caught:
        publishing.roll_back(warehouse, 1, 5)
    assert "every job" not in str(caught.value)


def test_a_release_neither_reads_nor_replaces_what_knows_later_days(warehouse):
    earlier, later = "2026-11-01.1", FIRST
    record(warehouse, run(later, LISTS, feed=FEED), run(earlier, SHORTFALLS))
    publishing.publish(warehouse, later, 5)
    with pytest.raises(InputError, match=r"none up to its day is published; run jobs/recommend\.py"):
        releases.resolve(warehouse, LISTS, earlier)
    with pytest.raises(InputError, match=r"model feed: .* none up to its day is published"):
        releases.resolve_model(warehouse, "feed", earlier, "train")
    with pytest.raises(InputError, match=f"{earlier} is of an earlier day than {later}, which is in force"):
        publishing.publish(warehouse, earlier, 5)
    assert releases.newest(warehouse).release_id == later
    assert releases.newest(warehouse, as_of="2026-11-01") is None


class Racer(Warehouse):
    """A warehouse that waits for the other one, once, when both have read a ledger and are about to insert into it."""

    def __init__(self, warehouse, run_id, ledger, barrier):
        super().__init__(warehouse.spark, warehouse.root, run_id)
        self.ledger, self.barrier, self.inserts = ledger, barrier, 0

    def frame(self, table, rows):
        made = super().frame(table, rows)
        if table is self.ledger:
            self.inserts += 1
            if self.inserts == 1:
                self.barrier.wait(timeout=120)
        return made


def at_once(*acts):
    """Start the acts together, each in a thread of its own with their barrier; return what became of each."""
    barrier = Barrier(len(acts), timeout=120)

    def outcome(act):
        barrier.wait()
        try:
            return act(barrier)
        except ConflictError as error:
            return error
        except Exception:
            barrier.abort()
            raise

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(outcome, acts))


def race(warehouse, ledger, *acts):
    """Let runs read a ledger before any of them inserts; return what became of each, and how often each tried."""
    warehouse.ensure(ledger)
    tries = {}

    def racing(n, act):
        def run_it(barrier):
            racer = Racer(warehouse, f"run {n}", ledger, barrier)
            tries[n] = racer
            return act(racer)

        return run_it

    outcomes = at_once(*(racing(n, act) for n, act in enumerate(acts)))
    return outcomes, sorted(racer.inserts for racer in tries.values())


def publish_it(release, attempts):
    return lambda racer: publishing.publish(racer, release, attempts)


def test_two_runs_that_make_a_ledger_at_once_both_get_it(warehouse):
    for ledger in (ops.OPENED_RELEASES, ops.RELEASES, ops.RUNS):
        at_once(*[lambda _, table=ledger: Warehouse(warehouse.spark, warehouse.root).ensure(table)] * 2)
        assert warehouse.read(ledger).isEmpty()


def test_two_runs_that_open_a_release_at_once_get_two_ids(warehouse):
    def open_one(racer):
        return publishing.open_release(racer, AS_OF, 5)

    outcomes, inserts = race(warehouse, ops.OPENED_RELEASES, open_one, open_one)
    assert sorted(outcomes) == [FIRST, SECOND] and inserts == [1, 2]
    opened = warehouse.read(ops.OPENED_RELEASES).select("release_id", "generation").collect()
    assert sorted(map(tuple, opened)) == [(FIRST, 1), (SECOND, 2)]


def test_two_runs_that_publish_at_once_both_end_published_and_neither_loses_its_tables(warehouse):
    record(warehouse, run(FIRST, LISTS, feed=FEED), run(SECOND, SHORTFALLS, video=VIDEO))
    outcomes, inserts = race(warehouse, ops.RELEASES, publish_it(FIRST, 5), publish_it(SECOND, 5))
    assert inserts == [1, 2], "the one that comes second reads again"
    assert history(warehouse) == sorted((row.release_seq, row.release_id, "publish") for row in outcomes)
    in_force = releases.newest(warehouse)
    assert in_force.release_seq == 2
    assert in_force.tables == {"gold.recommendations": FIRST, "gold.recommendation_shortfalls": SECOND}
    assert in_force.models == {"feed": FEED, "video": VIDEO}


def test_a_run_that_may_not_try_again_is_told_so_and_changes_nothing(warehouse):
    record(warehouse, run(FIRST, LISTS), run(SECOND, SHORTFALLS))
    outcomes, _ = race(warehouse, ops.RELEASES, publish_it(FIRST, 1), publish_it(SECOND, 1))
    (error,) = (one for one in outcomes if isinstance(one, ConflictError))
    (row,) = (one for one in outcomes if not isinstance(one, ConflictError))
    assert str(error) == "ops.releases: 1 attempts met other runs each time; run it again"
    assert history(warehouse) == [(1, row.release_id, "publish")]
    assert releases.newest(warehouse) == row


def test_a_rollback_that_finds_its_place_taken_reads_again_and_takes_the_next(warehouse):
    class Late(Warehouse):
        """A warehouse where another run publishes a release between this one's reading and its inserting."""

        tries = 0

        def frame(self, table, rows):
            self.tries += 1
            if self.tries == 1:
                publishing.publish(warehouse, SECOND, 1)
            return super().frame(table, rows)

    record(warehouse, run(FIRST, LISTS), run(SECOND, SHORTFALLS))
    publishing.publish(warehouse, FIRST, 1)
    row = publishing.roll_back(Late(warehouse.spark, warehouse.root, "late"), 1, 5)
    assert (row.release_seq, row.tables) == (3, {str(LISTS): FIRST})
    assert history(warehouse) == [(1, FIRST, "publish"), (2, SECOND, "publish"), (3, FIRST, "rollback")]
    assert releases.newest(warehouse) == row


def test_a_rollback_leaves_out_the_snapshots_that_an_erasure_has_withdrawn_since(warehouse):
    record(warehouse, run(FIRST, LISTS, SHORTFALLS, feed=FEED))
    publishing.publish(warehouse, FIRST, 5)
    (row,) = warehouse.read(ops.RELEASES).collect()
    left = {"tables": {str(SHORTFALLS): FIRST}, "release_seq": 2, "action": "erase"}
    models = {name: model.asDict() for name, model in row["models"].items()}
    warehouse.append_rows(ops.RELEASES, [row.asDict() | {"models": models} | left])
    assert publishing.roll_back(warehouse, 1, 5).tables == {str(SHORTFALLS): FIRST}
    assert publishing.roll_back(warehouse, 2, 5).tables == {str(SHORTFALLS): FIRST}
