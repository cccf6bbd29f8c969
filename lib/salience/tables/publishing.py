"""Putting releases in force, taking them back, and deleting old ones: each appends a row to a ledger.

Appending is compare-and-set on release_seq, so of two runs that publish at once the second sees the first one's row
and builds on it.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

from pyspark.sql import functions as F

from salience.errors import InputError
from salience.tables import ops
from salience.tables.ledgers import compare_and_set
from salience.tables.releases import (
    ReleaseRow,
    SavedModel,
    as_of_day,
    deleted,
    is_published,
    named,
    newest,
    produced,
    published,
    release_row,
    require_kept,
    require_unpublished,
)
from salience.tables.warehouse import Warehouse


def open_release(warehouse: Warehouse, as_of: date, attempts: int) -> str:
    """Reserve the next generation of the as-of date and return its release_id, like `2026-11-01.2`.

    Raises:
        ConflictError: other runs kept reserving at the same time.
    """

    def next_row() -> dict[str, Any]:
        taken = warehouse.read(ops.OPENED_RELEASES).where(F.col("as_of_date") == F.lit(as_of))
        generation = (taken.agg(F.max("generation")).head()[0] or 0) + 1  # type: ignore[index]
        return {
            "release_id": f"{as_of.isoformat()}.{generation}",
            "as_of_date": as_of,
            "generation": generation,
            "run_id": warehouse.run_id,
            "opened_at": datetime.now(UTC),
        }

    return str(compare_and_set(warehouse, ops.OPENED_RELEASES, next_row, attempts)["release_id"])


def publish(warehouse: Warehouse, release_id: str, attempts: int) -> ReleaseRow:
    """Append the row that makes a release's tables and models visible, and return it.

    Tables and models that the release did not make are carried forward from the row in force.

    Raises:
        InputError: the release has made nothing, was published before, or is of an earlier day than the one in force.
        ConflictError: other runs kept publishing at the same time.
    """
    tables, models, inputs = produced(warehouse, release_id)
    if not tables and not models:
        raise InputError(f"release {release_id} holds no snapshot; run jobs with --release {release_id} first")

    def next_row() -> dict[str, Any]:
        require_unpublished(warehouse, release_id)
        require_kept(warehouse, release_id)
        before = newest(warehouse)
        done_with(warehouse, release_id, unless_later=False)
        return {
            "release_seq": before.release_seq + 1 if before else 1,
            "release_id": release_id,
            "tables": (dict(before.tables) if before else {}) | tables,
            "models": _as_rows((dict(before.models) if before else {}) | models),
            "inputs": inputs,
            "action": "publish",
            "run_id": warehouse.run_id,
            "published_at": datetime.now(UTC),
        }

    return release_row(compare_and_set(warehouse, ops.RELEASES, next_row, attempts))


def done_with(warehouse: Warehouse, release_id: str, unless_later: bool) -> str | None:
    """Return what to tell of a release that is not to be published (any more); None for one that is.

    Args:
        warehouse: the tables.
        release_id: the release.
        unless_later: whether one of an earlier day than that in force is to stay unpublished.

    Raises:
        InputError: without `unless_later`, it is of an earlier day.
    """
    if is_published(warehouse, release_id):
        return f"{release_id} is published already"
    in_force = newest(warehouse)
    if in_force is None or as_of_day(in_force.release_id) <= as_of_day(release_id):
        return None
    if unless_later:
        return f"{release_id} stays unpublished: {in_force.release_id}, of a later day, is in force"
    raise InputError(
        f"release {release_id} is of an earlier day than {in_force.release_id}, which is in force; if readers "
        "should go back, roll back to an earlier release_seq first (jobs/rollback_release.py)"
    )


def roll_back(
    warehouse: Warehouse, release_seq: int, attempts: int, is_there: Callable[[SavedModel], bool] = lambda _: True
) -> ReleaseRow:
    """Append a row that puts what row `release_seq` named in force again, and return it.

    Args:
        warehouse: the tables.
        release_seq: of the row.
        attempts: how often it is tried.
        is_there: whether a model still is; the new row does without those that are gone, as without the snapshots that
            an erasure has withdrawn since.

    Raises:
        InputError: there is no such row, or what it names was deleted since it was old.
        ConflictError: other runs kept publishing at the same time.
    """
    earlier = published(warehouse, release_seq)
    withdrawn = _withdrawn_since(warehouse, release_seq)
    tables = {name: release_id for name, release_id in earlier.tables.items() if (name, release_id) not in withdrawn}
    models = {name: model for name, model in earlier.models.items() if is_there(model)}

    def next_row() -> dict[str, Any]:
        before = newest(warehouse)
        assert before is not None
        gone = sorted(deleted(warehouse) & named(earlier))
        if gone:
            raise InputError(
                f"release_seq {release_seq} cannot come back: {', '.join(gone)} was deleted by "
                "jobs/delete_old_releases.py (release.retention_days); choose a later one"
            )
        return {
            "release_seq": before.release_seq + 1,
            "release_id": earlier.release_id,
            "tables": tables,
            "models": _as_rows(models),
            "inputs": dict(earlier.inputs),
            "action": "rollback",
            "run_id": warehouse.run_id,
            "published_at": datetime.now(UTC),
        }

    return release_row(compare_and_set(warehouse, ops.RELEASES, next_row, attempts))


def leave_out(
    warehouse: Warehouse, withdrawn: Collection[str], instead: Callable[[SavedModel], SavedModel | None], attempts: int
) -> ReleaseRow | None:
    """Append a row that names what is in force without what held erased people; None where none of it did.

    Args:
        warehouse: the tables.
        withdrawn: ids of releases whose snapshots are not to be named any more.
        instead: returns what is to be named for a model: itself, another one, or nothing.
        attempts: how often it is tried.

    Raises:
        ConflictError: other runs kept publishing at the same time.
    """

    def left(row: ReleaseRow) -> tuple[dict[str, str], dict[str, SavedModel]]:
        tables = {table: release_id for table, release_id in row.tables.items() if release_id not in withdrawn}
        models = {name: instead(model) for name, model in row.models.items()}
        return tables, {name: model for name, model in models.items() if model}

    def next_row() -> dict[str, Any]:
        before = newest(warehouse)
        assert before is not None
        tables, kept = left(before)
        return {**_again(warehouse, before), "tables": tables, "models": _as_rows(kept), "action": "erase"}

    in_force = newest(warehouse)
    if in_force is None or left(in_force) == (dict(in_force.tables), dict(in_force.models)):
        return None
    return release_row(compare_and_set(warehouse, ops.RELEASES, next_row, attempts))


def delete_old(warehouse: Warehouse, until: datetime, attempts: int) -> list[str]:
    """Append a row that says which releases are gone, and return all that ever went; the caller deletes their rows.

    Those go that were opened, and that a row in force named last, before a time. Where a run dies in between, the next
    one finds what it left in the list.

    Raises:
        ConflictError: other runs kept publishing at the same time.
    """

    def aged(in_force: ReleaseRow) -> list[str]:
        rows = warehouse.read(ops.RELEASES).orderBy("release_seq").collect()
        # A release is in use, by name or carried forward, until the row that names it is superseded.
        used = {
            release_id: after["published_at"] for row, after in pairwise(rows) for release_id in named(release_row(row))
        }
        opened = warehouse.read(ops.OPENED_RELEASES).select("release_id", "opened_at").collect()
        last = {release_id: max(at, used.get(release_id, at)) for release_id, at in opened}
        old = {release_id for release_id, at in last.items() if at.astimezone(UTC) < until}
        return sorted(old - named(in_force) - deleted(warehouse))

    def next_row() -> dict[str, Any]:
        before = newest(warehouse)
        assert before is not None
        return {**_again(warehouse, before), "action": "delete", "deleted": aged(before)}

    in_force = newest(warehouse)
    if in_force is not None and aged(in_force):
        compare_and_set(warehouse, ops.RELEASES, next_row, attempts)
    return sorted(deleted(warehouse))


def _again(warehouse: Warehouse, before: ReleaseRow) -> dict[str, Any]:
    """Return a next row that names what the row in force does."""
    return {
        "release_seq": before.release_seq + 1,
        "release_id": before.release_id,
        "tables": dict(before.tables),
        "models": _as_rows(before.models),
        "inputs": dict(before.inputs),
        "run_id": warehouse.run_id,
        "published_at": datetime.now(UTC),
    }


def _withdrawn_since(warehouse: Warehouse, release_seq: int) -> set[tuple[str, str]]:
    """Return table and release_id of the snapshots that erasures took out of force after a row."""
    rows = warehouse.read(ops.RELEASES).where(F.col("release_seq") >= release_seq).orderBy("release_seq").collect()
    withdrawn = set[tuple[str, str]]()
    for before, after in pairwise(rows):
        if after["action"] == "erase":
            withdrawn |= set(before["tables"].items()) - set(after["tables"].items())
    return withdrawn


def _as_rows(models: Mapping[str, SavedModel]) -> dict[str, dict[str, str]]:
    return {name: {"path": model.path, "hash": model.hash} for name, model in models.items()}
