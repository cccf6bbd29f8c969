from dataclasses import replace
from datetime import date

import pytest
from pyspark.sql import functions as F

from salience.engagement import pipeline, returns, tasks
from salience.engagement.drift import SCORE, reference
from salience.engagement.learning import with_score
from salience.engagement.pipeline import PIPELINE, Inputs, Penalty
from salience.engagement.watching import TRAINED_ON, calibration_drifts, feature_drifts, recent
from salience.models.store import ModelStore
from tests.silver_rows import instant, user

AS_OF = date(2026, 11, 20)


def times(spark, *texts):
    return spark.createDataFrame([(instant(text),) for text in texts], "event_time timestamp")


def test_recent_are_as_many_days_as_asked_for_and_as_many_whose_labels_are_known(spark, settings):
    rows = times(spark, "16 23:59:59", "17 00:00", "20 23:59:59")
    found = recent(rows, tasks.engagement(settings.engagement), AS_OF, 3).collect()
    # Labels of the seventeenth, eighteenth and nineteenth are known, features of the last three days.
    assert [row["window"].day for row in found] == [17, 20]


def test_a_persons_day_is_the_one_that_ended_when_it_was_asked_for(spark, settings):
    rows = times(spark, "11 00:00", "12 00:00", "21 00:00").withColumn("day", F.date_sub("event_time", 1))
    found = recent(rows, tasks.returning(settings.engagement), AS_OF, 3).collect()
    assert returns.DAYS == 7
    assert [row["window"].day for row in found] == [11, 20]


@pytest.fixture
def model(spark, settings, tmp_path):
    """A saved model that has seen what happened before the eighteenth, and its task."""
    task = replace(tasks.engagement(settings.engagement), inputs=Inputs("engage_24h", ("a",), ("media",)))
    taught = rows(spark, [("17 10:00", n % 3 - 1.0, int(n % 4 == 0)) for n in range(60)])
    prepared = pipeline.prepare(taught, task.inputs, settings.engagement.model_copy(update={"hash_buckets": 4}))
    matrix = prepared.transform(taught).withColumn("engage_24h", F.col("engage_24h").cast("double"))
    whole = pipeline.assembled(prepared, pipeline.fit(matrix, "engage_24h", Penalty(0.01, 0.0), 1.0), None)
    trained_on = reference(with_score(taught, whole), ("a", SCORE), ("media",))
    store = ModelStore(spark, str(tmp_path / "models"), "a run")
    about = {"seen_until": instant("18 00:00").isoformat()}
    return store.load(store.save("r", "engagement/feed", {TRAINED_ON: trained_on}, about, {PIPELINE: whole})), task


def rows(spark, some):
    full = [("feed", user(f"u{n}"), instant(at), a, "text", engaged) for n, (at, a, engaged) in enumerate(some)]
    return spark.createDataFrame(
        full, "platform string, user_id string, event_time timestamp, a double, media string, engage_24h int"
    )


@pytest.mark.integration
def test_only_what_the_model_has_not_seen_tells_whether_it_comes_true(spark, model):
    saved, task = model
    later = rows(spark, [(f"{day} 10:00", 0.0, int(n < 5)) for day in (17, 18, 19) for n in range(10)])
    found = calibration_drifts(recent(later, task, AS_OF, 3), {"feed": saved}, task).collect()
    assert {row["window"].day: (row["rows"], row["positives"]) for row in found} == {18: (10, 5), 19: (10, 5)}
    assert {(row["label"], row["model"]) for row in found} == {("engage_24h", "logistic")}


@pytest.mark.integration
def test_each_of_the_last_days_is_compared_by_feature_category_and_score(spark, model):
    saved, task = model
    later = rows(spark, [(f"{day} 10:00", float(n % 3 - 1), 0) for day in (16, 18, 19, 20) for n in range(60)])
    found = feature_drifts(recent(later, task, AS_OF, 3), {"feed": saved}, task, AS_OF, 3).collect()
    assert {(row["feature"], row["window"].day) for row in found} == {
        (feature, day) for feature in ("a", "media", "score") for day in (18, 19, 20)
    }
    assert all(abs(row["psi"]) < 1e-9 and row["rows"] == 60 for row in found)
