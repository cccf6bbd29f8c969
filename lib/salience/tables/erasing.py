"""Takes erased people out of silver and gold, wherever a contract says that a column names people."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.tables import catalog, silver
from salience.tables.audits import Audit
from salience.tables.contract import Column, Kind, Table
from salience.tables.staged import Commit
from salience.tables.warehouse import Warehouse

_PERSON, _CREATOR = re.compile(r"(^|_)(user|unit)_id$"), re.compile(r"(^|_)creator_id$")
_SEVERAL = re.compile(r"(^|_)(users|creators)$")
_GONE = "__gone"


def names_a_person(name: str) -> bool:
    """Return whether rows are of the person whose pseudonym (or raw id, in bronze) a column of that name holds.

    unit_id holds contents' ids beside, none of which is a pseudonym.
    """
    return _PERSON.search(name) is not None


def names_people(column: Column) -> bool:
    """Return whether a column holds ids of people, in a list or alone."""
    if column.type == "array<string>":
        return _SEVERAL.search(column.name) is not None
    return column.type == "string" and (names_a_person(column.name) or _CREATOR.search(column.name) is not None)


def tables_of_people() -> list[Table]:
    """Return every table of silver and gold that holds pseudonyms, but for the one that keeps those of the erased."""
    return [
        table
        for table in catalog.TABLES
        if table.layer in ("silver", "gold") and table is not silver.ERASURES and any(map(names_people, table.columns))
    ]


def pseudonyms_in(warehouse: Warehouse, table: Table, platform: str) -> Iterator[DataFrame]:
    """Yield for each column that names people the pseudonyms in a platform's rows of an existing table: user_id."""
    rows = warehouse.read(table).where(F.col("platform") == platform)
    for column in filter(names_people, table.columns):
        one = F.explode(column.name) if column.type.startswith("array") else F.col(column.name)
        yield rows.select(one.alias("user_id"))


def releases_of(warehouse: Warehouse, platform: str, people: DataFrame) -> set[str]:
    """Return the ids of releases whose snapshots hold erased people.

    Args:
        warehouse: the tables.
        platform: whose people.
        people: user_id of the erased, each once.
    """
    found: set[str] = set()
    for table in filter(warehouse.exists, tables_of_people()):
        if table.kind is Kind.SNAPSHOT:
            rows = warehouse.read(table).where(F.col("platform") == platform)
            for column in filter(names_people, table.columns):
                theirs = _matching(rows, column, people).select("release_id").distinct()
                found |= {row[0] for row in theirs.collect()}
    return found


def sweep(warehouse: Warehouse, table: Table, platform: str, people: DataFrame) -> Iterator[Commit]:
    """Take erased people out of an existing table of silver or gold and yield each commit.

    Their rows are deleted. Where they are the creator in a row of somebody else, that becomes null, unless it has to be
    there or is part of the key; lists of people lose them.

    Args:
        warehouse: the tables.
        table: one of `tables_of_people`.
        platform: whose people.
        people: user_id of the erased, each once.

    Raises:
        ConflictError: other runs kept writing the same rows.
    """
    for column in filter(names_people, table.columns):
        rows = warehouse.read(table).where(F.col("platform") == platform)
        theirs = _matching(rows, column, people)
        if theirs.isEmpty():
            continue
        note = _note(warehouse, table, platform, theirs)
        here = f"stored.platform = '{platform}' AND "
        if column.type.startswith("array"):
            of_row = [*table.partitions, *(name for name in table.key if name not in table.partitions)]
            gone = theirs.groupBy(*of_row).agg(F.collect_set(_GONE).alias(_GONE))
            same = " AND ".join(f"stored.{name} = given.{name}" for name in of_row)
            change = {
                column.name: F.expr(f"filter(stored.{column.name}, one -> NOT array_contains(given.{_GONE}, one))")
            }
            yield warehouse.merge(table, gone, here + same, change, note)
            continue
        deletes = names_a_person(column.name) or not column.nullable or column.name in table.key
        nameless: dict[str, SparkColumn] | None = {column.name: F.lit(None).cast("string")}
        condition = f"{here}stored.{column.name} = given.user_id"
        yield warehouse.merge(table, F.broadcast(people), condition, None if deletes else nameless, note)


def audit_nobody_erased(warehouse: Warehouse, table: Table, rows: DataFrame, release_id: str) -> list[Audit]:
    """Return the audit that a snapshot names nobody who was erased while it was made; none where nobody ever was."""
    columns = [column for column in table.columns if names_people(column)]
    if not columns or not warehouse.exists(silver.ERASURES):
        return []
    gone = warehouse.read(silver.ERASURES).select("platform", F.col("user_id").alias(_GONE)).distinct()
    named = 0
    for column in columns:
        one = F.explode(column.name) if column.type.startswith("array") else F.col(column.name)
        each = rows.select("platform", one.alias(_GONE))
        named += each.join(F.broadcast(gone), on=["platform", _GONE], how="left_semi").count()
    return [Audit(str(table), "rows that name erased people (make the release anew)", release_id, named)]


def _matching(rows: DataFrame, column: Column, people: DataFrame) -> DataFrame:
    """Return the rows in which a column names an erased person, with that in `__gone`; of lists, one for each."""
    is_list = column.type.startswith("array")
    each = rows.withColumn(_GONE, F.explode(column.name) if is_list else F.col(column.name))
    who = F.broadcast(people.withColumnRenamed("user_id", "__who"))
    return each.join(who, on=F.col(_GONE) == F.col("__who"), how="left_semi")


def _note(warehouse: Warehouse, table: Table, platform: str, theirs: DataFrame) -> Mapping[str, Any]:
    """Return what a commit's note tells: of interactions the days that change, beside what the last reading told.

    Those who settle days take it for a part of that reading, and those who measure them measure them again.
    """
    if table is not silver.INTERACTIONS:
        return {}
    told = (note for _, note, _ in warehouse.notes_since(table) if note.get("platform") == platform)
    last = {key: value for key, value in next(told, {"platform": platform}).items() if key != "write_id"}
    days = sorted(row[0].isoformat() for row in theirs.select("event_date").distinct().collect())
    return {**last, "run_id": warehouse.run_id, "deliveries": [], "event_days": days}
