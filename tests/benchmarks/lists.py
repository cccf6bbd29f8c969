"""The best unseen contents of everyone, from files to a Delta table: by the product, and by MLlib as one would."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from benchmarks.crowd import CUT, Crowd, Integers
from salience.recommend.confidence import seen_contents
from salience.recommend.topk import as_matrix, in_blocks, top_k

Singles = npt.NDArray[np.float32]

K, BLOCK_MB = 20, 500


def asking(spark: SparkSession, crowd: Crowd, factors: Path, below: str | None = None) -> DataFrame:
    """Return what `top_k` asks for, of all people or of those with an id below one: user_id, features, seen."""
    users, pairs = spark.read.parquet(str(factors / "user_factors")), spark.read.parquet(str(crowd.pairs))
    if below is not None:
        users, pairs = (frame.where(F.col("user_id") < below) for frame in (users, pairs))
    return users.join(seen_contents(pairs, CUT), "user_id", how="inner")


def by_product(spark: SparkSession, crowd: Crowd, factors: Path, target: Path, below: str | None = None) -> None:
    """Write user_id, top."""
    ranked = in_blocks(spark.read.parquet(str(factors / "item_factors")), BLOCK_MB)
    write(top_k(asking(spark, crowd, factors, below), ranked, K), target)


def mllib_model(spark: SparkSession, crowd: Crowd, factors: Path) -> ALSModel:
    """Return MLlib's own model of the same factors; its constructor is Scala's alone."""
    frames = []
    for ids, name in ((crowd.user_ids, "user_factors"), (crowd.item_ids, "item_factors")):
        named = spark.read.parquet(str(factors / name)).join(F.broadcast(spark.read.parquet(str(ids))), [id_of(name)])
        frames.append(named.select("id", "features").persist())
        frames[-1].count()
    rank = len(frames[0].head()["features"])
    java = spark._jvm.org.apache.spark.ml.recommendation.ALSModel("als", rank, *(frame._jdf for frame in frames))
    return ALSModel(java.setUserCol("user").setItemCol("item").setPredictionCol("rating"))


def by_mllib(spark: SparkSession, model: ALSModel, crowd: Crowd, longest: int, target: Path) -> None:
    """Write user, item, rating, rank: ask for so many that nobody has seen them all, take the seen ones away, and cut.

    Args:
        model: from `mllib_model`; its factors are in memory.
        longest: length of the longest history.
    """
    listed = model.recommendForAllUsers(K + longest).select("user", F.explode("recommendations").alias("one"))
    seen = spark.read.parquet(str(crowd.pairs)).select("user", "item")
    unseen = listed.select("user", "one.item", "one.rating").join(seen, ["user", "item"], how="left_anti")
    rank = F.row_number().over(Window.partitionBy("user").orderBy(F.desc("rating"), "item"))
    write(unseen.withColumn("rank", rank).where(F.col("rank") <= K), target)


def write(frame: DataFrame, target: Path) -> None:
    frame.write.format("delta").mode("overwrite").save(str(target))


def id_of(name: str) -> str:
    return "user_id" if name == "user_factors" else "content_id"


def factors_of(folder: Path) -> tuple[Singles, Singles]:
    """Return the factors of users and of items in order of their ids."""
    users, items = (_matrix(folder / name, id_of(name)) for name in ("user_factors", "item_factors"))
    return users, items


def _matrix(folder: Path, name: str) -> Singles:
    table = pq.read_table(folder).sort_by(name).combine_chunks()
    return as_matrix(table["features"].combine_chunks()).astype(np.float32)


def lists_of_product(spark: SparkSession, target: Path, users: int) -> Integers:
    """Return the items of each user's list, (users, k); content_id c0000007 is item 7."""
    rows = spark.read.format("delta").load(str(target)).orderBy("user_id").select("top.content_id").toArrow()
    named = rows["content_id"].combine_chunks()
    return np.array([int(name[1:]) for name in named.flatten().to_pylist()]).reshape(users, K)


def lists_of_mllib(spark: SparkSession, target: Path, users: int) -> Integers:
    rows = spark.read.format("delta").load(str(target)).orderBy("user", "rank").select("item").toArrow()
    return rows["item"].to_numpy().astype(np.int64).reshape(users, K)
