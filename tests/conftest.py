"""One cheap Spark session for all tests, with real Delta Lake."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from salience.session import read_properties
from salience.settings import Settings, load_settings
from salience.tables.warehouse import Warehouse

CONF = Path(__file__).parent.parent / "conf"
_JAVA = {"spark.driver.extraJavaOptions": " -Ddelta.log.cacheSize=60"}
"""Delta keeps what it knows of a table for an hour: of the thousands of tests' tables that would fill the heap."""


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("salience tests")
    for key, value in read_properties(CONF / "spark" / "local.conf").items():
        builder = builder.config(key, value.replace("conf/", f"{CONF}/") + _JAVA.get(key, ""))
    builder = builder.config("spark.sql.shuffle.partitions", "2").config("spark.driver.memory", "6g")
    builder = builder.config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("spark-warehouse")))
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_of_a_module() -> Iterator[None]:
    yield
    session = SparkSession.getActiveSession()
    if session is not None:
        session.catalog.clearCache()
        for database in session.catalog.listDatabases():
            if database.name != "default":
                session.sql(f"DROP DATABASE `{database.name}` CASCADE")
        gc.collect()  # what Python holds in circles, Java keeps


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    overrides = [
        f"logs={tmp_path / 'logs'}",
        f"warehouse={tmp_path / 'warehouse'}",
        f"simulate.truth={tmp_path / 'truth'}",
    ]
    return load_settings(CONF, "local", {}, overrides)


@pytest.fixture
def warehouse(spark: SparkSession, settings: Settings) -> Warehouse:
    return Warehouse(spark, settings.warehouse, run_id="test")
