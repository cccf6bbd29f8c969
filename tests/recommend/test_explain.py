import numpy as np
import pytest
from pyspark.sql import functions as F

from salience.recommend import als, foldin
from salience.recommend import explain as explaining
from salience.recommend.als import Point
from salience.recommend.explain import contributions, explain
from salience.recommend.foldin import fold_in, model_of
from salience.recommend.models.interface import HISTORY, training
from salience.recommend.models.interface import histories as of_pairs
from salience.recommend.topk import collect_items, in_blocks, top_k

ITEMS = "content_id string, features array<double>"
POINT = Point(alpha=4.0, regularisation=0.1)


def histories(preferences):
    return of_pairs(preferences.selectExpr("*", "0D AS age_days"))


def weighted(spark, *rows):
    return spark.createDataFrame(list(rows), "user_id string, content_id string, weight double")


def of_all(model, items, weights):
    """Return what each content of {content: weight} adds to the score of each item."""
    ids = items.content_ids.to_pylist()
    mine = items.factors[[ids.index(content) for content in weights]]
    return contributions(model.equation, mine, np.array(list(weights.values())), items.factors)


@pytest.fixture(scope="module")
def trained(spark):
    """A small model: the preferences that it was fitted on, its factors by name, and itself for tasks."""
    random = np.random.default_rng(3)
    rows = [
        (f"u{user:02d}", f"c{content:02d}", float(np.round(random.gamma(2), 3)))
        for user in range(30)
        for content in sorted(random.choice(20, 6, replace=False))
    ]
    settings = als.AlsSettings(
        rank=5, iterations=4, alphas=[4], regularisations=[0.1], blocks=2, checkpoint_interval=5, seed=1
    )
    preferences = weighted(spark, *rows)
    with training(preferences.selectExpr("*", "0D AS age_days"), 2) as held:
        ratings = als.Ratings(held.pairs.select("user", "item", "weight"), held.user_ids, held.item_ids)
        fitted = als.fit(ratings, settings, POINT)
        items, model = collect_items(fitted.item_factors), model_of(fitted.item_factors, POINT, 1)
        in_six = model_of(fitted.item_factors, POINT, 20 * 5 * 12 / 6 / 1e6)
        assert (len(model.items.blocks), len(in_six.items.blocks)) == (1, 6)
        users = {r["user_id"]: np.array(r["features"]) for r in fitted.user_factors.collect()}
        again = als.fit(ratings, settings, POINT)
        assert {r["user_id"]: list(r["features"]) for r in again.user_factors.collect()} == {
            name: list(features) for name, features in users.items()
        }, "a second fit differs"
    return preferences, users, model, items, in_six


@pytest.mark.integration
def test_factors_solved_from_a_history_equal_those_that_mllib_ends_with(trained):
    preferences, users, model, *_ = trained
    folded = {r["user_id"]: np.array(r["features"]) for r in fold_in(histories(preferences), model).collect()}
    assert folded.keys() == users.keys()
    for name, features in users.items():
        assert np.allclose(folded[name], features, rtol=1e-4, atol=1e-5), name


def test_contributions_of_own_contents_add_up_to_mllibs_score(trained):
    preferences, users, model, items, _ = trained
    for row in histories(preferences).collect():
        parts = of_all(model, items, {o["content_id"]: o["weight"] for o in row["own"]})
        assert parts.shape == (6, 20)
        assert np.allclose(parts.sum(axis=0), items.factors @ users[row["user_id"]], atol=1e-4)


def test_the_three_strongest_own_contents_are_named_with_their_share(spark, trained):
    preferences, _, model, items, _ = trained
    ids = items.content_ids.to_pylist()
    history = histories(preferences.where("user_id IN ('u00', 'u01')"))
    theirs = {r["user_id"]: {o["content_id"]: o["weight"] for o in r["own"]} for r in history.collect()}
    ranked = in_blocks(spark.createDataFrame(list(zip(ids, items.factors.tolist(), strict=True)), ITEMS), 1)
    lists = top_k(fold_in(history.selectExpr("*", "array('c00') AS seen"), model), ranked, 7)
    for row in explain(lists, model).collect():
        own = theirs[row["user_id"]]
        parts = of_all(model, items, own)
        assert len(row["top"]) == 7
        for item in row["top"]:
            column = dict(zip(own, parts[:, ids.index(item["content_id"])], strict=True))
            positive = {content: part for content, part in column.items() if part > 0}
            expected = sorted(positive, key=positive.get, reverse=True)[:3]
            assert [reason["content_id"] for reason in item["because"]] == expected
            for reason in item["because"]:
                part = positive[reason["content_id"]]
                assert reason["contribution"] == pytest.approx(part, rel=1e-6)
                assert reason["share"] == pytest.approx(part / sum(positive.values()), rel=1e-6)


def test_one_own_content_of_rank_one_by_hand(spark):
    items = spark.createDataFrame([("a", [2.0]), ("b", [1.0])], "content_id string, features array<float>")
    model = model_of(items, Point(alpha=3.0, regularisation=0.5), 1)
    asking = spark.createDataFrame(
        [("u", [("a", 1.0)], [("b", 0.0)])],
        "user_id string, own array<struct<content_id string, weight double>>, "
        "top array<struct<content_id string, score double>>",
    )
    # A = (4 + 1) + 3 x 4 + 0.5 = 17.5; b = (1 + 3) x 2 = 8; the score of b = 1 x 8 / 17.5.
    (reason,) = explain(asking, model).head()["top"][0]["because"]
    assert (reason["content_id"], reason["share"]) == ("a", 1.0)
    assert reason["contribution"] == pytest.approx(8 / 17.5, abs=1e-15)


def test_people_with_no_content_that_the_model_knows_have_no_factors_and_empty_lists(spark, trained):
    _, _, model, items, _ = trained
    strangers = histories(weighted(spark, ("x", "new", 1.0), ("y", "c01", 1.0), ("y", "new", 1.0)))
    strangers = strangers.union(spark.sql(f"SELECT 'z', CAST(NULL AS {HISTORY})"))
    folded = fold_in(strangers.selectExpr("*", "array('c00') AS seen"), model).cache()
    assert {r["user_id"]: r["features"] is None for r in folded.collect()} == {"x": True, "y": False, "z": True}
    ids = items.content_ids.to_pylist()
    ranked = in_blocks(spark.createDataFrame(list(zip(ids, items.factors.tolist(), strict=True)), ITEMS), 1)
    lists = {r["user_id"]: len(r["top"]) for r in explain(top_k(folded, ranked, 7), model).collect()}
    assert lists == {"x": 0, "y": 7, "z": 0}


def test_folding_new_interactions_in_equals_a_weighted_least_squares_fit_of_that_person_to_all_items(spark, trained):
    """The refit is another algorithm's: LAPACK's least squares over every item, with square roots of confidences."""
    preferences, _, model, items, _ = trained
    new = weighted(spark, ("u03", "c19", 2.5), ("u03", "c00", 7.25), ("stranger", "c05", 1.5), ("stranger", "c07", 0.5))
    now = preferences.join(new, ["user_id", "content_id"], how="left_anti").union(new)
    ids, rank = items.content_ids.to_pylist(), items.factors.shape[1]
    asked = histories(now.where("user_id IN ('u03', 'stranger')"))
    for row in fold_in(asked, model).collect():
        weight = np.zeros(len(ids))
        for own in row["own"]:
            weight[ids.index(own["content_id"])] = own["weight"]
        root = np.sqrt(1 + POINT.alpha * weight)
        ridge = np.sqrt(POINT.regularisation * len(row["own"])) * np.eye(rank)
        # MLlib counts as confidence of what was not done 1, of what was 1 + alpha x weight, and prefers 0 and 1.
        matrix = np.vstack([items.factors * root[:, None], ridge])
        wanted = np.concatenate([root * (weight > 0), np.zeros(rank)])
        refit = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
        assert np.allclose(row["features"], refit, atol=1e-4, rtol=1e-4), row["user_id"]
        assert not np.allclose(row["features"], 0, atol=1e-2)


def test_what_has_faded_to_nothing_in_single_precision_says_nothing_as_in_mllib(trained):
    preferences, users, model, *_ = trained
    longer = preferences.union(preferences.selectExpr("user_id", "'c19'", "1e-60D").dropDuplicates())
    once = longer.groupBy("user_id", "content_id").agg(F.sum("weight").alias("weight"))
    folded = {r["user_id"]: np.array(r["features"]) for r in fold_in(histories(once), model).collect()}
    for name, features in users.items():
        assert np.allclose(folded[name], features, rtol=1e-4, atol=1e-5), name


def test_factors_and_reasons_are_the_same_where_items_are_walked_in_blocks_and_people_in_small_groups(
    trained, monkeypatch
):
    preferences, _, whole, _, in_blocks_ = trained
    history = histories(preferences).selectExpr("*", "array('c00') AS seen")

    def lists(model):
        folded = fold_in(history, model).cache()
        features = {r["user_id"]: list(r["features"]) for r in folded.collect()}
        listed = top_k(folded, model.items, 7).orderBy("user_id").cache()
        return features, listed, told(explain(listed, model).collect())

    def told(rows):
        return {r["user_id"]: [(i["content_id"], i["score"], i["because"]) for i in r["top"]] for r in rows}

    def assert_same(one, other):
        assert one.keys() == other.keys()
        for name, items in one.items():
            assert [item[:2] for item in items] == [item[:2] for item in other[name]]
            for (*_, because), (*_, also) in zip(items, other[name], strict=True):
                assert [r["content_id"] for r in because] == [r["content_id"] for r in also]
                assert np.allclose([r["contribution"] for r in because], [r["contribution"] for r in also], atol=1e-12)

    features, listed, reasons = lists(whole)
    walked, _, also = lists(in_blocks_)
    assert walked.keys() == features.keys()
    assert all(np.allclose(walked[name], row, atol=1e-12) for name, row in features.items())
    assert_same(reasons, also)

    # Tasks import these modules for themselves, so small groups are tried in the process of the test.
    (batch,) = listed.toArrow().combine_chunks().to_batches()
    monkeypatch.setattr(foldin, "AT_ONCE", 2 * (6 + 7) * 5)
    pieces = list(foldin.slices(batch, in_blocks_))
    assert [len(piece) for piece in pieces] == [1, *[2] * 14, 1]
    solved = [in_blocks_.equation.solved(*foldin.known_of(piece.column("own"), in_blocks_)) for piece in pieces]
    assert np.allclose(np.concatenate(solved), [features[name] for name in sorted(features)], atol=1e-12)
    parts = list(explaining._explainer(in_blocks_, ["user_id"])(iter([batch])))
    assert len(parts) == len(pieces)
    assert_same(reasons, told([row for part in parts for row in part.to_pylist()]))


def test_a_block_may_hold_no_item_at_all(spark):
    items = spark.createDataFrame([("a", [2.0]), ("b", [1.0])], "content_id string, features array<float>")
    one, many = (model_of(items, Point(3.0, 0.5), block_mb) for block_mb in (1, 12 / 1e6 / 8))
    assert len(many.items.blocks) > 2
    history = histories(weighted(spark, ("u", "a", 1.0)))
    assert fold_in(history, one).head()["features"] == fold_in(history, many).head()["features"]
