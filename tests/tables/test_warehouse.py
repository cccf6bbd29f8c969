from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Event, Thread

import pytest
from chispa import assert_df_equality
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from salience.errors import ContractError, InputError
from salience.tables import catalog, ops, silver, upgrades
from salience.tables.audits import Audit, enforce
from salience.tables.contract import Column, Kind, Table, required
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

DAILY = Table(
    "gold",
    "daily",
    Kind.DAY,
    "count_things",
    "a table of these tests",
    (
        required("event_date", "date", "day"),
        required("platform", "string", "platform"),
        Column("n", "bigint", "how many"),
    ),
    key=("event_date", "platform"),
    partitions=("event_date", "platform"),
    checks={"not_negative": "n >= 0"},
)
MONDAY, TUESDAY = date(2026, 11, 2), date(2026, 11, 3)


def rows(spark, *values):
    return spark.createDataFrame(list(values), DAILY.schema)


def test_replacing_a_partition_leaves_the_others_as_they_were(spark, warehouse):
    both = rows(spark, (MONDAY, "a", 1), (TUESDAY, "a", 2))
    warehouse.replace(DAILY, both, {"platform": ["a"], "event_date": [MONDAY, TUESDAY]})
    commit = warehouse.replace(DAILY, rows(spark, (MONDAY, "a", 7)), {"platform": ["a"], "event_date": [MONDAY]})
    assert commit.rows == 1
    expected = rows(spark, (MONDAY, "a", 7), (TUESDAY, "a", 2))
    assert_df_equality(warehouse.read(DAILY), expected, ignore_row_order=True, ignore_nullable=True)


def test_replacing_with_no_rows_empties_the_partition(spark, warehouse):
    warehouse.replace(DAILY, rows(spark, (MONDAY, "a", 1)), {"platform": ["a"], "event_date": [MONDAY]})
    warehouse.replace(DAILY, rows(spark), {"platform": ["a"], "event_date": [MONDAY]})
    assert warehouse.read(DAILY).count() == 0


def test_a_row_outside_the_named_partitions_is_refused(spark, warehouse):
    with pytest.raises((PySparkException, Py4JJavaError), match="DELTA_REPLACE_WHERE_MISMATCH"):
        warehouse.replace(DAILY, rows(spark, (TUESDAY, "a", 1)), {"platform": ["a"], "event_date": [MONDAY]})


def test_a_wrong_frame_is_refused_with_every_difference(spark, warehouse):
    wrong = rows(spark, (MONDAY, "a", 1)).withColumn("n", F.lit("one")).drop("platform").withColumn("x", F.lit(1))
    with pytest.raises(ContractError, match="platform is missing; x is not in the contract; n is string instead"):
        warehouse.replace(DAILY, wrong, {"event_date": [MONDAY]})
    assert not warehouse.exists(DAILY)


def test_a_check_of_the_contract_is_enforced_by_delta(spark, warehouse):
    with pytest.raises((PySparkException, Py4JJavaError), match="not_negative"):
        warehouse.replace(DAILY, rows(spark, (MONDAY, "a", -1)), {"platform": ["a"], "event_date": [MONDAY]})


def test_a_missing_table_says_which_job_makes_it(warehouse):
    with pytest.raises(InputError, match=r"gold.daily: no such table in .*; run jobs/count_things.py first"):
        warehouse.read(DAILY)


def test_a_stored_table_of_another_schema_is_refused(spark, warehouse):
    warehouse.replace(DAILY, rows(spark, (MONDAY, "a", 1)), {"platform": ["a"], "event_date": [MONDAY]})
    newer = replace(DAILY, columns=(*DAILY.columns, Column("extra", "int", "new")))
    with pytest.raises(InputError, match="extra is missing"):
        Warehouse(spark, warehouse.root).read(newer)


def test_ledgers_are_only_appended_to(spark, warehouse):
    with pytest.raises(ContractError, match="only appended to"):
        warehouse.replace(ops.RUNS, rows(spark), {"event_date": [MONDAY]})


def test_every_table_can_be_made_and_read_by_old_readers_with_its_comments(spark, warehouse):
    for table in catalog.TABLES:
        detail = warehouse.ensure(table).detail().head()
        assert detail["minReaderVersion"] == 1, str(table)
        assert detail["partitionColumns"] == list(table.partitions), str(table)
        assert detail["description"] == table.comment
        stored = warehouse.read(table).schema
        assert all(f.metadata.get("comment") for f in stored), str(table)
        assert [(f.name, f.nullable) for f in stored] == [(c.name, c.nullable) for c in table.columns]
    assert upgrades.plan(warehouse) == []


def test_a_contract_with_a_key_that_is_no_column_is_refused():
    with pytest.raises(ContractError, match="key or partition column missing"):
        replace(silver.USERS, key=("missing",))


def test_a_table_whose_creation_only_began_is_made_whole_by_the_next_writer(spark, warehouse, monkeypatch):
    monkeypatch.setattr("salience.tables.warehouse.PAUSES_S", (0.1,))
    log = Path(warehouse.path(ops.AUDITS).removeprefix("file:")) / "_delta_log"
    log.mkdir(parents=True)
    assert not warehouse.exists(ops.AUDITS)
    enforce(warehouse, [Audit("gold.recommendations", "is empty", "here", 0)])
    assert warehouse.exists(ops.AUDITS) and warehouse.read(ops.AUDITS).count() == 1
    detail = spark.sql(f"DESCRIBE DETAIL delta.`{warehouse.path(ops.AUDITS)}`").head()
    assert detail["properties"]["delta.isolationLevel"] == "Serializable"


def test_a_table_is_found_while_other_writers_leave_temporary_files_that_vanish(warehouse):
    log = Path(warehouse.path(ops.AUDITS).removeprefix("file:")) / "_delta_log"
    log.mkdir(parents=True)
    done = Event()

    def come_and_go():
        while not done.is_set():
            passing = [log / f".{number:020}.json.tmp" for number in range(20)]
            for file in passing:
                file.touch()
            for file in passing:
                file.unlink()

    writer = Thread(target=come_and_go)
    writer.start()
    try:
        assert not any(warehouse.exists(ops.AUDITS) for _ in range(200))
    finally:
        done.set()
        writer.join()
