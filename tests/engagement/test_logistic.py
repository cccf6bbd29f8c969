import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from sklearn.linear_model import LogisticRegression

from salience.engagement.logistic import (
    INTERCEPT,
    fit,
    from_frame,
    probability,
    probability_by_platform,
    require_both_classes,
    to_frame,
)
from salience.errors import InputError

NAMES = ("small", "large", "useless")
ROWS = 400


@pytest.fixture(scope="module")
def sample():
    """Rows whose features have quite different scales, and a label that depends on two of them."""
    draw = np.random.default_rng(42)
    features = np.column_stack([draw.normal(0, 0.01, ROWS), draw.normal(900, 70, ROWS), draw.normal(0, 1, ROWS)])
    log_odds = -1 + 120 * features[:, 0] - 0.02 * (features[:, 1] - 900)
    frame = pd.DataFrame(features, columns=list(NAMES))
    return frame.assign(engage_24h=(draw.random(ROWS) < 1 / (1 + np.exp(-log_odds))).astype(int))


def by_scikit_learn(sample, regularisation, elastic_net):
    """Return the optimum of the same objective by other algorithms: Newton's, and SAGA for absolute values."""
    divisor = sample[list(NAMES)].std(ddof=1).to_numpy()
    strength = 1 / (ROWS * regularisation) if regularisation else np.inf
    model = LogisticRegression(
        C=strength,
        l1_ratio=elastic_net,
        solver="saga" if elastic_net else "newton-cholesky",
        tol=1e-13,
        max_iter=200_000,
        random_state=0,
    )
    # Centred, for SAGA's sake: that changes nothing but the intercept, which is not penalised.
    centre = sample[list(NAMES)].mean().to_numpy()
    model.fit((sample[list(NAMES)].to_numpy() - centre) / divisor, sample["engage_24h"])
    values = model.coef_[0] / divisor
    return dict(zip(NAMES, values, strict=True)) | {INTERCEPT: model.intercept_[0] - values @ centre}


@pytest.mark.parametrize(("regularisation", "elastic_net"), [(0.0, 0.0), (0.0001, 0.0), (0.05, 0.0), (0.05, 0.6)])
def test_the_fit_is_scikit_learns_optimum_of_the_same_objective(spark, settings, sample, regularisation, elastic_net):
    penalty = {"regularisation": regularisation, "elastic_net": elastic_net}
    found = fit(spark.createDataFrame(sample), NAMES, settings.engagement.model_copy(update=penalty))
    expected = by_scikit_learn(sample, regularisation, elastic_net)
    # As a share of what each term does to the log odds; a penalty that is taken for another changes far more.
    scale = dict(sample[list(NAMES)].std()) | {INTERCEPT: 1.0}
    for name, value in expected.items():
        assert found[name] * scale[name] == pytest.approx(value * scale[name], rel=1e-6, abs=1e-8), name
    assert (found["useless"] == 0) == (elastic_net > 0)


def test_a_feature_that_never_changes_gets_no_weight(spark, settings, sample):
    frame = spark.createDataFrame(sample.assign(constant=3.0))
    with_it = fit(frame, (*NAMES, "constant"), settings.engagement)
    assert with_it.pop("constant") == 0
    assert with_it == pytest.approx(fit(frame, NAMES, settings.engagement), rel=1e-7)


def test_a_fit_does_not_depend_on_how_the_rows_are_spread(spark, settings, sample):
    frame = spark.createDataFrame(sample)
    assert fit(frame.repartition(5), NAMES, settings.engagement) == fit(frame.coalesce(1), NAMES, settings.engagement)


def test_a_probability_is_the_logistic_function_of_the_log_odds(spark):
    coefficients = {"a": 2.0, "b": -0.5, INTERCEPT: 0.25}
    rows = [(0.0, 0.0), (1.5, -2.0), (-400.0, 0.0), (400.0, 0.0)]
    found = spark.createDataFrame(rows, "a double, b double").select(probability(coefficients)).collect()
    # 400 and -400 are beyond what exp can hold.
    expected = [1 / (1 + np.exp(-0.25)), 1 / (1 + np.exp(-4.25)), 0.0, 1.0]
    assert [row[0] for row in found] == pytest.approx(expected, rel=1e-14, abs=1e-300)


def test_each_platform_is_scored_by_its_own_model_and_a_platform_without_one_is_not(spark):
    models = {"feed": {"a": 1.0, INTERCEPT: 0.0}, "video": {"a": -1.0, INTERCEPT: 1.0}}
    rows = spark.createDataFrame([("feed", 2.0), ("video", 2.0), ("shop", 2.0)], "platform string, a double")
    found = rows.select("platform", probability_by_platform(models).alias("p")).orderBy("platform").collect()
    expected = [1 / (1 + np.exp(-2)), None, 1 / (1 + np.exp(1))]
    assert [row["p"] for row in found] == [pytest.approx(p, rel=1e-14) if p else None for p in expected]


def test_coefficients_come_back_from_their_frame_as_they_were(spark):
    coefficients = {"b": 0.1 + 0.2, INTERCEPT: -3.0, "a": 1e-9}
    found = from_frame(to_frame(coefficients, spark.range(1)).orderBy(F.desc("feature")))
    assert found == coefficients and list(found) == [INTERCEPT, "a", "b"]


@pytest.mark.parametrize(
    ("positives", "rows", "told"),
    [(0, 0, "no exposure in the test"), (0, 9, "of 9 exposures in the test none led"), (9, 9, "every one led")],
)
def test_a_window_that_teaches_nothing_is_refused_with_what_to_do(positives, rows, told):
    with pytest.raises(InputError, match=told):
        require_both_classes(positives, rows, "feed", "in the test")
    require_both_classes(1, 9, "feed", "in the test")
