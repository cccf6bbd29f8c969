from types import SimpleNamespace

import pytest
from pyspark.errors import AnalysisException
from tests import silver_rows
from tests.snapshots import CANDIDATES, FIRST, LISTS, SECOND, SHORTFALLS, record, run, write

import query_tables
from salience.job import run_job
from salience.tables import ops, publishing, silver, views
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """What is registered and shown at each stage: nothing published, the first release, the second, the first again."""
    root = str(tmp_path_factory.mktemp("warehouse") / "the marketers' own")
    warehouse = Warehouse(spark, root, "a run")
    write(warehouse, FIRST, LISTS, {"content_id": "old"})
    write(warehouse, SECOND, LISTS, {"content_id": "new"}, {"content_id": "newer", "rank": 2})
    write(warehouse, SECOND, CANDIDATES, {})
    users = silver_rows.users(spark, [{"user": "ann", "attributes": {}, "valid_from": "1 00:00"}])
    warehouse.replace(silver.USERS, users, {"platform": ["feed"]})
    record(warehouse, run(FIRST, LISTS), run(SECOND, LISTS, CANDIDATES))
    told = SimpleNamespace(root=root, warehouse=warehouse, names={}, shown={}, candidates={})

    def look(stage):
        told.names[stage] = set(views.register(warehouse))
        told.shown[stage] = contents(spark, "current.recommendations")
        told.candidates[stage] = contents(spark, "current.recommendation_candidates")

    look("unpublished")
    publishing.publish(warehouse, FIRST, 5)
    look("first")
    publishing.publish(warehouse, SECOND, 5)
    look("second")
    publishing.roll_back(warehouse, 1, 5)
    look("rolled back")
    return told


def contents(spark, view):
    """Return the contents that a view shows; None where there is no such view."""
    try:
        return sorted(row[0] for row in spark.sql(f"SELECT content_id FROM {view}").collect())
    except AnalysisException as error:
        assert error.getCondition() == "TABLE_OR_VIEW_NOT_FOUND"
        return None


def test_a_snapshot_has_no_view_until_a_release_names_it(story):
    assert story.shown["unpublished"] is None
    assert story.candidates["first"] is None
    assert story.names["unpublished"] >= {"gold.recommendations", "silver.users", "current.users"}
    assert not any(name.startswith("current.rec") for name in story.names["unpublished"])


def test_a_view_shows_the_rows_of_the_release_in_force_and_no_other(story):
    assert story.shown["first"] == ["old"]
    assert story.shown["second"] == ["new", "newer"]
    assert story.candidates["second"] == ["c1"]


def test_a_rollback_puts_the_older_rows_back(story):
    assert story.shown["rolled back"] == ["old"]
    assert story.names["rolled back"] == story.names["first"]


def test_a_view_of_a_table_that_is_no_longer_in_force_is_gone(story):
    assert story.candidates["rolled back"] is None


def test_the_tables_themselves_hold_every_release(spark, story):
    assert contents(spark, "gold.recommendations") == ["new", "newer", "old"]


def test_a_dimension_is_shown_as_it_is_and_ledgers_and_missing_tables_have_no_view(spark, story):
    assert spark.table("current.users").count() == 1
    names = story.names["second"]
    assert "ops.releases" in names and "current.releases" not in names
    assert str(SHORTFALLS) not in names and f"current.{SHORTFALLS.name}" not in names


@pytest.fixture
def query(story):
    def ask(*arguments):
        argv = ["--env", "local", "--set", f"warehouse={story.root}", *arguments]
        return run_job(query_tables.main, argv, interval=False, records=False, extra=query_tables.extra)

    return ask


def test_a_query_prints_what_is_in_force_and_leaves_no_run(story, query, capsys):
    assert query("SELECT content_id AS shown FROM current.recommendations") == 0
    out = capsys.readouterr().out
    assert "|shown|" in out and "|old  |" in out and "new" not in out
    assert story.warehouse.read(ops.RUNS).where("run_id <> 'a run'").isEmpty()


def test_a_query_prints_at_most_the_rows_asked_for(query, capsys):
    assert query("SELECT content_id FROM gold.recommendations ORDER BY content_id", "--rows", "1") == 0
    out = capsys.readouterr().out
    assert "|new " in out and "only showing top 1 row" in out and "old" not in out


@pytest.mark.parametrize("sql", ["SHOW TABLES IN current", "VALUES 1, 2;"])
def test_what_is_no_select_is_answered_too(query, capsys, sql):
    assert query(sql) == 0
    assert capsys.readouterr().out.startswith("+--")


@pytest.mark.parametrize("sql", ["DELETE FROM gold.recommendations", "EXPLAIN EXECUTE IMMEDIATE 'DROP TABLE {}'"])
def test_a_statement_that_changes_something_is_refused_and_changes_nothing(spark, story, query, capsys, sql):
    version = story.warehouse.version(LISTS)
    assert query(sql.format(LISTS)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "WARN" not in line]
    assert lines == ["query_tables: only SELECT, WITH, VALUES, TABLE, SHOW, DESCRIBE and EXPLAIN are answered"]
    assert story.warehouse.version(LISTS) == version
    assert contents(spark, LISTS) == ["new", "newer", "old"]


ASKING = (
    "-- all of it\nSELECT 1; ",
    "(SELECT 1) UNION (SELECT 2)",
    "WITH own AS (SELECT 1) SELECT * FROM own",
    "TABLE gold.recommendations",
    "FROM gold.recommendations |> SELECT content_id",
    "DESCRIBE gold.recommendations",
    "DESCRIBE HISTORY gold.recommendations",
    "DESCRIBE DETAIL gold.recommendations",
    "SHOW TBLPROPERTIES gold.recommendations",
    "EXPLAIN EXTENDED SELECT 1",
)
CHANGING = (
    "WITH own AS (SELECT 1) INSERT INTO gold.recommendations SELECT * FROM own",
    "FROM silver.users INSERT INTO silver.users SELECT *",
    "FROM silver.users INSERT INTO silver.users SELECT * INSERT INTO silver.users SELECT *",
    "/* SELECT */ UPDATE gold.recommendations SET rank = 1",
    "MERGE INTO silver.users USING silver.users AS u ON true WHEN MATCHED THEN DELETE",
    "RESTORE TABLE gold.recommendations TO VERSION AS OF 0",
    "EXECUTE IMMEDIATE 'DELETE FROM gold.recommendations'",
    "EXPLAIN EXPLAIN EXECUTE IMMEDIATE 'DELETE FROM gold.recommendations'",
    "BEGIN DELETE FROM gold.recommendations; END",
    "INSERT OVERWRITE DIRECTORY '/nowhere' USING parquet SELECT 1",
    "OPTIMIZE gold.recommendations",
    "CREATE TABLE gold.more AS SELECT 1",
    "SET spark.sql.shuffle.partitions = 1",
)


@pytest.mark.parametrize("sql", [*ASKING, *CHANGING])
def test_what_changes_something_is_told_from_what_only_asks(spark, sql):
    assert query_tables.only_asks(spark, sql) == (sql in ASKING)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELEC 1", "SELEC"),
        ("SELECT 1; DELETE FROM gold.recommendations", "DELETE"),
        ("SELECT * FROM current.recommendation_shortfalls", "recommendation_shortfalls"),
        ("SELECT nothing FROM current.recommendations", "nothing"),
        ("SELECT CAST('many' AS INT)", "CAST_INVALID_INPUT"),
    ],
)
def test_a_query_that_cannot_be_answered_ends_with_exit_code_2_and_one_line(query, capsys, sql, told):
    assert query(sql) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "WARN" not in line]
    assert len(lines) == 1 and lines[0].startswith("query_tables: ") and told in lines[0]
