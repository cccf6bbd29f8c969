"""A warehouse that an earlier version of the contracts wrote, and what upgrading makes of it."""

from dataclasses import replace
from datetime import date

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

import upgrade_warehouse
from salience.errors import ConflictError, InputError
from salience.job import run_job
from salience.tables import ops, silver, upgrades
from salience.tables.conflicts import CONFLICTS
from salience.tables.contract import Column, Kind, Table, required
from salience.tables.stored import properties
from salience.tables.warehouse import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.slow]

EVENT_DATE, PLATFORM = required("event_date", "date", "day"), required("platform", "string", "platform")
OLD = Table(
    "gold",
    "daily",
    Kind.DAY,
    "count_things",
    "a table of these tests",
    (EVENT_DATE, PLATFORM, required("n", "bigint", "how many"), required("word", "string", "what was said")),
    key=("event_date", "platform"),
    partitions=("event_date", "platform"),
    checks={"few": "n < 10", "known_word": "word IN ('so so',  'good')", "old_rule": "n <> 5"},
)
NEW = replace(
    OLD,
    comment="the tables' newer \\ comment",
    columns=(
        EVENT_DATE,
        replace(PLATFORM, comment="the platform's name"),
        Column("shares", "array<struct<name:string,share:decimal(12,3)>>", "new: who said it"),
        replace(OLD.columns[2], nullable=True, comment="how many, newer"),
        OLD.columns[3],
    ),
    checks={
        "few": "n < 100",
        "known_word": OLD.checks["known_word"],
        "shared": "shares IS NULL OR size(shares) > 0",
        "token": "n >= 0",
    },
)
DAY = date(2026, 11, 2)
BOTH = [{"event_date": DAY, "platform": platform, "n": n, "word": "so so"} for platform, n in (("a", 1), ("b", 7))]


def write(warehouse, table, *rows):
    where = {"event_date": [DAY], "platform": [row["platform"] for row in rows]}
    return warehouse.replace(table, warehouse.frame(table, rows), where)


def upgrade(warehouse, *tables):
    steps = upgrades.plan(warehouse, tables)
    for step in steps:
        upgrades.apply(warehouse, step)
    return [str(step) for step in steps]


def later(warehouse):
    """The same warehouse as another run sees it."""
    return Warehouse(warehouse.spark, warehouse.root, "later")


def column(table, name, **changes):
    """The table with one column changed."""
    return replace(table, columns=tuple(replace(c, **changes) if c.name == name else c for c in table.columns))


@pytest.fixture
def old(warehouse):
    write(warehouse, OLD, *BOTH)
    return warehouse


def test_an_older_table_is_refused_on_read_and_on_write_with_what_to_do(old):
    line = (
        r"^gold\.daily: the stored table differs from the contract \(run jobs/upgrade_warehouse\.py\): "
        "shares is missing; n may not be null yet; check few is another; check shared is missing; "
        "check token is missing; check old_rule is not in the contract$"
    )
    with pytest.raises(InputError, match=line):
        later(old).read(NEW)
    with pytest.raises(InputError, match=line):
        write(later(old), NEW, *BOTH)
    assert old.version(OLD) == 1


def test_an_older_comment_alone_keeps_nobody_from_reading_or_writing(old):
    newer = replace(column(OLD, "n", comment="how many, newer"), comment="newer")
    assert later(old).read(newer).count() == 2
    assert write(later(old), newer, *BOTH).rows == 2


def test_an_upgraded_table_holds_the_same_rows_and_is_what_the_contract_says(old):
    before = old.read(OLD).orderBy("platform").collect()
    assert upgrade(old, NEW) == [
        "gold.daily: platform has another comment",
        "gold.daily: shares is missing",
        "gold.daily: n may not be null yet",
        "gold.daily: n has another comment",
        "gold.daily: its comment is another",
        "gold.daily: check few is another",
        "gold.daily: check shared is missing",
        "gold.daily: check token is missing",
        "gold.daily: check old_rule is not in the contract",
    ]
    read = later(old).read(NEW)
    assert [(f.name, f.nullable, f.metadata["comment"]) for f in read.schema] == [
        (c.name, c.nullable, c.comment) for c in NEW.columns
    ]
    assert read.where("shares IS NOT NULL").count() == 0
    assert read.select(*before[0].asDict()).orderBy("platform").collect() == before

    path = f"delta.`{old.path(NEW)}`"
    described = {row["col_name"]: row["comment"] for row in old.spark.sql(f"DESCRIBE {path}").collect()}
    assert described["shares"] == "new: who said it"
    detail = old.spark.sql(f"DESCRIBE DETAIL {path}").head()
    assert (detail["minReaderVersion"], detail["description"]) == (1, NEW.comment)
    assert set(detail["tableFeatures"]) == {"appendOnly", "invariants", "checkConstraints"}


def test_after_an_upgrade_the_new_checks_are_enforced_and_the_old_ones_are_not(old):
    upgrade(old, NEW)
    row = BOTH[0]
    assert write(later(old), NEW, row | {"n": 50}, row | {"n": None}, row | {"n": 5}).rows == 3
    for wrong, check in (({"n": -1}, "token"), ({"n": 100}, "few"), ({"word": "soso"}, "known_word")):
        with pytest.raises((PySparkException, Py4JJavaError), match=check):
            write(later(old), NEW, row | wrong)


def test_a_second_upgrade_finds_nothing_to_do(old):
    assert upgrade(old, NEW)
    version = old.version(NEW)
    assert upgrade(later(old), NEW) == []
    assert old.version(NEW) == version


def test_an_upgrade_that_was_killed_after_any_step_can_be_run_again(old):
    while steps := upgrades.plan(later(old), [NEW]):
        first = steps[0].difference
        # Killed after the first of its statements.
        upgrades.apply(later(old), replace(steps[0], difference=replace(first, changes=first.changes[:1])))
    assert later(old).read(NEW).count() == 2


def test_the_commits_of_an_upgrade_name_the_run_and_say_that_no_day_was_touched(old):
    upgrade(later(old), NEW)
    notes = [note for version, note, _ in old.notes(NEW) if version > 1]
    assert notes and all(note == {"run_id": "later", "event_days": []} for note in notes)


@pytest.mark.parametrize(
    ("newer", "told"),
    [
        (column(OLD, "word", type="int"), "word is string instead of int"),
        (replace(OLD, columns=OLD.columns[:3], checks={}), "word is not in the contract"),
        (replace(OLD, columns=(*OLD.columns, required("m", "int", "new"))), "m is missing and may not be null"),
        (replace(OLD, partitions=("platform",)), "it is partitioned by event_date, platform instead of platform"),
    ],
)
def test_what_cannot_be_changed_in_place_refuses_the_whole_upgrade_and_changes_nothing(old, newer, told):
    upgradable = replace(OLD, name="others")
    write(old, upgradable, *BOTH)
    versions = [old.version(table) for table in (OLD, upgradable)]
    with pytest.raises(InputError) as caught:
        upgrade(old, replace(NEW, name="others"), replace(newer, comment="newer"))
    assert str(caught.value) == (
        f"gold.daily: {told}, which no upgrade can change: "
        "start a new warehouse (setting `warehouse`) and let count_things fill it"
    )
    assert [old.version(table) for table in (OLD, upgradable)] == versions


def test_a_column_that_may_not_be_null_any_more_and_a_newer_reader_version_are_a_line_each(old):
    nullable = replace(column(OLD, "n", nullable=True), name="nullable")
    old.ensure(nullable)
    old.spark.sql(f"ALTER TABLE delta.`{old.path(OLD)}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    with pytest.raises(InputError) as caught:
        upgrades.plan(old, [OLD, replace(OLD, name="nullable")])
    first, second = str(caught.value).splitlines()
    assert first.startswith("gold.daily: readers need Delta's reader version 3 instead of 1, which no upgrade")
    assert second.startswith("gold.nullable: n may still be null, which no upgrade can change: start a new warehouse")


def test_stored_rows_that_break_a_new_check_refuse_the_whole_upgrade_and_change_nothing(old):
    newer = replace(NEW, checks={"few": "n < 2", "shared": "shares IS NULL", "one": "n <> 1"})
    with pytest.raises(InputError) as caught:
        upgrade(old, newer)
    few, one = str(caught.value).splitlines()
    assert few.startswith("gold.daily: check few is another and 1 stored rows break it, which no upgrade can change: ")
    assert one.startswith("gold.daily: check one is missing and 1 stored rows break it, which no upgrade can change: ")
    assert old.version(OLD) == 1


def test_a_property_of_the_contract_is_set_again_and_an_operators_own_is_left(old):
    table = f"delta.`{old.path(OLD)}`"
    own, ours = ("delta.logRetentionDuration", "interval 9 days"), ("delta.dataSkippingNumIndexedCols", "3")
    for key, value in (own, ours):
        old.spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('{key}' = '{value}')")
    assert upgrade(old, OLD) == ["gold.daily: delta.dataSkippingNumIndexedCols is 3 instead of 0"]
    assert old.stored(OLD).properties == properties(OLD) | dict([own])


def test_an_upgrade_that_another_run_gets_in_the_way_of_says_so(old, monkeypatch):
    def conflicting(statement):
        raise CONFLICTS[0](statement)

    step = upgrades.plan(old, [NEW])[0]
    monkeypatch.setattr(old.spark, "sql", conflicting)
    with pytest.raises(ConflictError, match=r"gold\.daily: another run changed it; upgrade again when no job"):
        upgrades.apply(old, step)


def act(warehouse, capsys):
    arguments = ["--env", "local", "--set", f"warehouse={warehouse.root}"]
    code = run_job(upgrade_warehouse.main, arguments, interval=False, starts=False)
    out, err = capsys.readouterr()
    return code, out.splitlines()[1:], [line for line in err.splitlines() if " WARN " not in line]


def test_the_job_upgrades_even_the_table_that_records_it(warehouse, capsys):
    # As it was when there was no row of a run's start.
    columns = tuple(replace(c, nullable=False) if c.name == "ended_at" else c for c in ops.RUNS.columns)
    columns = tuple(column for column in columns if column.name != "application_id")
    warehouse.ensure(replace(ops.RUNS, columns=columns, comment="older"))
    code, told, wrong = act(warehouse, capsys)
    assert (code, wrong) == (0, [])
    assert told[1:-1] == [
        "upgrade_warehouse: upgrading ops.runs: application_id is missing",
        "upgrade_warehouse: upgrading ops.runs: ended_at may not be null yet",
        "upgrade_warehouse: upgrading ops.runs: its comment is another",
        "upgrade_warehouse: every table is up to date (3 changes)",
    ]
    assert act(warehouse, capsys)[1][1] == "upgrade_warehouse: every table is up to date (0 changes)"
    rows = later(warehouse).read(ops.RUNS).select("job", "status", "error").collect()
    assert [tuple(row) for row in rows] == [("upgrade_warehouse", "succeeded", None)] * 2


def test_the_job_ends_with_exit_code_2_and_a_line_for_each_problem(warehouse, capsys):
    warehouse.ensure(column(silver.USERS, "attributes", type="string"))
    warehouse.ensure(column(silver.INTERACTIONS, "rating", type="int"))
    warehouse.ensure(replace(ops.RUNS, columns=tuple(c for c in ops.RUNS.columns if c.name != "job")))
    code, _, wrong = act(warehouse, capsys)
    assert code == 2 and len(wrong) == 3, wrong
    assert wrong[0].startswith("upgrade_warehouse: silver.interactions: rating is int instead of double, which no")
    assert wrong[1].startswith("silver.users: attributes is string instead of map<string,string>, which no upgrade")
    assert wrong[2].startswith("ops.runs: job is missing and may not be null, which no upgrade can change: ")
