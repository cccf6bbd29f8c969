"""Which key a platform's pseudonyms are made under: two keys in one table would make two people of everybody.

The first run that is about to write a platform's rows claims its key, and every other run has to have the same. A
claim that led to no rows, for the key was wrong and the run failed, binds nobody once that run is over.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from salience.errors import ConflictError, SettingsError
from salience.tables import catalog, ops
from salience.tables.ledgers import insert_new
from salience.tables.warehouse import Warehouse

_DEAD_AFTER = timedelta(days=1)
"""A run that did not say within this time that it ended was killed."""


def require_same_keys(warehouse: Warehouse, key_ids: Mapping[str, str], attempts: int) -> None:
    """Check that the platforms' tables are kept under these keys; for a platform without rows, from now on they are.

    To be called ahead of a run's first write of anything that is made with a key.

    Args:
        warehouse: the tables.
        key_ids: platform -> id of the key that the run was given.
        attempts: how often to try where other runs claim keys at the same time.

    Raises:
        SettingsError: a platform's tables are kept under another key; nothing was written.
        ConflictError: other runs kept claiming keys.
    """
    for _ in range(attempts):
        claims = _missing_claims(warehouse, key_ids)
        if not claims:
            return
        insert_new(warehouse, ops.PSEUDONYM_KEYS, claims)
    if _missing_claims(warehouse, key_ids):
        raise ConflictError(f"{ops.PSEUDONYM_KEYS}: {attempts} attempts met other runs each time; run it again")


def _missing_claims(warehouse: Warehouse, key_ids: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the ledger's rows that are still to be inserted.

    Raises:
        SettingsError: some may not be.
    """
    there = warehouse.exists(ops.PSEUDONYM_KEYS)
    rows = warehouse.read(ops.PSEUDONYM_KEYS).orderBy("generation").collect() if there else []
    newest = {row["platform"]: row for row in rows}
    claims, problems = [], []
    for platform, key_id in key_ids.items():
        claim = newest.get(platform)
        if claim and claim["key_id"] == key_id:
            continue
        problem = _find_problem(warehouse, platform, key_id, claim)
        if problem:
            problems.append(problem)
        generation = claim["generation"] + 1 if claim else 1
        claims.append(
            {
                "platform": platform,
                "generation": generation,
                "key_id": key_id,
                "run_id": warehouse.run_id,
                "first_used_at": datetime.now(UTC),
            }
        )
    if problems:
        raise SettingsError("; ".join(problems))
    return claims


def _find_problem(warehouse: Warehouse, platform: str, key_id: str, claim: Row | None) -> str | None:
    """Return why a platform may not get this key, whose newest claim, if there is one, is of another."""
    kept = claim["key_id"] if claim else _key_of_runs(warehouse, platform)
    if kept in (None, key_id):
        return None
    given = f"but the key given is {key_id}"
    if _has_rows(warehouse, platform):
        remedy = "give the key that they were made with, or start a new warehouse (setting `warehouse`)"
        return f"{platform}: its tables are kept under the key {kept}, {given}: {remedy}"
    if claim and not _is_over(warehouse, claim):
        remedy = "give the same one, or run it again when that run has ended"
        return f"{platform}: run {claim['run_id']} is at work under the key {kept}, {given}: {remedy}"
    return None


def _key_of_runs(warehouse: Warehouse, platform: str) -> str | None:
    """Return the key of the newest run that wrote silver: tables from before there were claims."""
    if not warehouse.exists(ops.RUNS):
        return None
    key_id = F.col("key_ids")[platform]
    wrote_silver = F.exists(F.map_keys("outputs"), lambda table: table.startswith("silver."))
    runs = warehouse.read(ops.RUNS).where((F.col("job") == "clean_interactions") & key_id.isNotNull() & wrote_silver)
    newest = runs.orderBy(F.col("ended_at").desc()).select(key_id.alias("key_id")).head()
    return newest["key_id"] if newest else None


def _has_rows(warehouse: Warehouse, platform: str) -> bool:
    tables = (table for table in catalog.TABLES if table.layer in ("bronze", "silver") and warehouse.exists(table))
    return any(not warehouse.read(table).where(F.col("platform") == platform).isEmpty() for table in tables)


def _is_over(warehouse: Warehouse, claim: Row) -> bool:
    """Return whether the run that made a claim has ended."""
    since = claim["first_used_at"].astimezone(UTC)
    if datetime.now(UTC) - since > _DEAD_AFTER:
        return True
    runs = warehouse.read(ops.RUNS) if warehouse.exists(ops.RUNS) else None
    ended = (F.col("run_id") == claim["run_id"]) & F.col("ended_at").isNotNull()
    return runs is not None and not runs.where(ended).isEmpty()
