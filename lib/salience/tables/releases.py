"""Releases: which snapshots and models readers see.

A job writes its snapshot under the release's id, where no reader looks. Publishing appends one row to ops.releases; the
row with the largest release_seq names everything in force. `publishing` appends them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.tables import catalog, ops
from salience.tables.contract import Kind, Table
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
    found = release_row(row)
    return found if as_of is None else _still_there(found, deleted(warehouse))


def deleted(warehouse: Warehouse) -> set[str]:
    """Return the ids of all releases that were deleted because they were old."""
    rows = warehouse.read(ops.RELEASES) if warehouse.exists(ops.RELEASES) else None
    return set() if rows is None else {row[0] for row in rows.select(F.explode("deleted")).collect()}


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
    require_kept(warehouse, release_id)


def require_kept(warehouse: Warehouse, release_id: str) -> None:
    """Check that a release was not deleted because it was old.

    Raises:
        InputError: it was.
    """
    if release_id in deleted(warehouse):
        raise InputError(f"release {release_id} was deleted since it was old; jobs/open_release.py opens a new one")


def is_published(warehouse: Warehouse, release_id: str) -> bool:
    """Return whether a release was ever published."""
    rows = warehouse.read(ops.RELEASES) if warehouse.exists(ops.RELEASES) else None
    return rows is not None and not rows.where(F.col("release_id") == release_id).isEmpty()


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
    return release_row(rows[0])


def _of_release(model: SavedModel) -> str:
    """Return the release that a model, `<root>/<release_id>/<kind>/<platform>/<run_id>`, was saved for."""
    return model.path.rstrip("/").rsplit("/", 4)[-4]


def named(row: ReleaseRow) -> set[str]:
    """Return the ids of the releases whose snapshots or models a row names."""
    return {*row.tables.values(), *map(_of_release, row.models.values())}


def _still_there(row: ReleaseRow, gone: Collection[str]) -> ReleaseRow:
    """Return a row without what releases that are gone held."""
    tables = {table: release_id for table, release_id in row.tables.items() if release_id not in gone}
    models = {name: model for name, model in row.models.items() if _of_release(model) not in gone}
    return replace(row, tables=tables, models=models)


def as_of_day(release_id: str) -> str:
    """Return the ISO day that a release looks at last."""
    return release_id.split(".", maxsplit=1)[0]


def require_unpublished(warehouse: Warehouse, release_id: str) -> None:
    """Check that a release was not published.

    Raises:
        InputError: it was.
    """
    if is_published(warehouse, release_id):
        raise InputError(f"release {release_id} is published and is never written again; open a new one")


def release_row(row: Row | Mapping[str, Any]) -> ReleaseRow:
    """Return a row of ops.releases as what it says."""
    return ReleaseRow(
        release_seq=row["release_seq"],
        release_id=row["release_id"],
        tables=row["tables"],
        models={name: SavedModel(model["path"], model["hash"]) for name, model in row["models"].items()},
        inputs=row["inputs"],
        action=row["action"],
    )
