import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep, time

import pytest
from tests.snapshots import FIRST, LISTS, SECOND, fragment, write

from salience.tables.upkeep import compact, vacuum
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration


@pytest.fixture
def fragmented(warehouse):
    """Lists of two releases, in files of a row or two each."""
    for release in (FIRST, SECOND):
        write(warehouse, release, LISTS, *({"rank": rank, "content_id": f"c{rank}"} for rank in range(1, 5)))
    fragment(warehouse, LISTS, "content_id")
    return warehouse


def test_a_compaction_touches_no_day_and_says_which_run_it_was(fragmented):
    compact(fragmented, LISTS)
    assert fragmented.notes(LISTS, 1)[0][1] == {"run_id": "test", "event_days": []}


def test_a_reader_that_began_before_goes_on_reading(fragmented):
    version, rows = fragmented.version(LISTS), fragmented.read(LISTS).count()
    began = fragmented.read(LISTS, version)
    compact(fragmented, LISTS)
    assert began.count() == rows


class Slow(Warehouse):
    """A warehouse whose transactions begin, tell that by a file, and end once there is another."""

    def frame(self, table, rows):
        began, go = (Path(f"{self.root.removeprefix('file:')}-{word}") for word in ("began", "go"))

        def wait(_):
            began.touch()
            until = monotonic() + 120
            while not go.exists() and monotonic() < until:
                sleep(0.05)
            yield from ()

        return self.spark.range(0, 1, numPartitions=1).mapInArrow(wait, table.schema)


def test_a_deletion_whose_files_are_put_together_meanwhile_is_tried_again(fragmented):
    version, folder = fragmented.version(LISTS), Path(fragmented.root.removeprefix("file:"))
    with ThreadPoolExecutor(1) as pool:
        slow = Slow(fragmented.spark, fragmented.root, "slow")
        deleted = pool.submit(slow.delete, LISTS, {"release_id": [FIRST]})
        while not Path(f"{folder}-began").exists() and not deleted.done():
            sleep(0.05)
        assert compact(fragmented, LISTS).removed
        Path(f"{folder}-go").touch()
        assert deleted.result().version == version + 2
    assert fragmented.read(LISTS).groupBy("release_id").count().collect() == [(SECOND, 4)]


@pytest.mark.parametrize(("hours", "stays"), [(48, True), (24, False)])
def test_an_unused_file_stays_just_so_many_hours_as_are_told(warehouse, hours, stays):
    write(warehouse, FIRST, LISTS, {})
    (used,) = Path(warehouse.path(LISTS).removeprefix("file:")).glob("*/*.parquet")
    unused = used.with_name("part-of-a-run-that-died.parquet")
    unused.write_bytes(used.read_bytes())
    for file in (used, unused):
        os.utime(file, (time() - 30 * 3600,) * 2)
    kept = vacuum(warehouse, [LISTS], hours)
    assert (used.exists(), unused.exists()) == (True, stays)
    assert [one.files for one in kept] == [1] * stays
