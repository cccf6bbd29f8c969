from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from pyspark.sql import functions as F
from sklearn.metrics import log_loss

from salience.engagement import pipeline
from salience.engagement.pipeline import Inputs
from salience.engagement.tasks import Task
from salience.engagement.train import BASE_RATE, CONTENT_RATE, LOGISTIC, MLP, predictions, train
from salience.engagement.windows import windows
from salience.errors import InputError, SettingsError
from salience.settings import load_settings
from tests.conftest import CONF
from tests.silver_rows import instant, user

AS_OF = date(2026, 11, 15)
LABEL_WINDOW = timedelta(days=1)
# Fifteen days of exposures, three of them to choose by and two for the test, labels of a day.
TRAIN, TRAIN_END, VALIDATION, VALIDATION_END, TEST, OPEN = (instant(f"{day} 00:00") for day in (1, 8, 9, 12, 13, 15))
NUMERIC = ("a", "b")


@pytest.fixture
def engagement(settings):
    changed = {"window_days": 15, "history_days": 0, "test_days": 2.0, "validation_days": 3.0, "hash_buckets": 8}
    path = {"regularisations": [0.01, 10.0], "elastic_nets": [0.0]}
    return settings.engagement.model_copy(update=changed | path)


@pytest.fixture
def split(engagement):
    return windows(AS_OF, LABEL_WINDOW, engagement)


def task():
    segments = F.array(F.lit("all"), F.when(F.col("a") > 0, "a=high"))
    return Task(
        Inputs("engage_24h", NUMERIC, ("media",)),
        lambda rows, _: rows,
        F.to_date("event_time"),
        LABEL_WINDOW,
        "event_id",
        "exposures",
        segments,
        ("a",),
        "b",
    )


def exposures(rows=3000, seed=42, start=TRAIN, end=OPEN, intercept=-1.0):
    """Return labelled exposures at random times; `a` says something about the label."""
    draw = np.random.default_rng(seed)
    made = []
    for n in range(rows):
        a, b = (float(value) for value in draw.normal(size=2))
        engaged = int(draw.random() < 1 / (1 + np.exp(-intercept - 1.5 * a)))
        at = start + (end - start) * float(draw.random())
        made.append(("feed", f"e{n}", user(f"u{n % 40}"), at, engaged, a, b, "text"))
    return made


def as_frame(spark, rows):
    schema = (
        "platform string, event_id string, user_id string, event_time timestamp, engage_24h int, a double, b double, "
        "media string"
    )
    return spark.createDataFrame(rows, schema).persist()


def between(rows, start, end):
    return [row for row in rows if start <= row[3] < end]


def test_the_windows_leave_a_label_window_between_one_another_and_after_the_test(split):
    assert list(vars(split).values()) == [TRAIN, TRAIN_END, VALIDATION, VALIDATION_END, TEST, OPEN]
    assert split.protocol.startswith(
        "time split: train [2026-11-01T00:00Z, 2026-11-08T00:00Z), embargo, chosen and calibrated on "
        "[2026-11-09T00:00Z, 2026-11-12T00:00Z), embargo, test [2026-11-13T00:00Z, 2026-11-15T00:00Z)"
    )


def test_no_label_of_a_part_is_open_when_the_next_one_begins(spark, split):
    instants = [bound + timedelta(seconds=s) for bound in vars(split).values() for s in (-1, 0)]
    frame = spark.createDataFrame([(at,) for at in instants], "event_time timestamp")
    parts = {"train": split.in_train, "validation": split.in_validation, "test": split.in_test, "refit": split.in_refit}
    found = frame.select("event_time", *(inside.alias(name) for name, inside in parts.items())).collect()
    by_part = {part: [row["event_time"].astimezone(UTC) for row in found if row[part]] for part in parts}
    second = timedelta(seconds=1)
    assert by_part["train"] == [TRAIN, TRAIN_END - second]
    assert by_part["validation"] == [VALIDATION, VALIDATION_END - second]
    assert by_part["test"] == [TEST, OPEN - second]
    assert by_part["refit"] == [
        TRAIN,
        TRAIN_END - second,
        TRAIN_END,
        VALIDATION - second,
        VALIDATION,
        VALIDATION_END - second,
    ]
    for earlier, later in (("train", "validation"), ("validation", "test"), ("refit", "test")):
        assert max(by_part[earlier]) + LABEL_WINDOW < min(by_part[later])
    assert max(by_part["test"]) + LABEL_WINDOW < datetime(2026, 11, 16, tzinfo=UTC)


def test_settings_that_leave_no_time_to_train_on_are_refused(engagement):
    assert windows(AS_OF, timedelta(hours=36), engagement).train_end == instant("6 12:00")
    with pytest.raises(InputError, match=r"engagement.window_days \(15\) leaves nothing to train on"):
        windows(AS_OF, timedelta(days=7), engagement)
    with pytest.raises(SettingsError, match=r"window_days \(9\) leaves nothing to train on"):
        load_settings(CONF, "local", {}, ["engagement.window_days=9"])


@pytest.mark.integration
def test_the_penalty_is_the_one_that_foretells_the_validation_window_best(spark, engagement, split):
    rows = exposures()
    found = train(as_frame(spark, rows), "feed", task(), split, engagement, print)
    losses = found.about["log_loss_by_penalty"]
    assert found.about["penalty"] == {"regularisation": 0.01, "elastic_net": 0.0}
    # The mean of `a` and of the label shrink every coefficient to nothing under a penalty of 10.
    later = [row[4] for row in between(rows, VALIDATION, VALIDATION_END)]
    rate = np.mean([row[4] for row in between(rows, TRAIN, TRAIN_END)])
    blind = log_loss(later, np.full(len(later), rate))
    assert losses["regularisation 10, elastic net 0"] == pytest.approx(blind, rel=0.05)
    assert losses["regularisation 0.01, elastic net 0"] < blind - 0.1
    assert found.base_rate == rate


@pytest.mark.integration
def test_nothing_from_the_embargo_on_teaches_the_judged_model_but_its_calibration(spark, engagement, split):
    rows = exposures()

    def turned(start, end):
        return [(*row[:4], 1 - row[4], *row[5:]) if start <= row[3] < end else row for row in rows]

    def models(some):
        found = train(as_frame(spark, some), "feed", task(), split, engagement, print)
        of = [found.judged, found.published]
        return [pipeline.regression(model).coefficients for model in of], found.judged.stages[-1].coefficients

    (judged, published), calibration = models(rows)
    (of_embargo, of_embargo_published), of_embargo_calibration = models(turned(TRAIN_END, VALIDATION))
    assert (of_embargo, of_embargo_calibration) == (judged, calibration)
    assert of_embargo_published != published
    (of_test, of_test_published), of_test_calibration = models(turned(TEST, OPEN))
    # The published model is calibrated on the test window, not fitted on it.
    assert (of_test, of_test_calibration, of_test_published) == (judged, calibration, published)


@pytest.mark.integration
def test_every_model_foretells_the_test_window_alone(spark, engagement, split):
    rows = exposures()
    frame = as_frame(spark, rows)
    found = train(frame, "feed", task(), split, engagement, print)
    told = predictions(frame, found, task(), split).toPandas()
    test = between(rows, TEST, OPEN)
    assert set(told["model"]) == {LOGISTIC, MLP, BASE_RATE, CONTENT_RATE}
    assert (told.groupby("model").apply(lambda of: (of["segment"] == "all").sum()) == len(test)).all()
    assert (told["segment"] == "a=high").sum() == 4 * sum(row[5] > 0 for row in test)
    assert told["p"].between(0, 1, inclusive="neither").all()
    of_all = told[told["segment"] == "all"]
    loss = of_all.groupby("model").apply(lambda of: log_loss(of["outcome"], of["p"]))
    assert loss[LOGISTIC] < loss[BASE_RATE] - 0.05 and loss[MLP] < loss[BASE_RATE] - 0.05
    by_content = of_all[of_all["model"] == CONTENT_RATE]["p"]
    assert sorted(by_content) == pytest.approx(sorted(1 / (1 + np.exp(-row[6])) for row in test), rel=1e-12)


@pytest.mark.integration
def test_negatives_by_lot_leave_the_models_calibrated(spark, engagement, split):
    few = engagement.model_copy(update={"negatives_per_positive": 1.0, "calibration": "none"})
    frame = as_frame(spark, exposures(8000, intercept=-4.0))
    found = train(frame, "feed", task(), split, few, print)
    assert found.about["share_of_negatives"] < 0.2
    told = predictions(frame, found, task(), split).where("segment = 'all'").toPandas().groupby("model")
    expected, engaged = told["p"].sum(), told["outcome"].sum()
    # Three standard errors of the number that engaged; uncorrected, more than twice as many would be expected.
    for model in (LOGISTIC, MLP):
        assert abs(expected[model] - engaged[model]) < 3 * np.sqrt(engaged[model]) + 0.1 * engaged[model]


@pytest.mark.integration
def test_too_few_positives_to_calibrate_by_leave_the_model_as_it_was_fitted_and_are_told(spark, engagement, split):
    told = []
    rows = [r for n, r in enumerate(exposures(1500)) if r[3] < VALIDATION or r[4] == 0 or n % 20 == 0]
    found = train(as_frame(spark, rows), "feed", task(), split, engagement, told.append)
    assert [text for text in told if "feed: engage_24h is not calibrated: of " in text] == told != []
    assert pipeline.CALIBRATED not in found.judged.transform(as_frame(spark, rows[:1])).columns


@pytest.mark.parametrize(
    ("start", "end", "label", "told"),
    [
        (VALIDATION, OPEN, None, "platform feed has no exposures in the training window"),
        (TRAIN, VALIDATION, None, "platform feed has no exposures in the validation window"),
        (TRAIN, TEST, None, "platform feed has no exposures in the test window"),
        (TRAIN, OPEN, 0, "of .* exposures in the training window none led to engage_24h"),
        (TRAIN, OPEN, 1, "of .* exposures in the training window every one led to engage_24h"),
    ],
)
def test_a_window_that_teaches_nothing_is_refused(spark, engagement, split, start, end, label, told):
    rows = [row if label is None else (*row[:4], label, *row[5:]) for row in exposures(200, start=start, end=end)]
    with pytest.raises(InputError, match=told):
        train(as_frame(spark, rows), "feed", task(), split, engagement, print)


@pytest.mark.integration
def test_without_a_network_and_a_content_rate_the_others_are_judged(spark, engagement, split):
    none = engagement.model_copy(update={"mlp_hidden_units": 0})
    plain = replace(task(), content_rate=None)
    frame = as_frame(spark, exposures(800))
    found = train(frame, "feed", plain, split, none, print)
    told = predictions(frame, found, plain, split).select("model").distinct().collect()
    assert {row["model"] for row in told} == {LOGISTIC, BASE_RATE}
