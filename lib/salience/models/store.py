"""Saves models: Parquet frames and Spark ML pipelines beside a manifest. Loading checks that nothing changed since."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.tables.releases import SavedModel
from salience.tables.storage import java_class, open_folder


def blas(spark: SparkSession) -> str:
    """Return the class of MLlib's linear algebra on the driver's machine: JNIBLAS is native, the others are Java."""
    module = getattr(java_class(spark, "org.apache.spark.ml.linalg.BLAS$"), "MODULE$")
    return str(module.nativeBLAS().getClass().getSimpleName())


@dataclass(frozen=True)
class LoadedModel:
    """A model's frames by name, and what its manifest says."""

    frames: Mapping[str, DataFrame]
    manifest: Mapping[str, Any]
    path: str = ""
    """Where its files lie; none for one that was never saved."""

    def pipeline(self, name: str) -> PipelineModel:
        """Read a fitted pipeline. Reading one runs the code that its files name, so it has to be intact.

        Raises:
            InputError: an earlier version of Salience saved the model, without it.
        """
        if name not in self.manifest.get("pipelines", ()):
            raise InputError(f"model {self.path}: an earlier version of Salience saved it; train it again")
        return PipelineModel.load(f"{self.path}/{name}")


class ModelStore:
    """The models below one folder, `<root>/<release_id>/<name>/<run_id>/{manifest,<frame>...}`.

    Each run has a folder of its own, so one that dies while it saves spoils no model that was saved before.
    """

    def __init__(self, spark: SparkSession, root: str, run_id: str) -> None:
        self.spark = spark
        self.root = root
        self.run_id = run_id

    def save(
        self,
        release_id: str,
        name: str,
        frames: Mapping[str, DataFrame],
        manifest: Mapping[str, Any],
        pipelines: Mapping[str, PipelineModel] | None = None,
    ) -> SavedModel:
        """Write a model of an unpublished release and return where it lies.

        Args:
            release_id: the release that will name the model.
            name: like `als/feed`.
            frames: everything that is needed to use the model, but for `pipelines`.
            manifest: settings and inputs that identify it; JSON values. The `blas` that solved the model is this
                session's where the manifest does not tell another.
            pipelines: fitted Spark ML pipelines by name.
        """
        path = f"{self.root}/{release_id}/{name}/{self.run_id}"
        for frame_name, frame in frames.items():
            frame.write.mode("overwrite").parquet(f"{path}/{frame_name}")
        for pipeline_name, pipeline in (pipelines or {}).items():
            pipeline.write().overwrite().save(f"{path}/{pipeline_name}")
        about = {"blas": blas(self.spark), **manifest, "frames": sorted(frames)}
        if pipelines:
            about["pipelines"] = sorted(pipelines)
        text = json.dumps(about, sort_keys=True, default=str)
        self.spark.createDataFrame([(text,)], "manifest string").coalesce(1).write.mode("overwrite").text(
            f"{path}/manifest"
        )
        return SavedModel(path, self._hash(path))

    def load(self, saved: SavedModel) -> LoadedModel:
        """Read a model back.

        Raises:
            InputError: its files are not those that were saved.
        """
        if not self.is_intact(saved):
            raise InputError(f"model {saved.path}: its files changed since it was saved; train it again")
        manifest = json.loads(self.spark.read.text(f"{saved.path}/manifest").head()["value"])  # type: ignore[index]
        frames = {name: self.spark.read.parquet(f"{saved.path}/{name}") for name in manifest["frames"]}
        return LoadedModel(frames, manifest, saved.path)

    def is_intact(self, saved: SavedModel) -> bool:
        """Return whether a model's files are there and those that were saved."""
        return self.is_there(saved) and self._hash(saved.path) == saved.hash

    def is_there(self, saved: SavedModel) -> bool:
        """Return whether a model was not deleted."""
        file_system, path = open_folder(self.spark, saved.path)
        return bool(file_system.exists(path))

    def delete_release(self, release_id: str) -> bool:
        """Delete all models of a release; return whether there were any."""
        file_system, path = open_folder(self.spark, f"{self.root}/{release_id}")
        return bool(file_system.exists(path) and file_system.delete(path, True))

    def below(self, path: str) -> str:
        """Return where a model lies below the store, wherever that lay when it was saved."""
        return path.removeprefix(self.root).strip("/").rsplit("/models/", 1)[-1]

    def _hash(self, path: str) -> str:
        """Return the SHA-256 over the files' sorted names and SHA-256s; each file is hashed where it is read."""
        files = self.spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(path)
        # The path from the model's own folder on, so that a moved warehouse keeps its hashes.
        below = F.substring_index(F.col("path"), f"/{path.rsplit('/', 1)[-1]}/", -1)
        each = files.select(F.concat_ws(" ", below, F.sha2("content", 256)).alias("line"))
        listed = F.concat_ws("\n", F.array_sort(F.collect_list("line")))
        return str(each.agg(F.sha2(listed, 256).alias("hash")).head()["hash"])  # type: ignore[index]
