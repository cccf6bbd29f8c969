"""Canonical contents of tables: what must be equal wherever the same deliveries were cleaned, in whatever order."""

import hashlib
from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.tables import bronze, silver
from salience.tables.contract import Table
from salience.tables.warehouse import Warehouse

CLEANED = (
    *(bronze.EVENTS, bronze.CONTENTS, bronze.USERS, bronze.ACCOUNTS, bronze.ASSIGNMENTS, bronze.CAMPAIGNS),
    *(bronze.COSTS, bronze.IDENTIFIERS, bronze.BLOCKLIST),
    *(silver.INTERACTIONS, silver.REJECTED_EVENTS, silver.EXCLUDED_EVENTS, silver.CONTENTS, silver.USERS),
    *(silver.ACCOUNTS, silver.ASSIGNMENTS, silver.CAMPAIGNS, silver.COSTS, silver.BLOCKLIST),
)
"""What cleaning makes of a platform's deliveries."""
_OF_A_RUN = frozenset({"run_id", "release_id", "seen_at", "audited_at", "started_at", "ended_at"})


def canonical_rows(warehouse: Warehouse, tables: Sequence[Table] = CLEANED) -> dict[str, list[str]]:
    """Return table -> its rows as JSON, sorted, without what only tells the run; a missing table has none."""
    frames = [
        warehouse.read(table).select(
            F.lit(str(table)).alias("table"),
            F.to_json(F.struct(*(c.name for c in table.columns if c.name not in _OF_A_RUN))).alias("row"),
        )
        for table in tables
        if warehouse.exists(table)
    ]
    rows: dict[str, list[str]] = {str(table): [] for table in tables}
    for table, row in reduce(DataFrame.union, frames).collect() if frames else []:
        rows[table].append(row)
    return {table: sorted(of_table) for table, of_table in rows.items()}


def canonical_hashes(warehouse: Warehouse, tables: Sequence[Table] = CLEANED) -> dict[str, str]:
    """Return table -> SHA-256 of its canonical rows."""
    rows = canonical_rows(warehouse, tables)
    return {table: hashlib.sha256("\n".join(of_table).encode()).hexdigest() for table, of_table in rows.items()}
