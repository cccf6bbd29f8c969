"""Releases: which snapshots and models readers see.

A job writes its snapshot under the release's id, where no reader looks. Publishing appends one row to ops.releases; the
row with the largest release_seq names everything in force. Appending is compare-and-set on release_seq, so of two
runs that publish at once the second sees the first one's row and builds on it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.tables import catalog, ops
from salience.tables.contract import Kind, Table
from salience.tables.ledgers import compare_and_set
from salience.tables.warehouse import Warehouse


@dataclass(frozen=True)
class SavedModel:
    """Where a model lies and the SHA-256 over its files."""

    path: str
    hash: str


@dataclass(frozen=True)
class ReleaseRow:
    """One row of ops.releases: what readers see while it is the newest."""

    release_seq: int
    release_id: str
    tables: Mapping[str, str]
    models: Mapping[str, SavedModel]
    inputs: Mapping[str, int]
    action: str


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


def newest(warehouse: Warehouse, as_of: str | None = None) -> ReleaseRow | None:
    """Return the row in force, or None while nothing was published.

    Args:
        warehouse: the tables.
        as_of: ISO day; releases that know later days are left out, and of an earlier one what was deleted since.
    """
    if not warehouse.exists(ops.RELEASES):
        return None
    rows = warehouse.read(ops.RELEASES)
    if as_of is not None:
        rows = rows.where(F.split_part("release_id", F.lit("."), F.lit(1)) <= as_of)
    row = rows.orderBy(F.col("release_seq").desc()).head()
    if row is None:
        return None
    found = _release_row(row)
    return found if as_of is None else _still_there(found, deleted(warehouse))


def deleted(warehouse: Warehouse) -> set[str]:
    """Return the ids of all releases that were deleted because they were old."""
    rows = warehouse.read(ops.RELEASES) if warehouse.exists(ops.RELEASES) else None
    return set() if rows is None else {row[0] for row in rows.select(F.explode("deleted")).collect()}


def delete_old(warehouse: Warehouse, until: datetime, attempts: int) -> list[str]:
    """Append a row that says which releases are gone, and return all that ever went; the caller deletes their rows.

    Those go that were opened, and published last, before a time, and that the row in force does not name. Where a run
    dies in between, the next one finds what it left in the list.

    Raises:
        ConflictError: other runs kept publishing at the same time.
    """

    def aged(in_force: ReleaseRow) -> list[str]:
        times = [
            warehouse.read(table).select("release_id", F.col(time).alias("at"))
            for table, time in ((ops.OPENED_RELEASES, "opened_at"), (ops.RELEASES, "published_at"))
        ]
        last = times[0].unionByName(times[1]).groupBy("release_id").agg(F.max("at").alias("at"))
        old = {row["release_id"] for row in last.where(F.col("at") < F.lit(until)).collect()}
        return sorted(old - _named(in_force) - deleted(warehouse))

    def next_row() -> dict[str, Any]:
        before = newest(warehouse)
        assert before is not None
        return {**_again(warehouse, before), "action": "delete", "deleted": aged(before)}

    in_force = newest(warehouse)
    if in_force is not None and aged(in_force):
        compare_and_set(warehouse, ops.RELEASES, next_row, attempts)
    return sorted(deleted(warehouse))


def produced(warehouse: Warehouse, release_id: str) -> tuple[dict[str, str], dict[str, SavedModel], dict[str, int]]:
    """Return what the release's successful runs made: snapshot table -> release_id, models, and inputs read."""
    tables: dict[str, str] = {}
    models: dict[str, SavedModel] = {}
    inputs: dict[str, int] = {}
    if warehouse.exists(ops.RUNS):
        runs = warehouse.read(ops.RUNS).where((F.col("release_id") == release_id) & (F.col("status") == "succeeded"))
        for run in runs.orderBy("ended_at").collect():
            tables |= {name: release_id for name in run["outputs"] if catalog.by_name(name).kind is Kind.SNAPSHOT}
            models |= {name: SavedModel(m["path"], m["hash"]) for name, m in run["models"].items()}
            inputs |= run["inputs"]
    return tables, models, inputs


def resolve(warehouse: Warehouse, table: Table, release_id: str, own_only: bool = False) -> str:
    """Return the release whose rows of a snapshot table a job of `release_id` should read.

    It is the release itself where one of its runs wrote the table, else the one that was in force last without knowing
    later days than this release: nothing may learn from the future. With `own_only` it is the release itself or none.

    Raises:
        InputError: neither has the table.
    """
    own = produced(warehouse, release_id)[0]
    in_force = None if own_only else newest(warehouse, as_of_day(release_id))
    found = own.get(str(table)) or (in_force.tables.get(str(table)) if in_force else None)
    if found is None:
        others = "" if own_only else " and none up to its day is published"
        raise InputError(
            f"{table}: release {release_id} has no rows yet{others}; "
            f"run jobs/{table.made_by}.py --release {release_id} first"
        )
    return found


def resolve_model(warehouse: Warehouse, name: str, release_id: str, made_by: str) -> SavedModel:
    """Return the model that a job of `release_id` should load: the release's own, else the last one in force.

    Like `resolve`, it offers no model that knows later days than the release.

    Raises:
        InputError: there is neither.
    """
    found = usable_models(warehouse, release_id).get(name)
    if found is None:
        raise InputError(
            f"model {name}: release {release_id} has none yet and none up to its day is published; "
            f"run jobs/{made_by}.py --release {release_id} first"
        )
    return found


def usable_models(warehouse: Warehouse, release_id: str) -> dict[str, SavedModel]:
    """Return the models by name that `resolve_model` would offer to a job of `release_id`."""
    in_force = newest(warehouse, as_of_day(release_id))
    return {**(in_force.models if in_force else {}), **produced(warehouse, release_id)[1]}


def require_open(warehouse: Warehouse, release_id: str, as_of: date | None) -> None:
    """Check that a job may write to a release.

    Args:
        warehouse: the tables.
        release_id: the release.
        as_of: the last day that the job looks at; None for a job that looks at none.

    Raises:
        InputError: it is of another day, was published, or never opened.
    """
    if as_of is not None and as_of_day(release_id) != as_of.isoformat():
        raise InputError(
            f"release {release_id} is not of {as_of}; jobs/open_release.py --date {as_of} opens one that is"
        )
    opened = (
        warehouse.exists(ops.OPENED_RELEASES)
        and not warehouse.read(ops.OPENED_RELEASES).where(F.col("release_id") == release_id).isEmpty()
    )
    if not opened:
        raise InputError(f"release {release_id} was never opened; jobs/open_release.py reserves and prints an id")
    require_unpublished(warehouse, release_id)


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
        before = newest(warehouse)
        if before and as_of_day(before.release_id) > as_of_day(release_id):
            raise InputError(
                f"release {release_id} is of an earlier day than {before.release_id}, which is in force; if readers "
                "should go back, roll back to an earlier release_seq first (jobs/rollback_release.py)"
            )
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

    return _release_row(compare_and_set(warehouse, ops.RELEASES, next_row, attempts))


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
        gone = sorted(deleted(warehouse) & _named(earlier))
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

    return _release_row(compare_and_set(warehouse, ops.RELEASES, next_row, attempts))


def published(warehouse: Warehouse, release_seq: int) -> ReleaseRow:
    """Return a row of ops.releases.

    Raises:
        InputError: there is no such row.
    """
    if not warehouse.exists(ops.RELEASES):
        raise InputError("ops.releases: nothing was published yet, so there is nothing to roll back to")
    rows = warehouse.read(ops.RELEASES).where(F.col("release_seq") == release_seq).collect()
    if not rows:
        raise InputError(f"there is no release_seq {release_seq} in ops.releases; jobs/query_tables.py lists them")
    return _release_row(rows[0])


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
    return _release_row(compare_and_set(warehouse, ops.RELEASES, next_row, attempts))


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


def _of_release(model: SavedModel) -> str:
    """Return the release that a model, `<root>/<release_id>/<kind>/<platform>/<run_id>`, was saved for."""
    return model.path.rstrip("/").rsplit("/", 4)[-4]


def _named(row: ReleaseRow) -> set[str]:
    """Return the ids of the releases whose snapshots or models a row names."""
    return {*row.tables.values(), *map(_of_release, row.models.values())}


def _still_there(row: ReleaseRow, gone: Collection[str]) -> ReleaseRow:
    """Return a row without what releases that are gone held."""
    tables = {table: release_id for table, release_id in row.tables.items() if release_id not in gone}
    models = {name: model for name, model in row.models.items() if _of_release(model) not in gone}
    return replace(row, tables=tables, models=models)


def _withdrawn_since(warehouse: Warehouse, release_seq: int) -> set[tuple[str, str]]:
    """Return table and release_id of the snapshots that erasures took out of force after a row."""
    rows = warehouse.read(ops.RELEASES).where(F.col("release_seq") >= release_seq).orderBy("release_seq").collect()
    withdrawn = set[tuple[str, str]]()
    for before, after in pairwise(rows):
        if after["action"] == "erase":
            withdrawn |= set(before["tables"].items()) - set(after["tables"].items())
    return withdrawn


def as_of_day(release_id: str) -> str:
    """Return the ISO day that a release looks at last."""
    return release_id.split(".", maxsplit=1)[0]


def require_unpublished(warehouse: Warehouse, release_id: str) -> None:
    """Check that a release was not published.

    Raises:
        InputError: it was.
    """
    rows = warehouse.read(ops.RELEASES) if warehouse.exists(ops.RELEASES) else None
    if rows is not None and not rows.where(F.col("release_id") == release_id).isEmpty():
        raise InputError(f"release {release_id} is published and is never written again; open a new one")


def _release_row(row: Row | Mapping[str, Any]) -> ReleaseRow:
    return ReleaseRow(
        release_seq=row["release_seq"],
        release_id=row["release_id"],
        tables=row["tables"],
        models={name: SavedModel(model["path"], model["hash"]) for name, model in row["models"].items()},
        inputs=row["inputs"],
        action=row["action"],
    )


def _as_rows(models: Mapping[str, SavedModel]) -> dict[str, dict[str, str]]:
    return {name: {"path": model.path, "hash": model.hash} for name, model in models.items()}
