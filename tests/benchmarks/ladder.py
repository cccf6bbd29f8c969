"""Candidates of everyone by the whole ladder, from a crowd's Parquet to Delta, as jobs/find_candidates.py does."""

from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.crowd import CUT, Crowd
from benchmarks.lists import write
from salience.models.store import LoadedModel
from salience.recommend.als import fit_settings, grid
from salience.recommend.arms import PERSONALISED
from salience.recommend.candidates import candidates
from salience.recommend.models.catalogue import catalogue
from salience.recommend.models.interface import training
from salience.recommend.sources import Known, Models
from salience.settings.recommend import RecommendSettings
from salience.tables import silver

TAGS, OF_A_CONTENT, REGIONS, AGES = 200, 3, 20, 5
LEARNERS = 10
"""Item cosine is fitted on every tenth person: how it is fitted is not what is timed."""


def models_of(spark: SparkSession, crowd: Crowd, factors: Path, settings: RecommendSettings, target: Path) -> Models:
    """Return ALS with given factors, and item cosine, which is fitted and saved."""
    pairs = spark.read.parquet(str(crowd.pairs)).where(F.col("user") % LEARNERS == 0)
    rows = pairs.select("user_id", "content_id", F.col("weight").cast("double"), F.lit(0.0).alias("age_days"))
    with training(rows, settings.als.blocks) as trained:
        model = catalogue(settings, timed=False)["similarity"]
        fitted = model.fit(trained, model.grid(trained)[0])
        for name, frame in fitted.frames().items():
            frame.write.mode("overwrite").parquet(str(target / name))
    saved = {name: spark.read.parquet(str(target / name)) for name in ("content_similarity", "contents")}
    items = {"item_factors": spark.read.parquet(str(factors / "item_factors"))}
    return {
        "als": LoadedModel(items, {"settings": fit_settings(grid(settings.als)[0], settings)}),
        "similarity": LoadedModel(saved, {"settings": fitted.settings}),
    }


def by_ladder(spark: SparkSession, crowd: Crowd, models: Models, settings: RecommendSettings, target: Path) -> None:
    """Write the candidates of everyone."""
    known = _known(spark, crowd)
    served = known.users.select("user_id", F.lit(PERSONALISED).alias("arm"))
    with candidates(known, served, models, settings, print) as rows:
        write(rows, target)


def _known(spark: SparkSession, crowd: Crowd) -> Known:
    """Return likes of contents with three of 200 tags, by people of 20 regions and five ages."""
    people, contents, pairs = (spark.read.parquet(str(f)) for f in (crowd.user_ids, crowd.item_ids, crowd.pairs))
    from_ = F.lit(CUT) - F.expr("INTERVAL 100 DAYS")
    tags = F.array(*(_one_of(TAGS, "id", F.lit(n)) for n in range(OF_A_CONTENT)))
    told = F.lit("region"), _one_of(REGIONS, "id"), F.lit("age_band"), _one_of(AGES, "user_id")
    return Known(
        _rows(pairs, silver.INTERACTIONS.schema.names, action=F.lit("like")),
        _rows(contents, silver.CONTENTS.schema.names, tags=tags, valid_from=from_),
        _rows(people, silver.USERS.schema.names, attributes=F.create_map(*told), valid_from=from_),
        CUT,
    )


def _one_of(many: int, *columns: Column | str) -> Column:
    """Return one of so many names, by a hash."""
    return F.concat(F.lit("n"), F.pmod(F.xxhash64(*columns), F.lit(many)))


def _rows(frame: DataFrame, names: list[str], **told: Column) -> DataFrame:
    """Return a frame with these columns: as told, as they are, or null."""
    types = {field.name: field.dataType for table in _TABLES for field in table.schema if field.name in names}
    present = {name: F.col(name) for name in frame.columns} | told | {"platform": F.lit("feed")}
    return frame.select(*(present.get(name, F.lit(None).cast(types[name])).alias(name) for name in names))


_TABLES = (silver.INTERACTIONS, silver.CONTENTS, silver.USERS)
