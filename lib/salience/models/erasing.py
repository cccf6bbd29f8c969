"""Finds saved models that hold erased people, saves them anew without, and deletes them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.models.store import ModelStore
from salience.tables.contract import Column
from salience.tables.erasing import names_people
from salience.tables.releases import SavedModel
from salience.tables.storage import open_folder

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
    return (
        sorted(_below(file_system, root, (), platform), key=lambda folder: folder.path)
        if _is(file_system, root)
        else []
    )


def _below(file_system: object, path: object, parts: tuple[str, ...], platform: str) -> Iterator[Folder]:
    entries = [entry for entry in file_system.listStatus(path) if entry.isDirectory()]  # type: ignore[attr-defined]
    inside = {str(e.getPath().getName()): list(file_system.listStatus(e.getPath())) for e in entries}  # type: ignore[attr-defined]
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
        whole = {name for name, found in frames.items() if any(e.getPath().getName() == "_SUCCESS" for e in found)}
        times = [e.getModificationTime() for found in frames.values() for e in found]
        yield Folder(
            path=str(path.toString()),  # type: ignore[attr-defined]
            release_id=parts[0],
            name="/".join(parts[1:-1]),
            saved_at=datetime.fromtimestamp(max(times) / 1000, UTC),
            frames=tuple(sorted({*frames} - {_MANIFEST})),
            # The manifest is written last.
            is_whole=_MANIFEST in whole and whole == {*frames},
        )


def _is(file_system: object, path: object) -> bool:
    return bool(file_system.exists(path))  # type: ignore[attr-defined]


def holds(store: ModelStore, folder: Folder, people: DataFrame) -> bool:
    """Return whether a model holds something of the people; of one that was not saved to its end, nobody can tell.

    Args:
        store: the models.
        folder: the model.
        people: user_id of the erased, each once.
    """
    if not folder.is_whole:
        return True
    for name in folder.frames:
        frame = store.spark.read.parquet(f"{folder.path}/{name}")
        for column in _of_people(frame):
            gone = F.broadcast(people.withColumnRenamed("user_id", "__gone"))
            if not frame.join(gone, on=F.col(column) == F.col("__gone"), how="left_semi").isEmpty():
                return True
    return False


def save_without(store: ModelStore, folder: Folder, people: DataFrame) -> SavedModel:
    """Save a model of a published release once more, without the rows of erased people; the old files stay.

    Its manifest says that people were taken out.
    """
    frames = {}
    for name in folder.frames:
        frame = store.spark.read.parquet(f"{folder.path}/{name}")
        for column in _of_people(frame):
            gone = F.broadcast(people.withColumnRenamed("user_id", "__gone"))
            frame = frame.join(gone, on=F.col(column) == F.col("__gone"), how="left_anti")
        frames[name] = frame
    (manifest,) = store.spark.read.text(f"{folder.path}/{_MANIFEST}").collect()
    return store.save(folder.release_id, folder.name, frames, json.loads(manifest["value"]) | {"people_erased": True})


def delete(store: ModelStore, folder: Folder) -> None:
    """Delete a model's files."""
    file_system, path = open_folder(store.spark, folder.path)
    file_system.delete(path, True)


def _of_people(frame: DataFrame) -> list[str]:
    return [name for name, type_ in frame.dtypes if names_people(Column(name, type_, ""))]
