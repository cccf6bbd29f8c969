"""Dimensions: what is known of contents, people, campaigns, ..., rebuilt from bronze with its history."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.interactions.history import placed, versions
from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms
from salience.sources.mapping import BRONZE_TABLES, Dataset
from salience.tables import bronze, silver
from salience.tables.contract import Column, Table
from salience.tables.warehouse import Warehouse

RAW_IDS = {"raw_user_id": "user_id", "raw_creator_id": "creator_id"}
"""Raw id of bronze -> its pseudonym in silver."""


@dataclass(frozen=True)
class Dimension:
    """How a dataset becomes a dimension: its table, the columns of its key in bronze, and those that make a version."""

    table: Table
    key: tuple[str, ...]
    details: tuple[str, ...]
    derived: Mapping[str, Callable[[], SparkColumn]]
    """Columns of silver that are made of others."""
    refusals: tuple[str, ...] = ()
    """Details that say with false that a person refuses something: of contradicting rows those count."""
    sums: tuple[str, ...] = ()
    """Details that are added up over the lines of one key in a delivery."""


def _dimension(
    table: Table,
    key: tuple[str, ...],
    details: tuple[Column, ...],
    derived: Mapping[str, Callable[[], SparkColumn]] | None = None,
    refusals: tuple[str, ...] = (),
    sums: tuple[str, ...] = (),
) -> Dimension:
    names = tuple(column.name for column in details if column.name not in key)
    return Dimension(table, key, names, derived or {}, refusals, sums)


DIMENSIONS: Mapping[Dataset, Dimension] = {
    "contents": _dimension(
        silver.CONTENTS, ("content_id",), (Column("raw_creator_id", "string", ""), *bronze.CONTENT_DETAILS)
    ),
    "users": _dimension(
        silver.USERS,
        ("raw_user_id",),
        bronze.USER_DETAILS,
        refusals=("consent_analysis", "consent_personalised"),
    ),
    "accounts": _dimension(silver.ACCOUNTS, ("raw_creator_id",), bronze.ACCOUNT_DETAILS),
    "assignments": _dimension(
        silver.ASSIGNMENTS,
        ("experiment_id", "raw_user_id", "content_id"),
        bronze.ASSIGNMENT_DETAILS,
        {
            "unit": lambda: F.when(F.col("content_id").isNull(), F.lit("user")).otherwise(F.lit("content")),
            "unit_id": lambda: F.coalesce("user_id", "content_id"),
        },
    ),
    "campaigns": _dimension(silver.CAMPAIGNS, ("campaign_id",), bronze.CAMPAIGN_DETAILS),
    "costs": _dimension(
        silver.COSTS, ("campaign_id", "channel", "cost_date", "currency"), bronze.COST_DETAILS, sums=("cost",)
    ),
    "blocklist": _dimension(silver.BLOCKLIST, ("content_id", "raw_creator_id"), bronze.BLOCK_DETAILS),
}
"""Identifiers stay in bronze: what they say of people becomes silver.identities only by linking them."""


def tells_refusals(dataset: Dataset) -> bool:
    """Return whether rows of the dataset may say that a person refuses something."""
    return dataset in DIMENSIONS and bool(DIMENSIONS[dataset].refusals)


_UNKNOWN_PERSON = ("missing_user_id", "malformed_id")
"""Row rules behind which a row names nobody."""
_IDENTIFIER = ("raw_user_id", "kind", "identifier")


def rebuilt(warehouse: Warehouse, dataset: Dataset, key: PseudonymKey) -> DataFrame:
    """Return a platform's dimension, made anew of all of its deliveries in bronze."""
    dimension = DIMENSIONS[dataset]
    rows = warehouse.read(BRONZE_TABLES[dataset]).where(F.col("platform") == key.platform)
    counts = F.size("violations") == 0
    names_nobody = F.arrays_overlap("violations", F.array(*map(F.lit, _UNKNOWN_PERSON)))
    for name in dimension.refusals:
        # Whatever else is wrong with the row, nobody may go on as if the person had not refused.
        counts |= F.coalesce(~F.col(name), F.lit(False)) & ~names_nobody
    rows = rows.where(counts)
    if dimension.sums:
        rows = _added_up(rows, dimension)
    history = versions(rows, dimension.key, dimension.details, dimension.refusals)
    raw_ids = {raw: name for raw, name in RAW_IDS.items() if raw in history.columns}
    named = with_pseudonyms(warehouse.spark, history, key, raw_ids)
    for name, make in dimension.derived.items():
        named = named.withColumn(name, make())
    return named.select(*(column.name for column in dimension.table.columns))


def tallied(rows: DataFrame, dataset: Dataset, days: Sequence[date]) -> dict[date, dict[str, int]]:
    """Return delivery day -> rows that stand for something (accepted), and those beside one of the same key (excluded).

    `contradicting` are those of the latter that say something else.

    Args:
        rows: bronze rows of one platform's deliveries.
        dataset: whose rows they are; not the interactions.
        days: of the deliveries.
    """
    dimension = DIMENSIONS.get(dataset)
    key, details = (dimension.key, dimension.details) if dimension else (_IDENTIFIER, ())
    if dimension and dimension.sums:
        # Every line counts, but for copies.
        key, details = (*key, "row_hash"), ()
    passing = rows.where(F.size("violations") == 0)
    found = placed(passing, key, details, dimension.refusals if dimension else ()).groupBy("delivery_date")
    counted = found.agg(
        F.count_if(F.col("__place") == 1).alias("accepted"),
        F.count_if(F.col("__place") > 1).alias("excluded"),
        F.count_if("is_other").alias("contradicting"),
    )
    by_day = {row["delivery_date"]: row.asDict() for row in counted.collect()}
    nothing = dict.fromkeys(("accepted", "excluded", "contradicting"), 0)
    return {day: {name: by_day.get(day, nothing)[name] for name in nothing} for day in days}


def _added_up(rows: DataFrame, dimension: Dimension) -> DataFrame:
    """Return one row for all lines of a key in a delivery, with their sums; a line that came twice counts once."""
    of_key = ("platform", *dimension.key, "delivery_date")
    types = {column.name: column.type for column in dimension.table.columns}
    # More than the type holds is null: nobody spent it, and a run may not fail for good of what bronze holds.
    sums = [F.sum(name).try_cast(types[name]).alias(name) for name in dimension.sums]
    lines = rows.dropDuplicates([*of_key, "row_hash"]).groupBy(*of_key)
    return lines.agg(*sums, F.min("row_hash").alias("row_hash")).withColumn(
        "violations", F.array().cast("array<string>")
    )
