import os
from pathlib import Path
from time import time

import pytest

from salience.models.checkpoints import checkpoints
from salience.recommend import als
from salience.recommend.als import Point, Ratings
from salience.settings.recommend import AlsSettings

pytestmark = pytest.mark.integration  # fits: make check would take too long

SETTINGS = AlsSettings(rank=4, iterations=6, alphas=[2], regularisations=[0.1], blocks=2, checkpoint_interval=2, seed=1)


def fitted(spark):
    rows = [(user, item, float(1 + user % 3)) for user in range(12) for item in range(6) if (user + item) % 3]
    ids = [
        spark.createDataFrame([(n, str(n)) for n in range(12)], f"id int, {name} string")
        for name in ("user_id", "content_id")
    ]
    ratings = Ratings(spark.createDataFrame(rows, "user int, item int, weight float").coalesce(1), *ids)
    factors = als.fit(ratings, SETTINGS, Point(2.0, 0.1)).item_factors
    return {row["content_id"]: list(row["features"]) for row in factors.collect()}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "checkpoints"


def test_fits_write_checkpoints_that_change_nothing_and_are_gone_after(spark, root):
    without = fitted(spark)
    with checkpoints(spark, str(root), "a run"):
        within = fitted(spark)
        written = [path.name for path in (root / "a run").rglob("part-*")]
    assert written
    assert not (root / "a run").exists()
    assert within.keys() == without.keys()
    for content, features in without.items():
        assert within[content] == pytest.approx(features, rel=1e-5, abs=1e-7)
    assert fitted(spark) == without
    assert list(root.iterdir()) == []


def test_afterwards_checkpoints_go_where_they_went_before(spark, root, tmp_path):
    context = spark.sparkContext
    context.setCheckpointDir(str(tmp_path / "others"))
    before = context.getCheckpointDir()
    try:
        with checkpoints(spark, str(root), "a run"):
            assert context.getCheckpointDir().startswith(f"file:{root}/a run/")
        assert context.getCheckpointDir() == before
    finally:
        context._jsc.sc().setCheckpointDir(None)
    with checkpoints(spark, str(root), "a run"):
        pass
    assert context.getCheckpointDir() is None


def test_what_a_run_that_failed_wrote_is_gone_too_and_what_died_long_ago_with_it(spark, root):
    for name, days in (("died", 8), ("runs", 6)):
        (root / name).mkdir(parents=True)
        at = time() - days * 86_400
        os.utime(root / name, (at, at))

    def fail():
        with checkpoints(spark, str(root), "fails"):
            fitted(spark)
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        fail()
    assert [path.name for path in Path(root).iterdir()] == ["runs"]
