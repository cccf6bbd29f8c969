"""Releases aged past retention, as a job: what it leaves, what it tells, and that nothing of what went comes back.

Of three published releases the second has nothing in force any more, the first only a table that no later one made. A
fourth was opened and never published.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark.sql import functions as F
from tests.one_by_one import ran
from tests.snapshots import AS_OF, CANDIDATES, FIRST, LISTS, SECOND, SHORTFALLS, THIRD, record, run, write

from salience.models.store import ModelStore
from salience.tables import ops, publishing, releases
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

FOURTH, MODEL = f"{AS_OF}.4", "als/feed"
YOUNG, AGED = (str(datetime.now(UTC).date() + timedelta(days=days)) for days in (89, 90))
"""The last day as of which the 90 days that are kept hold today, and the first as of which they do not."""
TABLES = (LISTS, SHORTFALLS, CANDIDATES)


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """What each act told and left."""
    warehouse = Warehouse(spark, str(tmp_path_factory.mktemp("warehouse")), "test")
    store, acts = ModelStore(spark, f"{warehouse.root}/models", "test"), {}
    for release in (FIRST, SECOND, THIRD, FOURTH):
        publishing.open_release(warehouse, AS_OF, 1)
        write(warehouse, release, LISTS, {"content_id": f"of {release}"})
        write(warehouse, release, SHORTFALLS if release == FIRST else CANDIDATES, {})
    second, third, _ = (store.save(of, MODEL, {"items": spark.range(1)}, {}) for of in (SECOND, THIRD, FOURTH))
    record(
        warehouse,
        run(FIRST, LISTS, SHORTFALLS),
        run(SECOND, LISTS, CANDIDATES, **{MODEL: second}),
        run(THIRD, LISTS, CANDIDATES, **{MODEL: third}),
        run(FOURTH, LISTS, CANDIDATES),
    )
    for release in (FIRST, SECOND, THIRD):
        publishing.publish(warehouse, release, 1)

    def act(name, *command):
        told = ran(*command, "--set", f"warehouse={warehouse.root}")
        ids = {str(table): warehouse.read(table).agg(F.array_sort(F.collect_set("release_id"))) for table in TABLES}
        acts[name] = SimpleNamespace(
            told=told,
            left={table: found.head()[0] for table, found in ids.items()},
            models=sorted(folder.name for folder in Path(store.root.removeprefix("file:")).iterdir()),
            versions=[warehouse.version(table) for table in (*TABLES, ops.RELEASES)],
            row=releases.newest(warehouse),
        )

    act("young", "delete_old_releases", "--date", YOUNG)
    act("for ever", "delete_old_releases", "--date", AGED, "--set", "release.retention_days=null")
    act("aged", "delete_old_releases", "--date", AGED)
    act("twice", "delete_old_releases", "--date", AGED)
    write(warehouse, SECOND, LISTS, {})
    act("after a crash", "delete_old_releases", "--date", AGED)
    act("back to what is gone", "rollback_release", "--to-seq", "2")
    act("publish what is gone", "publish_release", "--release", FOURTH)
    act("back to what stays", "rollback_release", "--to-seq", "1")
    return SimpleNamespace(warehouse=warehouse, acts=acts)


def told(act):
    """Return exit code, the lines that tell what was done, and what was printed as an error."""
    code, out, err = act.told
    return code, [line for line in out.splitlines() if "deleted" in line or "stays" in line], err


def test_what_is_young_stays_and_where_null_is_set_everything_does(story):
    young, for_ever = story.acts["young"], story.acts["for ever"]
    assert told(young) == (0, [], "")
    assert told(for_ever) == (0, ["delete_old_releases: every release stays: release.retention_days is null"], "")
    assert young.left["gold.recommendations"] == [FIRST, SECOND, THIRD, FOURTH]
    assert (for_ever.left, for_ever.models, for_ever.versions) == (young.left, young.models, young.versions)


def test_what_aged_goes_with_its_models_but_for_releases_that_the_row_in_force_names(story):
    aged = story.acts["aged"]
    assert told(aged) == (
        0,
        [
            f"delete_old_releases: gold.recommendation_candidates: deleted {SECOND}, {FOURTH}",
            f"delete_old_releases: gold.recommendations: deleted {SECOND}, {FOURTH}",
            f"delete_old_releases: deleted the models of {SECOND}",
            f"delete_old_releases: deleted the models of {FOURTH}",
        ],
        "",
    )
    assert aged.left == {str(LISTS): [FIRST, THIRD], str(CANDIDATES): [THIRD], str(SHORTFALLS): [FIRST]}
    assert aged.models == [THIRD]
    before = story.acts["young"].row
    assert (aged.row.release_seq, aged.row.action) == (4, "delete")
    assert (aged.row.tables, aged.row.models) == (before.tables, before.models)


def test_running_it_twice_changes_nothing_and_what_a_dead_run_left_goes_the_next_time(story):
    aged, twice, crashed = (story.acts[name] for name in ("aged", "twice", "after a crash"))
    assert told(twice) == (0, [], "")
    assert (twice.left, twice.models, twice.versions) == (aged.left, aged.models, aged.versions)
    assert told(crashed) == (0, [f"delete_old_releases: {LISTS}: deleted {SECOND}"], "")
    assert (crashed.left, crashed.row) == (aged.left, aged.row)


def test_each_run_records_the_tables_that_it_deleted_from(story):
    runs = (
        story.warehouse.read(ops.RUNS)
        .where("job = 'delete_old_releases' AND status <> 'started'")
        .orderBy("started_at")
    )
    found = [(sorted(row["outputs"]), row["status"]) for row in runs.collect()]
    both = [str(CANDIDATES), str(LISTS)]
    assert found == [(tables, "succeeded") for tables in ([], [], both, [], [str(LISTS)])]


def test_no_rollback_leads_to_what_is_gone_and_it_is_not_published(story):
    back, publish = story.acts["back to what is gone"], story.acts["publish what is gone"]
    assert told(back) == (
        2,
        [],
        f"rollback_release: release_seq 2 cannot come back: {SECOND} was deleted by jobs/delete_old_releases.py "
        "(release.retention_days); choose a later one\n",
    )
    assert told(publish) == (
        2,
        [],
        f"publish_release: release {FOURTH} was deleted since it was old; jobs/open_release.py opens a new one\n",
    )
    assert back.row == publish.row == story.acts["aged"].row


def test_a_rollback_to_what_stays_still_works(story):
    back = story.acts["back to what stays"]
    assert (back.told[0], back.row.release_seq) == (0, 5)
    assert back.row.tables == {str(LISTS): FIRST, str(SHORTFALLS): FIRST}
