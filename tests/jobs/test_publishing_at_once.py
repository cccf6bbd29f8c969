"""Two processes that publish at the same moment: a daily run's lists and a weekly run's models, round after round.

Every second round the weekly release is of the day before, so that it is refused where the daily one came first.
"""

import shutil
from datetime import datetime, timedelta
from functools import reduce
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark.sql import DataFrame
from tests.snapshots import AS_OF, CANDIDATES, LISTS, as_frame, record, run

from salience.models.store import ModelStore
from salience.tables import ops, recommendations
from salience.tables.releases import SavedModel
from salience.tables.warehouse import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LEAST, MOST = 5, 12
"""Rounds: as many as it takes until two runs met."""
SIMILARITY = recommendations.CONTENT_SIMILARITY
DAILY, WEEKLY = (LISTS, CANDIDATES), (SIMILARITY,)
ROWS = (
    (LISTS, ({"rank": 1}, {"rank": 2, "content_id": "c2"})),
    (CANDIDATES, ({},)),
    (SIMILARITY, ({"similar_content_id": "c2", "similarity": 0.5, "method": "cosine"},)),
)
MODEL = "als/feed"


def rounds(how_many):
    """Return the ids of a daily and a weekly release for each round."""
    days = [AS_OF + timedelta(days=n) for n in range(how_many)]
    return [(f"{day}.1", f"{days[n - 1]}.3" if n % 2 else f"{day}.2") for n, day in enumerate(days)]


@pytest.fixture(scope="module")
def made(spark, sessions, tmp_path_factory):
    """A warehouse with all that the runs will publish; nothing is published, so there is no ops.releases yet."""
    warehouse = Warehouse(spark, str(tmp_path_factory.mktemp("warehouse")), "test")
    for session in sessions:
        session.start("query_tables", "--set", f"warehouse={warehouse.root}", "SELECT 1")
    releases = rounds(MOST + 1)
    store = ModelStore(spark, f"{warehouse.root}/models", "trained")
    first = store.save(releases[0][1], MODEL, {"items": spark.range(2)}, {})
    models = {weekly: SavedModel(first.path.replace(releases[0][1], weekly), first.hash) for _, weekly in releases}
    for _, weekly in releases[1:]:
        folder = Path(warehouse.root.removeprefix("file:")) / "models"
        shutil.copytree(folder / releases[0][1], folder / weekly)
    daily, weekly = zip(*releases, strict=True)
    for table, rows in ROWS:
        ids = weekly if table in WEEKLY else daily
        frames = [as_frame(spark, table, *rows, release=release) for release in ids]
        warehouse.replace(table, reduce(DataFrame.union, frames), {"release_id": ids})
    record(warehouse, *(run(one, *DAILY) for one in daily))
    record(warehouse, *(run(one, *WEEKLY, **{MODEL: models[one]}) for one in weekly))
    opened = {"as_of_date": AS_OF, "generation": 1, "run_id": "test", "opened_at": datetime.now()}
    warehouse.append_rows(ops.OPENED_RELEASES, [opened | {"release_id": one} for one in (*daily, *weekly)])
    states = {one: ({str(table): one for table in DAILY}, {}) for one in daily}
    states |= {
        one: ({str(table): one for table in WEEKLY}, {MODEL: (models[one].path, models[one].hash)}) for one in weekly
    }
    for session in sessions:
        assert session.ended()[0] == 0
    return SimpleNamespace(warehouse=warehouse, releases=releases, states=states)


def at_once(sessions, warehouse, *commands):
    """Have each process run a job at the same moment; return what became of each."""
    for session, command in zip(sessions, commands, strict=True):
        session.start(*command, "--set", f"warehouse={warehouse.root}", "--set", "recommend.k=2")
    return [session.ended() for session in sessions]


@pytest.fixture(scope="module")
def raced(made, sessions):
    """What the rounds told, by release, and what they left."""
    told = {}
    for number, pair in enumerate(made.releases[:MOST]):
        if number >= LEAST and met(made.warehouse):
            break
        outcomes = at_once(sessions, made.warehouse, *(("publish_release", "--release", one) for one in pair))
        told |= dict(zip(pair, outcomes, strict=True))
    rows = made.warehouse.read(ops.RELEASES).orderBy("release_seq").collect()
    runs = {
        row["release_id"]: row
        for row in made.warehouse.read(ops.RUNS).where("job = 'publish_release' AND status <> 'started'").collect()
    }
    return SimpleNamespace(told=told, rows=rows, runs=runs, met=met(made.warehouse))


def met(warehouse):
    """Return how often a run came to insert its row just after another one had.

    Each attempt's first task writes a file, whatever becomes of it: a row, nothing where the key is taken by then, or
    what Delta refuses to commit.
    """
    attempts = Path(warehouse.root.removeprefix("file:")).glob("ops/releases/part-00000-*.parquet")
    return len([*attempts]) - warehouse.read(ops.RELEASES).count()


def in_force(row):
    return dict(row["tables"]), {name: (model["path"], model["hash"]) for name, model in row["models"].items()}


def on_top(before, made):
    """Return the tables and models of what is in force, once a release that made others is published."""
    return tuple(was | new for was, new in zip(before, made, strict=True))


def test_the_processes_met(raced):
    pairs = [pair for pair in rounds(MOST) if pair[0] in raced.runs]
    for pair in pairs:
        one, other = (raced.runs[release] for release in pair)
        assert max(one["started_at"], other["started_at"]) < min(one["ended_at"], other["ended_at"]), pair
    assert raced.met, f"no run met another one in {len(pairs)} rounds: this proves nothing"


def test_every_release_that_a_process_published_has_one_row_and_rows_count_up_without_a_gap(raced):
    published = [release for release, (code, *_) in raced.told.items() if code == 0]
    assert [row["release_seq"] for row in raced.rows] == [*range(1, len(published) + 1)]
    assert sorted(row["release_id"] for row in raced.rows) == sorted(published)


def test_each_release_builds_on_the_one_before_so_neither_run_loses_what_the_other_published(made, raced):
    states = [made.states[row["release_id"]] for row in raced.rows]
    assert [in_force(row) for row in raced.rows] == [*accumulate(states, on_top)]
    tables, models = in_force(raced.rows[-1])
    ids = [row["release_id"] for row in raced.rows]
    daily, weekly = (max(of) for of in (set(ids) & set(one) for one in zip(*made.releases, strict=True)))
    assert tables == dict.fromkeys(map(str, DAILY), daily) | dict.fromkeys(map(str, WEEKLY), weekly)
    assert models == made.states[weekly][1]


def test_only_a_release_of_an_earlier_day_than_that_in_force_is_refused_and_its_run_says_so(raced):
    rows = {row["release_id"]: row for row in raced.rows}
    for release, (code, out, err) in raced.told.items():
        recorded = raced.runs[release]
        if release in rows:
            assert (code, err, recorded["status"]) == (0, "", "succeeded")
            assert f"published {release} as release_seq {rows[release]['release_seq']}: " in out
            assert recorded["run_id"] == rows[release]["run_id"]
            assert recorded["started_at"] < rows[release]["published_at"] < recorded["ended_at"]
        else:
            assert release.endswith(".3") and (code, recorded["status"]) == (2, "failed")
            assert err == f"publish_release: {recorded['error']}\n"
            assert recorded["error"].startswith(f"release {release} is of an earlier day than ")
    days = [row["release_id"][:10] for row in raced.rows]
    assert days == sorted(days)


def test_of_two_processes_that_publish_one_release_at_once_both_end_well_and_it_has_one_row(made, raced, sessions):
    release, _ = made.releases[len(raced.told) // 2]
    for code, _, err in at_once(sessions, made.warehouse, *[("publish_release", "--release", release)] * 2):
        assert (code, err) == (0, "")
    (row,) = made.warehouse.read(ops.RELEASES).where(f"release_seq > {len(raced.rows)}").collect()
    assert row["release_id"] == release
