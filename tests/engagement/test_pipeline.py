import math

import numpy as np
import pandas as pd
import pytest
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from salience.engagement import pipeline
from salience.engagement.pipeline import FEATURES, LOG_ODDS, Inputs, Penalty

pytestmark = pytest.mark.integration  # many fits: make check would take too long

INPUTS = Inputs("engaged", ("a", "b", "same"), ("hour", "media"))
TRUTH = {"a": 1.2, "b": -0.7}


@pytest.fixture
def engagement(settings):
    return settings.engagement.model_copy(update={"hash_buckets": 64, "negatives_per_positive": None})


def log(rows=4000, seed=42, intercept=-2.0):
    """Return exposures whose log odds are known."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": [f"e{n}" for n in range(rows)],
            "a": draw.normal(3, 2, rows),
            "b": draw.exponential(1, rows),
            "same": np.full(rows, 7.0),
            "hour": draw.integers(0, 5, rows).astype(str),
            "media": draw.choice(["photo", "text"], rows),
        }
    )
    frame["log_odds"] = (
        intercept + TRUTH["a"] * (frame["a"] - 3) / 2 + TRUTH["b"] * frame["b"] + 0.8 * (frame["media"] == "photo")
    )
    frame["engaged"] = (draw.random(rows) < 1 / (1 + np.exp(-frame["log_odds"]))).astype(int)
    return frame


def fitted(spark, frame, settings, penalty, share=1.0):
    """Return the rows, the stages before the regression, the vectors and the regression."""
    rows = pipeline.ordered(spark.createDataFrame(frame), len(frame), "id").persist()
    prepared = pipeline.prepare(rows, INPUTS, settings)
    matrix = prepared.transform(rows).withColumn("engaged", F.col("engaged").cast("double")).persist()
    return rows, prepared, matrix, pipeline.fit(matrix, "engaged", penalty, share)


def as_arrays(matrix):
    found = matrix.select(vector_to_array(F.col(FEATURES)).alias("x"), "engaged").toPandas()
    return np.stack(found["x"]), found["engaged"].to_numpy()


@pytest.mark.parametrize(
    ("penalty", "sklearn"),
    [
        (Penalty(0.001, 0.0), {"l1_ratio": 0.0, "solver": "newton-cholesky"}),
        (Penalty(0.002, 0.5), {"l1_ratio": 0.5, "solver": "saga", "max_iter": 20_000}),
    ],
)
def test_the_regression_is_scikit_learns_on_the_same_matrix(spark, engagement, penalty, sklearn):
    frame = log()
    _, _, matrix, model = fitted(spark, frame, engagement, penalty)
    x, y = as_arrays(matrix)
    peer = LogisticRegression(C=1 / (len(y) * penalty.regularisation), tol=1e-10, **sklearn).fit(x, y)
    ours = model.coefficients.toArray()
    large = np.abs(peer.coef_[0]) > 1e-3
    assert large.sum() >= 4
    assert ours[large] == pytest.approx(peer.coef_[0][large], rel=1e-4)
    assert ours[~large] == pytest.approx(peer.coef_[0][~large], abs=1e-4)
    assert model.intercept == pytest.approx(peer.intercept_[0], rel=1e-4)
    p, theirs = 1 / (1 + np.exp(-(x @ ours + model.intercept))), peer.predict_proba(x)[:, 1]
    assert log_loss(y, p) == pytest.approx(log_loss(y, theirs), abs=1e-6)
    assert roc_auc_score(y, p) == pytest.approx(roc_auc_score(y, theirs), abs=1e-6)


def test_numbers_are_standard_scores_and_a_category_has_a_place_of_its_own(spark, engagement):
    frame = log(500)
    _, prepared, matrix, _ = fitted(spark, frame, engagement, Penalty(0.01, 0.0))
    x, _ = as_arrays(matrix.orderBy("id"))
    expected = frame.sort_values("id")[["a", "b"]]
    assert x[:, :2] == pytest.approx(((expected - expected.mean()) / expected.std()).to_numpy(), abs=1e-9)
    # A number that never changes is no number.
    assert not x[:, 2].any()
    assert x.shape[1] == 3 + 2 * 64
    assert (x[:, 3:67].sum(axis=1) == 1).all() and (x[:, 67:].sum(axis=1) == 1).all()
    collided = pipeline.collisions(matrix, prepared, INPUTS)
    distinct = len({*map(tuple, x[:, 3:67])})
    assert collided["hour"] == (0 if distinct == 5 else pytest.approx(2 * (5 - distinct) / 5))


def test_values_that_share_their_place_are_counted(spark, engagement):
    crowded = engagement.model_copy(update={"hash_buckets": 2})
    frame = log(100)
    _, prepared, matrix, _ = fitted(spark, frame, crowded, Penalty(0.01, 0.0))
    # Five hours in two places: at most one of them is alone.
    assert pipeline.collisions(matrix, prepared, INPUTS)["hour"] in {0.8, 1.0}


def test_a_share_of_the_negatives_gives_the_probabilities_of_all(spark, engagement):
    frame = log(40_000, intercept=-4.0)
    positives = int(frame["engaged"].sum())
    few = engagement.model_copy(update={"negatives_per_positive": 3.0})
    rows = spark.createDataFrame(frame)
    drawn, share = pipeline.sampled(rows, positives, len(frame) - positives, "engaged", "id", few)
    kept = drawn.toPandas()
    assert share == 3 * positives / (len(frame) - positives)
    assert kept["engaged"].sum() == positives
    negatives = len(kept) - positives
    assert negatives == pytest.approx(3 * positives, abs=4 * math.sqrt(3 * positives))
    again, _ = pipeline.sampled(rows.repartition(3), positives, len(frame) - positives, "engaged", "id", few)
    assert sorted(kept["id"]) == sorted(row["id"] for row in again.select("id").collect())
    model = fitted(spark, kept, engagement, Penalty(0.0, 0.0), share)[-1]
    whole = fitted(spark, frame, engagement, Penalty(0.0, 0.0))
    _, prepared, *_ = fitted(spark, kept, engagement, Penalty(0.0, 0.0), share)
    p = pipeline.predicted(pipeline.assembled(prepared, model, None), rows).toPandas()["p"]
    # As many are expected as engaged, within the error of the draw: not four times too many.
    assert p.sum() == pytest.approx(positives, rel=0.03)
    all_p = pipeline.predicted(pipeline.assembled(whole[1], whole[3], None), rows).toPandas()["p"]
    assert np.abs(np.log(p / (1 - p)) - np.log(all_p / (1 - all_p))).mean() < 0.1


@pytest.mark.parametrize("kind", ["platt", "isotonic", "none"])
def test_calibration_is_what_scikit_learn_fits_on_later_rows(spark, engagement, kind, tmp_path):
    chosen = engagement.model_copy(update={"calibration": kind})
    _, prepared, _, model = fitted(spark, log(3000), engagement, Penalty(0.01, 0.0))
    later = log(2000, seed=7, intercept=-3.2)
    plain = pipeline.assembled(prepared, model, None)
    rows = spark.createDataFrame(later)
    log_odds = plain.transform(rows).select(LOG_ODDS, "engaged")
    whole = pipeline.assembled(prepared, model, pipeline.calibrator(log_odds, "engaged", chosen))
    found = pipeline.predicted(whole, rows).orderBy("id").toPandas()
    z = plain.transform(rows).orderBy("id").select(vector_to_array(F.col(LOG_ODDS))[0].alias("z")).toPandas()["z"]
    y = found["engaged"]
    if kind == "platt":
        peer = LogisticRegression(C=np.inf, tol=1e-12).fit(z.to_frame(), y).predict_proba(z.to_frame())[:, 1]
        assert found["p"].to_numpy() == pytest.approx(peer, rel=1e-4)
        assert found["p"].sum() == pytest.approx(y.sum(), rel=1e-4)
    elif kind == "isotonic":
        peer = np.clip(IsotonicRegression().fit(z, y).predict(z), 1e-6, 1 - 1e-6)
        assert found["p"].to_numpy() == pytest.approx(peer, abs=1e-9)
    else:
        assert found["p"].to_numpy() == pytest.approx(1 / (1 + np.exp(-z)), rel=1e-12)
    assert ((found["p"] > 0) & (found["p"] < 1)).all()
    assert list(found.columns) == [*later.sort_index(axis=0).columns, "p"]
    whole.write().overwrite().save(str(tmp_path / "whole"))
    again = pipeline.predicted(pipeline.PipelineModel.load(str(tmp_path / "whole")), rows).orderBy("id").toPandas()
    assert again.equals(found)


def test_values_nobody_has_seen_in_training_get_a_probability(spark, engagement):
    _, prepared, _, model = fitted(spark, log(1000), engagement, Penalty(0.01, 0.0))
    unheard = log(50, seed=3).assign(hour="99", media="hologram", same=8.0)
    p = pipeline.predicted(pipeline.assembled(prepared, model, None), spark.createDataFrame(unheard)).toPandas()["p"]
    assert p.between(0, 1, inclusive="neither").all()


def test_perfect_separation_leaves_numbers(spark, engagement):
    frame = log(400)
    frame["engaged"] = (frame["a"] > 3).astype(int)
    rows, prepared, _, model = fitted(spark, frame, engagement, Penalty(0.0001, 0.0))
    calibrating = pipeline.calibrator(pipeline.assembled(prepared, model, None).transform(rows), "engaged", engagement)
    p = pipeline.predicted(pipeline.assembled(prepared, model, calibrating), rows).toPandas()["p"]
    assert np.isfinite(model.coefficients.toArray()).all()
    assert p.between(0, 1, inclusive="neither").all()
    assert roc_auc_score(frame.set_index("id").loc[rows.toPandas()["id"], "engaged"], p) > 0.99


def test_contributions_and_the_intercept_add_up_to_the_log_odds(spark, engagement):
    _, prepared, matrix, model = fitted(spark, log(1000), engagement, Penalty(0.01, 0.0))
    whole = pipeline.assembled(prepared, model, None)
    transformed = whole.transform(matrix.drop(*whole_columns(prepared)))
    every = pipeline.contributions(whole, INPUTS, 99)
    top = pipeline.contributions(whole, INPUTS, 2)
    found = transformed.select(every.alias("all"), top.alias("top"), vector_to_array(F.col(LOG_ODDS))[0].alias("z"))
    for row in found.limit(50).collect():
        parts = {part["feature"]: part["contribution"] for part in row["all"]}
        assert parts.keys() == {"a", "b", "same", "hour", "media"}
        assert sum(parts.values()) + model.intercept == pytest.approx(row["z"], rel=1e-9, abs=1e-9)
        assert parts["same"] == 0
        assert row["top"] == row["all"][:2]
        sizes = [abs(part["contribution"]) for part in row["all"]]
        assert sizes == sorted(sizes, reverse=True)


def whole_columns(prepared):
    """Return the columns that the stages before the regression added."""
    return [stage.getOutputCol() for stage in prepared.stages]
