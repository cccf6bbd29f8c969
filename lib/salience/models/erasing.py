"""Finds saved models that hold erased people, saves them anew without, and deletes them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.models.store import ModelStore
from salience.tables import silver
from salience.tables.audits import Audit
from salience.tables.contract import Column
from salience.tables.erasing import names_people
from salience.tables.releases import SavedModel
from salience.tables.storage import open_folder
from salience.tables.warehouse import Warehouse

_MANIFEST = "manifest"


@dataclass(frozen=True)
class Folder:
    """A model's folder, `<root>/<release_id>/<name>/<run_id>`."""

    path: str
    release_id: str
    name: str
    saved_at: datetime
    """UTC."""
    frames: tuple[str, ...]
    is_whole: bool
    """Whether it was saved to its end."""


def folders(store: ModelStore, platform: str) -> list[Folder]:
    """Return the folders of all models of a platform, whatever release they are of, those of dead runs too."""
    file_system, root = open_folder(store.spark, store.root)
    if not file_system.exists(root):
        return []
    return sorted(_below(file_system, root, (), platform), key=lambda folder: folder.path)


def _below(file_system: Any, path: Any, parts: tuple[str, ...], platform: str) -> Iterator[Folder]:
    entries = [entry for entry in file_system.listStatus(path) if entry.isDirectory()]
    inside = {str(e.getPath().getName()): list(file_system.listStatus(e.getPath())) for e in entries}
    # A frame's folder holds files, or what its writer has not finished.
    frames = {
        name: found
        for name, found in inside.items()
        if any(e.isFile() or e.getPath().getName() == "_temporary" for e in found)
    }
    if not frames:
        for entry in entries:
            yield from _below(file_system, entry.getPath(), (*parts, str(entry.getPath().getName())), platform)
    elif len(parts) > 2 and parts[-2] == platform:
        times = [e.getModificationTime() for found in frames.values() for e in found]
        yield Folder(
            path=str(path.toString()),
            release_id=parts[0],
            name="/".join(parts[1:-1]),
            saved_at=datetime.fromtimestamp(max(times) / 1000, UTC),
            frames=tuple(sorted({*frames} - {_MANIFEST})),
            # The manifest is written last.
            is_whole=any(e.isFile() for e in frames.get(_MANIFEST, ())),
        )


def holds(store: ModelStore, folder: Folder, people: DataFrame) -> bool:
    """Return whether a model holds something of the people; of one that was not saved to its end, nobody can tell.

    Args:
        store: the models.
        folder: the model.
        people: user_id of the erased, each once.
    """
    return not folder.is_whole or any(name_some(frame, people) for frame in _frames(store, folder).values())


def audit_model(store: ModelStore, warehouse: Warehouse, name: str, saved: SavedModel, release_id: str) -> list[Audit]:
    """Return the audits of a model `<kind>/<platform>`: that it is as it was saved, and names nobody erased since."""
    table = f"model {name}"
    if not store.is_intact(saved):
        return [Audit(table, "files that changed since it was saved", release_id, 1)]
    audits = [Audit(table, "files that changed since it was saved", release_id, 0)]
    if warehouse.exists(silver.ERASURES):
        gone = warehouse.read(silver.ERASURES).where(F.col("platform") == name.rsplit("/", 1)[-1])
        people = gone.select("user_id").distinct()
        named = sum(name_some(frame, people) for frame in store.load(saved).frames.values())
        audits.append(Audit(table, "frames that name erased people (train it anew)", release_id, named))
    return audits


def name_some(frame: DataFrame, people: DataFrame) -> bool:
    """Return whether rows of a model's frame name one of the people.

    Args:
        frame: the rows; their columns tell by their names whether they name people.
        people: user_id of the erased, each once.
    """
    return any(not _joined(frame, column, people, "left_semi").isEmpty() for column in _of_people(frame))


def save_without(store: ModelStore, folder: Folder, people: DataFrame) -> SavedModel:
    """Save a model of a published release once more, without the rows of erased people; the old files stay.

    Its manifest says that people were taken out.
    """
    frames = {}
    for name, frame in _frames(store, folder).items():
        for column in _of_people(frame):
            frame = _joined(frame, column, people, "left_anti")  # noqa: PLW2901
        frames[name] = frame
    (manifest,) = store.spark.read.text(f"{folder.path}/{_MANIFEST}").collect()
    return store.save(folder.release_id, folder.name, frames, json.loads(manifest["value"]) | {"people_erased": True})


def delete(store: ModelStore, folder: Folder) -> None:
    """Delete a model's files."""
    file_system, path = open_folder(store.spark, folder.path)
    file_system.delete(path, True)


def _frames(store: ModelStore, folder: Folder) -> dict[str, DataFrame]:
    return {name: store.spark.read.parquet(f"{folder.path}/{name}") for name in folder.frames}


def _joined(frame: DataFrame, column: str, people: DataFrame, how: str) -> DataFrame:
    gone = F.broadcast(people.withColumnRenamed("user_id", "__gone"))
    return frame.join(gone, on=F.col(column) == F.col("__gone"), how=how)


def _of_people(frame: DataFrame) -> list[str]:
    return [name for name, type_ in frame.dtypes if names_people(Column(name, type_, ""))]
