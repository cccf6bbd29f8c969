"""Going back to an earlier release and forward again, as jobs: what readers see, and what later runs build on.

A weekly run made a good model, the next one a bad model, which a daily run ranked by. Then somebody goes back.
"""

from datetime import UTC, datetime, timedelta
from functools import reduce
from types import SimpleNamespace

import pytest
from pyspark.sql import DataFrame
from tests.one_by_one import ran
from tests.snapshots import AS_OF, CANDIDATES, LISTS, as_frame, record, run, write

from salience.models.store import ModelStore
from salience.tables import ops, publishing, releases
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

MODEL = "als/feed"


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """What each act told, and what a reader and the next run saw after it."""
    warehouse = Warehouse(spark, str(tmp_path_factory.mktemp("warehouse")), "test")
    places = ("--set", f"warehouse={warehouse.root}", "--set", "platforms=[feed]")
    store, acts = ModelStore(spark, f"{warehouse.root}/models", "test"), {}
    weekly, daily = ([f"{AS_OF + timedelta(days=n)}.1" for n in days] for days in ((0, 7), (8, 9, 10)))
    good, bad = (store.save(one, MODEL, {"items": spark.range(n)}, {}) for n, one in enumerate(weekly, start=1))
    ids = (*weekly, *daily)
    lists = [as_frame(spark, LISTS, {"content_id": f"of {n}"}, release=one) for n, one in enumerate(ids, start=1)]
    warehouse.replace(LISTS, reduce(DataFrame.union, lists), {"release_id": ids})
    write(warehouse, weekly[1], CANDIDATES, {})
    opened = {"as_of_date": AS_OF, "generation": 1, "run_id": "test", "opened_at": datetime.now(UTC)}
    warehouse.append_rows(ops.OPENED_RELEASES, [opened | {"release_id": one} for one in ids])
    record(
        warehouse,
        run(weekly[0], LISTS, **{MODEL: good}),
        run(weekly[1], LISTS, CANDIDATES, **{MODEL: bad}),
        *(run(one, LISTS) for one in daily),
    )
    rows = [publishing.publish(warehouse, release, 1) for release in ids[:3]]

    def act(name, *command):
        told = ran(*command, *places)
        assert told[0] == 0, told
        _, shown, _ = ran("query_tables", *places, "SELECT content_id FROM current.recommendations")
        model = releases.resolve_model(warehouse, MODEL, daily[-1], "train_recommender")
        kept = SimpleNamespace(
            told=told, shown=shown.split("|")[3].strip(), row=releases.newest(warehouse), model=model
        )
        acts[name] = kept

    act("back", "rollback_release", "--to-seq", "1")
    act("next", "publish_release", "--release", daily[1])
    act("again", "publish_release", "--release", weekly[1])
    act("forward", "rollback_release", "--to-seq", "3")
    act("last", "publish_release", "--release", daily[2])
    return SimpleNamespace(warehouse=warehouse, acts=acts, rows=rows, weekly=weekly, daily=daily, good=good, bad=bad)


def test_readers_see_what_each_step_put_in_force(story):
    shown = {name: act.shown for name, act in story.acts.items()}
    assert shown == {"back": "of 1", "next": "of 4", "again": "of 4", "forward": "of 3", "last": "of 5"}


def test_going_back_and_forward_by_the_same_job_names_just_what_those_rows_named(story):
    first, _, third = story.rows
    for name, seq, like in (("back", 4, first), ("forward", 6, third)):
        row = story.acts[name].row
        assert (row.release_seq, row.action, row.release_id) == (seq, "rollback", like.release_id)
        assert (row.tables, row.models) == (like.tables, like.models)
        _, out, err = story.acts[name].told
        assert (f"release_seq {seq} puts {like.release_id} in force again" in out, err) == (True, "")
    assert first.models == {MODEL: story.good} and third.models == {MODEL: story.bad}


def test_a_daily_run_behind_a_rollback_learns_from_the_good_model_and_brings_nothing_of_the_bad_one_back(story):
    """Its own lists are published, though it had made them before; what it did not make is that of the rollback."""
    assert [story.acts[name].model for name in ("back", "next", "again")] == [story.good] * 3
    row = story.acts["next"].row
    assert (row.tables, row.models) == ({str(LISTS): story.daily[1]}, {MODEL: story.good})


def test_publishing_the_release_of_the_bad_model_again_does_not_put_it_back(story):
    _, out, _ = story.acts["again"].told
    assert f"{story.weekly[1]} is published already" in out
    assert story.acts["again"].row == story.acts["next"].row


def test_a_daily_run_behind_a_roll_forward_builds_on_what_was_put_back(story):
    row = story.acts["last"].row
    assert row.models == {MODEL: story.bad}
    assert row.tables == {str(LISTS): story.daily[2], str(CANDIDATES): story.weekly[1]}
    rows = story.warehouse.read(ops.RELEASES).orderBy("release_seq").select("action").collect()
    assert [row[0] for row in rows] == ["publish"] * 3 + ["rollback", "publish", "rollback", "publish"]
