"""Redacts in bronze what names erased people, as it comes in and where it was taken before.

Of a row about the person nothing is left but its days, its platform and the violation `erased`. A row of somebody else
loses the person as the creator of its content.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.interactions.dimensions import DIMENSIONS, RAW_IDS
from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms
from salience.sources.mapping import BRONZE_TABLES, Dataset
from salience.tables import silver
from salience.tables.contract import Table
from salience.tables.staged import Commit
from salience.tables.warehouse import Warehouse

ERASED = "erased"
"""Violation of the rows of erased people."""
_KEPT = frozenset({"delivery_date", "platform", "event_date"})
_FATE, _NAMELESS = "__is_erased", "__is_nameless"
_DAYS_AT_ONCE = 31
"""Deliveries that are redacted together: they are settled before the next, which bounds what a session has to keep."""


@dataclass(frozen=True)
class Erased:
    """A platform's erased people by one version of silver.erasures."""

    version: int
    """-1 where the table is not there yet."""
    people: DataFrame | None
    """user_id, each once; None for nobody."""


def erased(warehouse: Warehouse, platform: str) -> Erased:
    """Return a platform's erased people as they are known now."""
    if not warehouse.exists(silver.ERASURES):
        return Erased(-1, None)
    version = warehouse.version(silver.ERASURES)
    people = warehouse.read(silver.ERASURES, version).where(F.col("platform") == platform)
    return Erased(version, None if people.isEmpty() else people.select("user_id").distinct())


def redacted(
    spark: SparkSession, rows: DataFrame, dataset: Dataset, key: PseudonymKey, people: DataFrame | None
) -> DataFrame:
    """Return judged rows as they may come into bronze.

    Args:
        spark: the session.
        rows: a platform's rows with bronze's columns, and perhaps others, which stay as they are.
        dataset: whose rows they are.
        key: the platform's key.
        people: user_id of the erased, each once; None for nobody, which costs nothing.
    """
    raw_ids = [raw for raw in RAW_IDS if raw in rows.columns]
    if people is None or not raw_ids:
        return rows
    ids = {raw: f"__{raw}" for raw in raw_ids}
    is_malformed = F.array_contains("violations", "malformed_id")
    told = rows.withColumns({ids[raw]: F.when(is_malformed, _believed(raw)).otherwise(F.col(raw)) for raw in raw_ids})
    named = with_pseudonyms(spark, told, key, {name: f"{name}_pseudonym" for name in ids.values()})
    is_gone = {}
    for raw, name in ids.items():
        gone = F.broadcast(people.select(F.col("user_id").alias(f"{name}_gone")))
        named = named.join(gone, on=F.col(f"{name}_pseudonym") == F.col(f"{name}_gone"), how="left")
        is_gone[raw] = F.col(f"{name}_gone").isNotNull()
    owners = _owners(dataset)
    flagged = named.withColumns(
        {
            _FATE: reduce(Column.__or__, (is_gone[raw] for raw in raw_ids if raw in owners), F.lit(False)),
            _NAMELESS: reduce(Column.__or__, (is_gone[raw] for raw in raw_ids if raw not in owners), F.lit(False)),
        }
    )
    of_person = _of_person(dataset)
    nameless = _nameless(dataset) if any(raw not in owners for raw in raw_ids) else {}
    columns = {}
    for name in rows.columns:
        value = F.col(name)
        if name in nameless:
            value = F.when(F.col(_NAMELESS), nameless[name]).otherwise(value)
        if name in of_person:
            value = F.when(F.col(_FATE), of_person[name]).otherwise(value)
        columns[name] = value
    return flagged.select(*(value.alias(name) for name, value in columns.items()))


def raw_ids_in(warehouse: Warehouse, table: Table, platform: str, raw: str) -> DataFrame:
    """Return the ids of people that a platform's rows of a bronze table hold in a column: `stored`, `raw_id`.

    `raw_id` is without the blanks and control characters around the stored one, for which its row was rejected.
    """
    rows = warehouse.read(table).where((F.col("platform") == platform) & F.col(raw).isNotNull())
    return rows.select(F.col(raw).alias("stored"), _believed(raw).alias("raw_id"))


def redact(warehouse: Warehouse, dataset: Dataset, key: PseudonymKey, people: DataFrame) -> Iterator[Commit]:
    """Redact what bronze holds of erased people, some deliveries after the other; yield what was done to each lot.

    The rows end as `redacted` would have let them in. The notes of the commits name the deliveries.

    Args:
        warehouse: the tables.
        dataset: whose table it is.
        key: the platform's key.
        people: user_id of the erased, each once.

    Raises:
        ConflictError: other runs kept writing the same deliveries.
    """
    table = BRONZE_TABLES[dataset]
    if not warehouse.exists(table):
        return
    with ExitStack() as stack:
        theirs: dict[str, DataFrame] = {}
        days: dict[str, set[date]] = {}
        for raw in (raw for raw in RAW_IDS if raw in (column.name for column in table.columns)):
            ids = raw_ids_in(warehouse, table, key.platform, raw).distinct()
            named = with_pseudonyms(warehouse.spark, ids, key, {"raw_id": "user_id"})
            theirs[raw] = named.join(F.broadcast(people), on="user_id", how="left_semi").select("stored").persist()
            stack.callback(theirs[raw].unpersist)
            rows = warehouse.read(table).where(F.col("platform") == key.platform)
            of_them = rows.join(F.broadcast(theirs[raw]), on=F.col(raw) == F.col("stored"), how="left_semi")
            days[raw] = {row[0] for row in of_them.select("delivery_date").distinct().collect()}
        every_day = sorted(set[date]().union(*days.values()))
        for first in range(0, len(every_day), _DAYS_AT_ONCE):
            lot = every_day[first : first + _DAYS_AT_ONCE]
            version = rows_changed = 0
            # People first: of a row of theirs nothing is left to change for its creator.
            for raw, found in theirs.items():
                told = [day.isoformat() for day in lot if day in days[raw]]
                if told:
                    listed = ", ".join(f"DATE'{day}'" for day in told)
                    place = f"stored.platform = '{key.platform}' AND stored.delivery_date IN ({listed})"
                    change = _of_person(dataset) if raw in _owners(dataset) else _nameless(dataset, "stored.")
                    about = {"platform": key.platform, "delivery_days": told}
                    condition = f"{place} AND stored.{raw} = given.stored"
                    commit = warehouse.merge(table, F.broadcast(found), condition, change, about)
                    version, rows_changed = commit.version, rows_changed + commit.rows
            yield Commit(version, rows_changed)


def _believed(raw: str) -> Column:
    return F.regexp_replace(raw, r"^[\s\p{Cntrl}]+|[\s\p{Cntrl}]+$", "")


def _owners(dataset: Dataset) -> frozenset[str]:
    """Return the columns that name whom a row is about; a creator beside them is a detail."""
    of_key = DIMENSIONS[dataset].key if dataset in DIMENSIONS else ()
    return frozenset({"raw_user_id", *(raw for raw in RAW_IDS if raw in of_key)})


def _of_person(dataset: Dataset) -> dict[str, Column]:
    """Return what a row about an erased person becomes, but for the columns that it keeps."""
    columns = [column for column in BRONZE_TABLES[dataset].columns if column.name not in _KEPT]
    nothing = {column.name: F.lit(None).cast(column.type) for column in columns}
    return nothing | {"violations": F.array(F.lit(ERASED)), "row_hash": F.lit(0).cast("bigint")}


def _nameless(dataset: Dataset, prefix: str = "") -> Mapping[str, Column]:
    """Return what becomes of a row of somebody else that names an erased creator.

    Its hash becomes one of what is left: the old one would tell whoever tries ids until one fits.
    """
    gone = {"raw_creator_id", "row_hash", "violations", "payload", "source_file"}
    left = [F.col(f"{prefix}{column.name}") for column in BRONZE_TABLES[dataset].columns if column.name not in gone]
    return {
        "raw_creator_id": F.lit(None).cast("string"),
        "payload": F.lit(None).cast("string"),
        "row_hash": F.xxhash64(*left, *(value.isNull() for value in left)),
    }
