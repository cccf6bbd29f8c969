"""Files that are written ahead of their commit."""

from datetime import date
from pathlib import Path

import pytest
from delta.exceptions import ConcurrentAppendException
from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from salience.errors import ConflictError
from salience.tables import silver
from salience.tables.contract import Kind, Table, required
from salience.tables.shared import EVENT_DATE, PLATFORM

pytestmark = pytest.mark.integration  # commits one after another: make check would take too long

TABLE = Table(
    layer="silver",
    name="things",
    kind=Kind.DAY,
    made_by="clean_interactions",
    comment="Things",
    columns=(EVENT_DATE, PLATFORM, required("n", "int", "a number")),
    key=(),
    partitions=("event_date", "platform"),
    checks={"positive": "n > 0"},
)
FIRST, SECOND = date(2026, 11, 2), date(2026, 11, 3)
OF_FEED = {"platform": ["feed"], "event_date": [FIRST, SECOND]}


def things(spark, *rows):
    return spark.createDataFrame(list(rows), "event_date date, platform string, n int")


def kept(warehouse):
    return sorted(tuple(row) for row in warehouse.read(TABLE).collect())


def data_files(warehouse):
    return set(Path(warehouse.path(TABLE).removeprefix("file:")).rglob("*.parquet"))


def test_staged_rows_can_be_read_back_but_stand_in_no_table_before_they_are_committed(spark, warehouse):
    warehouse.replace(TABLE, things(spark, (FIRST, "feed", 1), (FIRST, "video", 2)), {"event_date": [FIRST]})
    files = warehouse.stage(TABLE, things(spark, (FIRST, "feed", 7), (SECOND, "feed", 8)))
    assert sorted(tuple(row) for row in files.rows.collect()) == [(FIRST, "feed", 7), (SECOND, "feed", 8)]
    assert kept(warehouse) == [(FIRST, "feed", 1), (FIRST, "video", 2)]

    commit = warehouse.replace_by_staged(files, OF_FEED, {"platform": "feed"})

    assert kept(warehouse) == [(FIRST, "feed", 7), (FIRST, "video", 2), (SECOND, "feed", 8)]
    assert commit.rows == 2
    assert warehouse.notes(TABLE, 1) == [(commit.version, {"run_id": "test", "platform": "feed"}, 2)]
    (told,) = DeltaTable.forPath(spark, warehouse.path(TABLE)).history(1).select("operationMetrics").collect()
    assert {"numFiles", "numOutputBytes"} < set(told[0]) and told[0]["numOutputRows"] == "2"


def test_of_staged_files_only_those_of_the_named_partitions_are_taken_and_the_others_are_deleted(spark, warehouse):
    files = warehouse.stage(TABLE, things(spark, (FIRST, "feed", 7), (SECOND, "feed", 8)))
    staged = data_files(warehouse)
    warehouse.replace_by_staged(files, {"platform": ["feed"], "event_date": [SECOND]})
    files.discard()
    assert kept(warehouse) == [(SECOND, "feed", 8)]
    (left,) = data_files(warehouse)
    assert left in staged and f"event_date={SECOND}" in str(left)


def test_partitions_that_are_named_end_empty_where_nothing_is_staged_for_them(spark, warehouse):
    warehouse.replace(TABLE, things(spark, (FIRST, "feed", 1), (SECOND, "feed", 2)), OF_FEED)
    warehouse.replace_by_staged(warehouse.stage(TABLE, things(spark, (FIRST, "feed", 7))), OF_FEED)
    assert kept(warehouse) == [(FIRST, "feed", 7)]


def test_rows_that_break_a_check_are_refused_when_they_are_staged(spark, warehouse):
    with pytest.raises((PySparkException, Py4JJavaError), match="positive"):
        warehouse.stage(TABLE, things(spark, (FIRST, "feed", 0)))


def test_another_commit_to_the_same_partitions_is_replaced_and_one_that_comes_between_conflicts(spark, warehouse):
    files = warehouse.stage(TABLE, things(spark, (FIRST, "feed", 7)))
    warehouse.replace(TABLE, things(spark, (FIRST, "feed", 1)), OF_FEED)
    begin = files._log.startTransaction

    class Log:
        """Lets another writer commit when the transaction has begun."""

        def startTransaction(self):  # noqa: N802 (Delta's name)
            begun = begin()
            warehouse.replace(TABLE, things(spark, (FIRST, "feed", 2)), OF_FEED)
            return begun

    files._log = Log()
    with pytest.raises(ConcurrentAppendException):
        warehouse.replace_by_staged(files, OF_FEED)
    assert kept(warehouse) == [(FIRST, "feed", 2)]


def test_a_commit_that_lands_and_yet_ends_in_an_error_keeps_its_files(spark, warehouse):
    files = warehouse.stage(TABLE, things(spark, (FIRST, "feed", 7)))
    log = files._log

    class Transaction:
        def __init__(self, begun):
            self.begun = begun

        def __getattr__(self, name):
            return getattr(self.begun, name)

        def commit(self, *given):
            self.begun.commit(*given)
            raise TimeoutError

    class Log:
        def startTransaction(self):  # noqa: N802 (Delta's name)
            return Transaction(log.startTransaction())

    files._log = Log()
    with pytest.raises(TimeoutError):
        warehouse.replace_by_staged(files, OF_FEED)
    files.discard()
    assert kept(warehouse) == [(FIRST, "feed", 7)]


def test_files_that_were_vacuumed_meanwhile_are_not_committed(spark, warehouse):
    files = warehouse.stage(TABLE, things(spark, (FIRST, "feed", 7)))
    for file in data_files(warehouse):
        file.unlink()
    with pytest.raises(ConflictError, match="vacuumed while rows were written"):
        warehouse.replace_by_staged(files, OF_FEED)
    assert kept(warehouse) == []


def test_a_table_that_was_upgraded_meanwhile_is_not_written(spark, warehouse):
    files = warehouse.stage(TABLE, things(spark, (FIRST, "feed", 7)))
    spark.sql(f"ALTER TABLE delta.`{warehouse.path(TABLE)}` ADD CONSTRAINT small CHECK (n < 5)")
    with pytest.raises(ConflictError, match="upgraded"):
        warehouse.replace_by_staged(files, OF_FEED)


def test_staging_makes_the_table_that_is_not_there_yet_with_its_comments(spark, warehouse):
    assert not warehouse.exists(silver.INTERACTIONS)
    warehouse.stage(TABLE, things(spark, (FIRST, "feed", 7))).discard()
    assert warehouse.exists(TABLE) and kept(warehouse) == [] and data_files(warehouse) == set()
