"""Small files put together, as a job: fewer files, the same rows, and nothing to do the next time."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from tests import silver_rows
from tests.one_by_one import ran
from tests.snapshots import FIRST, LISTS, SECOND, fragment, write

from salience.tables import ops, silver
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

FRAGMENTED = (silver.INTERACTIONS, LISTS)


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """What each run told and left of two tables of two partitions each, and of one that is compact already."""
    warehouse = Warehouse(spark, str(tmp_path_factory.mktemp("warehouse")), "test")
    events = [{"user": f"u{n}", "at": f"{day} 10:00"} for day in (2, 3) for n in range(8)]
    frame = silver_rows.interactions(spark, events)
    days = sorted(row[0] for row in frame.select("event_date").distinct().collect())
    warehouse.replace(silver.INTERACTIONS, frame, {"event_date": days, "platform": ["feed"]})
    for release in (FIRST, SECOND):
        write(warehouse, release, LISTS, *({"rank": rank, "content_id": f"c{rank}"} for rank in range(1, 9)))
    users = silver_rows.users(spark, [{"user": "ann", "attributes": {}, "valid_from": "1 00:00"}])
    warehouse.replace(silver.USERS, users, {"platform": ["feed"]})
    fragment(warehouse, silver.INTERACTIONS, "user_id")
    fragment(warehouse, LISTS, "content_id")
    acts = {}

    def look(name, *settings):
        settings = [word for one in (f"warehouse={warehouse.root}", *settings) for word in ("--set", one)]
        told = ran("compact_tables", "--date", "2026-11-14", *settings) if name != "before" else None
        tables = (*FRAGMENTED, silver.USERS)
        frames = {str(table): warehouse.read(table) for table in tables}
        acts[name] = SimpleNamespace(
            told=told,
            used={table: len(read.inputFiles()) for table, read in frames.items()},
            there={str(table): stored(warehouse, table) for table in tables},
            rows={table: sorted(map(str, read.collect())) for table, read in frames.items()},
            versions=[warehouse.version(table) for table in tables],
        )

    look("before")
    look("first")
    look("second")
    look("at once", "erasure.vacuum_retention_hours=0")
    return SimpleNamespace(warehouse=warehouse, acts=acts)


def stored(warehouse, table):
    """Return how many data files lie in a table's folder, used or not."""
    return len([*Path(warehouse.path(table).removeprefix("file:")).rglob("*.parquet")])


def test_each_partition_is_one_file_behind_it_and_no_row_has_changed(story):
    before, first = story.acts["before"], story.acts["first"]
    assert min(before.used[str(table)] for table in FRAGMENTED) >= 8 and before.used[str(silver.USERS)] == 1
    assert first.used == {str(silver.INTERACTIONS): 2, str(LISTS): 2, str(silver.USERS): 1}
    assert first.rows == before.rows
    code, out, err = first.told
    assert (code, err) == (0, "")
    for table in FRAGMENTED:
        assert f"compact_tables: {table}: {before.used[str(table)]} files became 2\n" in out
    assert f"{silver.USERS}: " not in out


def test_a_second_run_finds_nothing_to_put_together(story):
    first, second = story.acts["first"], story.acts["second"]
    assert (second.used, second.there, second.rows) == (first.used, first.there, first.rows)
    assert second.versions == first.versions
    changed = {line.split(": ")[1] for line in second.told[1].splitlines() if "files became" in line}
    # Every run leaves rows there.
    assert second.told[0] == 0 and changed <= {str(ops.RUNS)}


def test_old_files_stay_as_long_as_readers_may_need_them_which_is_told_and_not_longer(story):
    before, first, at_once = (story.acts[name] for name in ("before", "first", "at once"))
    for table in map(str, FRAGMENTED):
        assert first.there[table] == before.there[table] + 2
        assert f"compact_tables: {table}: {first.there[table] - 2} old files stay until 20" in first.told[1]
    assert at_once.there == at_once.used == first.used
    assert at_once.rows == before.rows
    assert "old files stay" not in at_once.told[1]


def test_each_run_records_the_tables_that_it_changed(story):
    rows = (
        story.warehouse.read(ops.RUNS)
        .where("job = 'compact_tables' AND status <> 'started'")
        .orderBy("started_at")
        .collect()
    )
    (first, _, _) = ({*row["outputs"]} for row in rows)
    assert first == {*map(str, FRAGMENTED)}
    assert [row["status"] for row in rows] == ["succeeded"] * 3
