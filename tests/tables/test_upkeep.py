import pytest
from tests.snapshots import FIRST, LISTS, SECOND, write

from salience.tables.upkeep import compact

pytestmark = pytest.mark.integration


def files(warehouse, table):
    return len(warehouse.read(table).inputFiles())


@pytest.fixture
def fragmented(warehouse):
    """Lists of two releases, the first in files of one row each."""
    frame = warehouse.spark.createDataFrame([(f"u{n:064}",) for n in range(4)], "user_id string")
    write(warehouse, SECOND, LISTS, {})
    write(warehouse, FIRST, LISTS, {})
    one = warehouse.read(LISTS).where(f"release_id = '{FIRST}'").drop("user_id")
    rows = one.crossJoin(frame).select([column.name for column in LISTS.columns]).repartition(4, "user_id")
    path = warehouse.path(LISTS)
    rows.write.format("delta").mode("append").option("optimizeWrite", "false").save(path)
    return warehouse


def test_small_files_become_one_a_partition_and_no_row_changes(fragmented):
    before, rows = files(fragmented, LISTS), sorted(map(tuple, fragmented.read(LISTS).collect()), key=str)
    assert before > 3
    done = compact(fragmented, LISTS)
    assert (done.removed, done.added, files(fragmented, LISTS)) == (before - 1, 1, 2)
    assert sorted(map(tuple, fragmented.read(LISTS).collect()), key=str) == rows


def test_what_is_compact_stays_as_it_is(fragmented):
    compact(fragmented, LISTS)
    version = fragmented.version(LISTS)
    done = compact(fragmented, LISTS)
    assert (done.removed, fragmented.version(LISTS)) == (0, version)


def test_a_compaction_touches_no_day_and_says_which_run_it_was(fragmented):
    compact(fragmented, LISTS)
    assert fragmented.notes(LISTS, 1)[0][1] == {"run_id": "test", "event_days": []}


def test_a_reader_that_began_before_goes_on_reading(fragmented):
    version, rows = fragmented.version(LISTS), fragmented.read(LISTS).count()
    began = fragmented.read(LISTS, version)
    compact(fragmented, LISTS)
    assert began.count() == rows
