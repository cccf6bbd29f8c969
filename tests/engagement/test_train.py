from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from pyspark.sql import functions as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from salience.engagement.features import FEATURES
from salience.engagement.logistic import INTERCEPT
from salience.engagement.train import judge, train
from salience.engagement.windows import windows
from salience.errors import InputError, SettingsError
from salience.tables import engagement as tables
from salience.tables.conform import conform
from tests.silver_rows import instant, user

pytestmark = pytest.mark.integration  # many fits: make check would take too long

AS_OF = date(2026, 11, 10)
# Ten days of exposures, two of them for the test, labels of a day: what lies between two of these instants is
TRAIN, EMBARGO, TEST, OPEN = (instant(f"{day} 00:00") for day in (1, 7, 8, 10))


@pytest.fixture
def engagement(settings):
    return settings.engagement.model_copy(update={"window_days": 10, "test_days": 2.0, "bootstrap_replicates": 100})


@pytest.fixture
def split(engagement):
    return windows(AS_OF, engagement)


def examples(rows=600, seed=42, platform="feed", start=TRAIN, end=OPEN):
    """Return labelled exposures at random times; one feature says something about the label."""
    draw = np.random.default_rng(seed)
    made = []
    for n in range(rows):
        values = [float(value) for value in draw.normal(size=len(FEATURES))]
        engaged = int(draw.random() < 1 / (1 + np.exp(1 - 1.5 * values[1])))
        at = start + (end - start) * float(draw.random())
        made.append([platform, user(f"u{n % 40}"), at, engaged, *values])
    return made


def as_frame(spark, rows):
    columns = ", ".join(f"{name} double" for name in FEATURES)
    schema = f"platform string, user_id string, event_time timestamp, engage_24h int, {columns}"
    return spark.createDataFrame(rows, schema).persist()


def between(rows, start, end):
    return [row for row in rows if start <= row[2] < end]


def fitted_by_scikit_learn(rows, regularisation):
    x, y = np.array([row[4:] for row in rows]), np.array([row[3] for row in rows])
    divisor = x.std(axis=0, ddof=1)
    model = LogisticRegression(C=1 / (len(rows) * regularisation), solver="newton-cholesky", tol=1e-13)
    model.fit(x / divisor, y)
    values = dict(zip(FEATURES, (model.coef_[0] / divisor).tolist(), strict=True))
    return values | {INTERCEPT: float(model.intercept_[0])}


def test_the_windows_leave_a_label_window_before_the_test_and_one_after_it(split):
    assert (split.first, split.train_end, split.test_start, split.test_end) == (TRAIN, EMBARGO, TEST, OPEN)
    assert split.protocol.startswith(
        "time split: train [2026-11-01T00:00Z, 2026-11-07T00:00Z), embargo to 2026-11-08T00:00Z, "
        "test [2026-11-08T00:00Z, 2026-11-10T00:00Z)"
    )


def test_no_label_of_the_training_part_is_open_when_the_test_begins(spark, split, engagement):
    instants = [bound + timedelta(seconds=s) for bound in (TRAIN, EMBARGO, TEST, OPEN) for s in (-1, 0)]
    frame = spark.createDataFrame([(at,) for at in instants], "event_time timestamp")
    found = frame.select("event_time", split.in_train.alias("train"), split.in_test.alias("test")).collect()
    by_part = {part: [row["event_time"].astimezone(UTC) for row in found if row[part]] for part in ("train", "test")}
    assert by_part == {
        "train": [TRAIN, EMBARGO - timedelta(seconds=1)],
        "test": [TEST, OPEN - timedelta(seconds=1)],
    }
    label_window = timedelta(hours=engagement.label_hours)
    assert max(by_part["train"]) + label_window < min(by_part["test"])
    assert max(by_part["test"]) + label_window < datetime(2026, 11, 11, tzinfo=UTC)


def test_an_embargo_follows_the_label_window(engagement):
    split = windows(AS_OF, engagement.model_copy(update={"label_hours": 36, "test_days": 0.5}))
    wanted = [instant(text) for text in ("1 00:00", "7 12:00", "9 00:00", "9 12:00")]
    assert [split.first, split.train_end, split.test_start, split.test_end] == wanted


def test_settings_that_leave_no_time_to_train_on_are_refused(engagement):
    assert windows(AS_OF, engagement.model_copy(update={"window_days": 5})).train_end == instant("7 00:00")
    with pytest.raises(SettingsError, match=r"engagement.window_days \(4\) leaves nothing to train on"):
        windows(AS_OF, engagement.model_copy(update={"window_days": 4}))


def test_the_judged_model_knows_the_training_window_and_the_published_one_everything(spark, engagement, split):
    rows = examples()
    frame = as_frame(spark, [*rows, *examples(200, 7, "video")])
    found = train(frame, "feed", split, engagement)
    training = between(rows, TRAIN, EMBARGO)
    assert 300 < len(training) < 450
    assert found.base_rate == sum(row[3] for row in training) / len(training)
    assert found.judged == pytest.approx(fitted_by_scikit_learn(training, engagement.regularisation), rel=1e-6)
    assert found.published == pytest.approx(fitted_by_scikit_learn(rows, engagement.regularisation), rel=1e-6)


def test_nothing_that_happened_from_the_embargo_on_reaches_the_judged_model(spark, engagement, split):
    rows = examples()
    turned = [row if row[2] < EMBARGO else [*row[:3], 1 - row[3], *row[4:]] for row in rows]
    before, after = (train(as_frame(spark, some), "feed", split, engagement) for some in (rows, turned))
    assert (before.judged, before.base_rate) == (after.judged, after.base_rate)
    assert before.published != after.published


def test_the_test_window_alone_is_judged_each_platform_by_its_own_model(spark, engagement, split):
    by_platform = {"feed": examples(), "video": examples(400, 7, "video")}
    frame = as_frame(spark, [*by_platform["feed"], *by_platform["video"], *examples(50, 9, "shop")])
    fitted = {platform: train(frame, platform, split, engagement) for platform in by_platform}
    evaluation = judge(frame, fitted, split, engagement.bootstrap_replicates)
    found = conform(tables.EVALUATION, evaluation.withColumn("release_id", F.lit("r"))).collect()
    assert {(row["label"], row["segment"], row["protocol"]) for row in found} == {("engage_24h", "all", split.protocol)}
    assert {row["trained_at"].astimezone(UTC) for row in found} == {EMBARGO}
    expected = {}
    for platform, rows in by_platform.items():
        test, model = between(rows, TEST, OPEN), fitted[platform]
        label = [row[3] for row in test]
        log_odds = [
            model.judged[INTERCEPT] + sum(model.judged[name] * v for name, v in zip(FEATURES, row[4:], strict=True))
            for row in test
        ]
        p = {"logistic": 1 / (1 + np.exp(-np.array(log_odds))), "base_rate": np.full(len(test), model.base_rate)}
        for name, given in p.items():
            figures = (len(test), sum(label))
            expected[platform, name, "log_loss"] = (*figures, log_loss(label, given))
            expected[platform, name, "roc_auc"] = (*figures, roc_auc_score(label, given))
            expected[platform, name, "brier"] = (*figures, float(np.mean((given - label) ** 2)))
    measured = {(r["platform"], r["model"], r["metric"]): (r["rows"], r["positives"], r["value"]) for r in found}
    assert measured.keys() == expected.keys()
    for key, figures in expected.items():
        assert measured[key] == pytest.approx(figures, rel=1e-12), key
    # The planted feature is worth something, and the base rate ranks nothing.
    assert expected["feed", "logistic", "log_loss"][2] < expected["feed", "base_rate", "log_loss"][2] - 0.05
    assert measured["feed", "base_rate", "roc_auc"][2] == 0.5


@pytest.mark.parametrize(
    ("platform", "start", "label", "told"),
    [
        ("shop", TRAIN, None, "platform shop has no exposure in the training window"),
        ("feed", EMBARGO, None, "platform feed has no exposure in the training window"),
        ("feed", TRAIN, 0, "platform feed: of .* exposures in the training window none led to engagement"),
        ("feed", TRAIN, 1, "platform feed: of .* exposures in the training window every one led to engagement"),
    ],
)
def test_a_training_window_that_teaches_nothing_is_refused(spark, engagement, split, platform, start, label, told):
    rows = [row if label is None else [*row[:3], label, *row[4:]] for row in examples(60, start=start)]
    with pytest.raises(InputError, match=told):
        train(as_frame(spark, rows), platform, split, engagement)


def test_a_test_window_that_tells_nothing_apart_is_refused(spark, engagement, split):
    rows = [[*row[:3], row[3] if row[2] < TEST else 0, *row[4:]] for row in examples(100)]
    with pytest.raises(InputError, match="in the test window none led to engagement"):
        train(as_frame(spark, rows), "feed", split, engagement)
    with pytest.raises(InputError, match="has no exposure in the test window"):
        train(as_frame(spark, between(rows, TRAIN, TEST)), "feed", split, engagement)
