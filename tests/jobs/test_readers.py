"""The README's ways to read the tables with other tools, run on a warehouse whose newest release is not in force."""

import re
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path

import duckdb
import duckdb_extension_delta
import pandas as pd
import pytest
from pyspark.sql import DataFrame
from tests.snapshots import FIRST, LISTS, SECOND, as_frame

from salience.tables import ops, releases
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PLACE = "data/demo/warehouse"
COMPARED = ["release_id", "platform", "user_id", "rank", "content_id", "score", "reason", "propensity"]
BECAUSE = [{"content_id": "c7", "contribution": 0.5, "share": 0.25}]


@pytest.fixture(scope="module")
def warehouse(spark, tmp_path_factory):
    """Two releases, the second of which was rolled back."""
    warehouse = Warehouse(spark, str(tmp_path_factory.mktemp("readers") / "warehouse"), "test")
    lists = {FIRST: ("c1", "c2"), SECOND: ("c3", "c4", "c5")}
    row = {"propensity": 0.5, "because": BECAUSE}
    rows = [
        as_frame(spark, LISTS, row | {"rank": rank, "content_id": content}, release=release)
        for release, contents in lists.items()
        for rank, content in enumerate(contents, start=1)
    ]
    warehouse.replace(LISTS, reduce(DataFrame.union, rows), {"release_id": [*lists]})
    ledger = ((1, FIRST, "publish"), (2, SECOND, "publish"), (3, FIRST, "rollback"))
    unused = {"models": {}, "inputs": {}, "run_id": "test", "published_at": datetime.now(UTC)}
    warehouse.append_rows(
        ops.RELEASES,
        [
            {"release_seq": seq, "release_id": release, "tables": {str(LISTS): release}, "action": action, **unused}
            for seq, release, action in ledger
        ],
    )
    return warehouse


@pytest.fixture(scope="module")
def in_force(warehouse):
    """What Spark reads."""
    release = releases.newest(warehouse).tables[str(LISTS)]
    rows = warehouse.read(LISTS).where(f"release_id = '{release}'").toPandas()
    assert rows.sort_values("rank")["content_id"].to_list() == ["c1", "c2"]
    return rows


def snippet(language, word):
    """Return the README's one snippet of that language with that word, about the tables at hand."""
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (text,) = (text for text in found if word in text)
    assert PLACE in text
    return text


def ran(text, warehouse):
    names = {}
    exec(compile(text.replace(PLACE, warehouse.root.removeprefix("file:")), "README.md", "exec"), names)
    return names["recommendations"]


def assert_same(read, in_force):
    found = read.sort_values("rank", ignore_index=True)
    expected = in_force.sort_values("rank", ignore_index=True)
    assert [[dict(own) for own in row] for row in found["because"]] == [BECAUSE] * len(expected)
    pd.testing.assert_frame_equal(found[COMPARED], expected[COMPARED], check_dtype=False)


def test_deltalake_and_pandas_read_what_is_in_force(warehouse, in_force):
    assert_same(ran(snippet("python", "from deltalake"), warehouse), in_force)


def test_polars_reads_what_is_in_force(warehouse, in_force):
    read = ran(snippet("python", "import polars"), warehouse)
    assert_same(pd.DataFrame(read.to_dicts()), in_force)


def test_duckdb_reads_what_is_in_force(warehouse, in_force):
    (extension,) = Path(duckdb_extension_delta.__file__).parent.rglob("delta.duckdb_extension")
    text = snippet("sql", "delta_scan").replace(PLACE, warehouse.root.removeprefix("file:"))
    with duckdb.connect() as session:
        # The extension comes with its package: without it, DuckDB would fetch it.
        session.load_extension(str(extension))
        assert_same(session.sql(text).df(), in_force)
