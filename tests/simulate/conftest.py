from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow.dataset as ds
import pytest
from pyspark.sql import SparkSession

from salience.settings import Settings, load_settings
from salience.simulate.world import PLATFORMS
from salience.simulate.writer import MARKER, write_simulation
from tests.conftest import CONF

AS_OF = date(2026, 11, 6)
SMALL = {"users": 200, "contents": 240, "days": 6, "events": 16_000, "topics": 8, "dirt_share": 0.12, "partitions": 2}


def small_settings(root: Path, **changes: object) -> Settings:
    """Return settings of a simulation below `root` that takes seconds."""
    size = [f"simulate.{name}={value}" for name, value in (SMALL | changes).items()]
    where = [f"logs={root / 'logs'}", f"warehouse={root / 'warehouse'}", f"simulate.truth={root / 'truth'}"]
    return load_settings(CONF, "local", {}, [*where, *size])


@dataclass(frozen=True)
class Simulated:
    """What a simulation wrote, read back without Spark."""

    settings: Settings
    root: Path

    def folder(self, platform: str, dataset: str) -> Path:
        return self.root / "logs" / platform / dataset

    def raw(self, platform: str, dataset: str) -> pd.DataFrame:
        """Return a raw dataset with its delivery day in `dt`, numbers as they are (null stays null)."""
        table = ds.dataset(self.folder(platform, dataset), partitioning="hive").to_table()
        return table.to_pandas(types_mapper=_nullable)

    def truth(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.root / "truth" / name)

    def counts(self) -> pd.DataFrame:
        """Return the truth about dirt by platform and delivery."""
        files = (self.root / "truth" / "dirt").glob("*.json")
        frame = pd.concat([pd.read_json(file, lines=True, convert_dates=False) for file in files])
        return frame.set_index(["platform", "delivery_date"]).sort_index()


def _nullable(kind):
    import pyarrow as pa

    return {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype()}.get(kind)


@pytest.fixture(scope="session")
def simulated(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    root = tmp_path_factory.mktemp("simulated")
    settings = small_settings(root)
    for platform in PLATFORMS:
        (root / "logs" / platform / "interactions" / "dt=1999-01-01").mkdir(parents=True)
        (root / "logs" / platform / MARKER).touch()
    write_simulation(spark, settings, AS_OF, lambda text: None)
    yield Simulated(settings, root)
