"""Dimensions: what is known of contents, people, campaigns, ..., rebuilt from bronze with its history."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.interactions.history import versions
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


def _dimension(
    table: Table,
    key: tuple[str, ...],
    details: tuple[Column, ...],
    derived: Mapping[str, Callable[[], SparkColumn]] | None = None,
    refusals: tuple[str, ...] = (),
) -> Dimension:
    return Dimension(table, key, tuple(column.name for column in details), derived or {}, refusals)


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
    "costs": _dimension(silver.COSTS, ("campaign_id", "channel", "cost_date"), bronze.COST_DETAILS),
    "blocklist": _dimension(silver.BLOCKLIST, ("content_id", "raw_creator_id"), bronze.BLOCK_DETAILS),
}
"""Identifiers stay in bronze: what they say of people becomes silver.identities only by linking them."""


def rebuilt(warehouse: Warehouse, dataset: Dataset, key: PseudonymKey) -> DataFrame:
    """Return a platform's dimension, made anew of all of its deliveries in bronze."""
    dimension = DIMENSIONS[dataset]
    of_platform = warehouse.read(BRONZE_TABLES[dataset]).where(F.col("platform") == key.platform)
    passing = of_platform.where(F.size("violations") == 0)
    history = versions(passing, dimension.key, dimension.details, dimension.refusals)
    raw_ids = {raw: name for raw, name in RAW_IDS.items() if raw in history.columns}
    named = with_pseudonyms(warehouse.spark, history, key, raw_ids)
    for name, make in dimension.derived.items():
        named = named.withColumn(name, make())
    return named.select(*(column.name for column in dimension.table.columns))
