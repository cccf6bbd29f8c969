from datetime import UTC, date

import pytest
from pyspark.sql import functions as F

from salience.engagement import pipeline
from salience.engagement.pipeline import PIPELINE, Inputs, Penalty
from salience.engagement.score import scored, targets
from salience.errors import InputError
from salience.models.store import ModelStore
from tests.silver_rows import instant, user

AS_OF = date(2026, 11, 5)
INPUTS = Inputs("engaged", ("a",), ("media",))


def candidates(spark, *rows):
    full = [("feed", user(name), content) for name, content in rows]
    return spark.createDataFrame(full, "platform string, user_id string, content_id string")


def profiles(spark, shares):
    """Return the active hours of people: their shares by hour, 0 where none is named."""
    rows = [("feed", user(name), [float(of.get(hour, 0)) for hour in range(24)]) for name, of in shares.items()]
    return spark.createDataFrame(rows, "platform string, user_id string, active_hours array<double>")


def slots(spark, *positions):
    return spark.createDataFrame(list(positions), "platform string, position int")


def test_a_candidate_is_asked_for_at_the_end_of_the_day_in_the_persons_busiest_hour(spark):
    rows = candidates(spark, ("ann", "c1"), ("bob", "c1"), ("new", "c1"))
    habits = profiles(spark, {"ann": {3: 0.1, 17: 0.6, 23: 0.3}, "bob": {22: 0.4, 7: 0.4, 5: 0.2}})
    found = targets(rows, habits, slots(spark, ("feed", 4), ("feed", None)), AS_OF).collect()
    assert {row["event_time"].astimezone(UTC) for row in found} == {instant("6 00:00")}
    # Bob's two hours tie; of somebody new nothing is known. The sixth is a Friday.
    assert {row["user_id"].rstrip("0"): row["local_hour"] for row in found} == {"ann": 17, "bob": 7, "new": 20}
    assert {(row["local_weekday"], row["position"]) for row in found} == {(4, 1)}


def test_a_platform_that_logs_no_slots_asks_for_none(spark):
    rows = candidates(spark, ("ann", "c1"))
    (row,) = targets(rows, profiles(spark, {}), slots(spark, ("feed", None), ("video", 3)), AS_OF).collect()
    assert row["position"] is None


@pytest.fixture
def rows(spark):
    draws = [(f"e{n}", "feed", n % 3 - 1.0, ("photo", "text")[n % 2], int(n % 5 < 2)) for n in range(60)]
    return spark.createDataFrame(draws, "id string, platform string, a double, media string, engaged int")


@pytest.fixture
def saved(spark, settings, rows, tmp_path):
    """Return a function that saves a fitted model for a platform."""

    def save(platform):
        few = settings.engagement.model_copy(update={"hash_buckets": 4})
        prepared = pipeline.prepare(rows, INPUTS, few)
        matrix = prepared.transform(rows).withColumn("engaged", F.col("engaged").cast("double"))
        whole = pipeline.assembled(prepared, pipeline.fit(matrix, "engaged", Penalty(0.01, 0.0), 1.0), None)
        store = ModelStore(spark, str(tmp_path / "models"), "a run")
        return store, store.save("2026-11-05.1", f"engagement/{platform}", {}, {}, {PIPELINE: whole}), whole

    return save


@pytest.mark.integration
def test_a_saved_model_scores_its_platform_alone_as_it_did_before_and_is_refused_once_it_changed(saved, rows, spark):
    store, model, whole = saved("feed")
    both = rows.union(rows.withColumn("platform", F.lit("video")))
    found = scored(both, ("id", "platform"), {"feed": store.load(model)}, INPUTS).orderBy("id").toPandas()
    assert list(found.columns) == ["id", "platform", "model", "p", "contributions"]
    assert set(found["platform"]) == {"feed"} and len(found) == 60
    assert found["contributions"].isna().all()
    before = pipeline.predicted(whole, rows).orderBy("id").toPandas()
    assert found["p"].tolist() == before["p"].tolist()
    told = scored(rows, ["id"], {"feed": store.load(model)}, INPUTS, explain=1).collect()
    assert {len(row["contributions"]) for row in told} == {1}
    other = spark.createDataFrame([("more",)], "value string").coalesce(1)
    other.write.mode("append").text(f"{model.path}/{PIPELINE}/metadata")
    with pytest.raises(InputError, match="engagement/feed/a run: its files changed since it was saved; train it again"):
        store.load(model)


@pytest.mark.integration
def test_a_model_of_an_earlier_version_is_refused(spark, rows, tmp_path):
    store = ModelStore(spark, str(tmp_path / "models"), "a run")
    old = spark.createDataFrame([("(intercept)", 0.5)], "feature string, coefficient double")
    saved = store.save("2026-11-05.1", "engagement/feed", {"coefficients": old}, {})
    with pytest.raises(InputError, match="an earlier version of Salience saved it; train it again"):
        scored(rows, ["id"], {"feed": store.load(saved)}, INPUTS)
