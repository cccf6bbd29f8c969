"""Each model against the textbook, in NumPy, and what all of them promise."""

import numpy as np
import pytest
from pyspark.sql import functions as F
from sklearn.metrics.pairwise import cosine_similarity

from salience.errors import InputError
from salience.models.store import ModelStore
from salience.recommend import als as mllib
from salience.recommend.models.als import Als
from salience.recommend.models.blend import Blend
from salience.recommend.models.ease import Ease
from salience.recommend.models.interface import Weighing, histories, training
from salience.recommend.models.popular import Popularity, SegmentPopular
from salience.recommend.models.similarity import Alike, Similarity
from salience.recommend.models.svd import Svd
from salience.recommend.models.tags import Tags, fitted_tags
from salience.recommend.scoring import mixed, panel
from salience.recommend.search import ranked
from salience.settings.recommend import AlsSettings

PAIRS = "user_id string, content_id string, weight double, age_days double"
PEOPLE, CONTENTS = 25, 12
USERS, NAMES = [f"u{n:02d}" for n in range(PEOPLE)], [f"c{n:02d}" for n in range(CONTENTS)]
TAGS = {name: [f"t{n % 3}", f"s{n % 4}"] for n, name in enumerate(NAMES)} | {"new": ["t0", "s1"]}
HALF_LIFE = 10.0

OF_ALS = AlsSettings(rank=9, iterations=4, alphas=[1], regularisations=[1], blocks=2, checkpoint_interval=5, seed=1)
ALS = Als(OF_ALS, ({"rank": 4, "alpha": 2.0, "regularisation": 0.1, "half_life_days": HALF_LIFE},))
EASE = Ease([0.5], [0.25], [0.0], [0.5], [HALF_LIFE], 100, 100.0)
NORMALISED_EASE = Ease([0.5], [0.25], [0.4], [0.5], [HALF_LIFE], 100, 100.0)
SIMILARITY = Similarity([3], [2.0], [1.0], [HALF_LIFE], 100)
ALIKE = Alike([4], [2.0], [1.0], [HALF_LIFE], 100)
SVD = Svd([3], [0.0], [0.0], [1.0], [HALF_LIFE])
TAPERED_SVD = Svd([3], [1.0], [0.4], [1.0], [HALF_LIFE])
TAGGED = Tags([1.0], [HALF_LIFE], 100)
MODELS = {
    "als": ALS,
    "ease": EASE,
    "normalised_ease": NORMALISED_EASE,
    "similarity": SIMILARITY,
    "user_similarity": ALIKE,
    "svd": SVD,
    "tapered_svd": TAPERED_SVD,
    "tags": TAGGED,
    "popularity": Popularity([HALF_LIFE]),
    "segment_popular": SegmentPopular([HALF_LIFE], 5.0),
}


def blend(**weights):
    """Make a blend of models that each have one point, which needs no training to be told."""
    parts = {name: MODELS[name].grid(None)[0] for name in weights if name != "tags"}
    if "tags" in weights:
        parts["tags"] = {"power": 1.0, "half_life_days": HALF_LIFE}
    return Blend(MODELS, ({"weights": weights, "parts": parts},))


MODELS["blend"] = blend(similarity=0.2, als=0.5, ease=0.3)
pytestmark = pytest.mark.integration  # dozens of fits: make check would take too long

EXPLAINING = ("als", "ease", "normalised_ease", "similarity", "svd", "tapered_svd", "tags", "blend")


@pytest.fixture(scope="module")
def rows():
    """(user, content, weight, age); everybody did four things or more."""
    random = np.random.default_rng(3)
    return [
        (user, NAMES[content], float(random.integers(1, 6)), float(random.integers(0, 30)))
        for user in USERS
        for content in sorted(random.choice(CONTENTS, random.integers(4, 8), replace=False))
    ]


@pytest.fixture(scope="module")
def pairs(spark, rows):
    return spark.createDataFrame(rows, PAIRS)


@pytest.fixture(scope="module")
def trained(spark, pairs):
    tags = spark.createDataFrame(list(TAGS.items()), "content_id string, tags array<string>")
    segments = spark.createDataFrame([(u, "odd") for u in USERS[1::2]], "user_id string, segment string")
    with training(pairs, 2, tags, segments) as made:
        yield made


@pytest.fixture(scope="module")
def matrix(rows):
    """Faded weights, (people, contents)."""
    whole = np.zeros((PEOPLE, CONTENTS))
    for user, content, weight, age in rows:
        whole[USERS.index(user), NAMES.index(content)] = np.float32(weight * 0.5 ** (age / HALF_LIFE))
    return whole


@pytest.fixture(scope="module")
def rooted(rows):
    """Square roots of weights, faded: what `ease` goes by here."""
    whole = np.zeros((PEOPLE, CONTENTS))
    for user, content, weight, age in rows:
        whole[USERS.index(user), NAMES.index(content)] = np.float32(weight**0.5 * 0.5 ** (age / HALF_LIFE))
    return whole


@pytest.fixture(scope="module")
def asking(pairs):
    seen = F.array().cast("array<string>").alias("seen")
    return histories(pairs).select("user_id", "own", seen)


def fit(model, trained):
    (point,) = model.grid(trained)
    return model.fit(trained, point)


def scores(fitted, asking):
    """Return (people, contents) scores, people in order, contents in the order of the scorer."""
    batch = fitted.asked(asking).orderBy("user_id").toArrow().combine_chunks().to_batches()[0]
    return fitted.scorer().scores(batch)


@pytest.mark.parametrize(("model", "power"), [(EASE, 0.0), (NORMALISED_EASE, 0.4)])
def test_ease_is_the_closed_form(trained, asking, rooted, model, power):
    normalised = rooted / rooted.sum(axis=1, keepdims=True) ** power
    gram = normalised.T @ normalised
    ridge = 0.5 * gram.trace() / np.count_nonzero(rooted)
    inverse = np.linalg.inv(gram + np.diag(ridge + 0.25 * np.diag(gram)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    np.testing.assert_allclose(scores(fit(model, trained), asking), rooted @ weights, atol=1e-9)


def test_ease_weights_minimise_the_squared_error_with_ridge_and_without_a_diagonal(trained, rooted):
    gram = rooted.T @ rooted
    ridge = 0.5 * gram.trace() / np.count_nonzero(rooted) + 0.25 * np.diag(gram)
    weights = fit(EASE, trained).weights
    gradient = gram @ weights - gram + ridge[:, None] * weights
    off_diagonal = ~np.eye(CONTENTS, dtype=bool)
    np.testing.assert_allclose(gradient[off_diagonal], 0, atol=1e-9)


def nearest(similarity, count):
    """Keep each row's largest values, without its own."""
    kept = np.zeros_like(similarity)
    for row, values in enumerate(similarity):
        others = sorted((-value, n) for n, value in enumerate(values) if n != row and value > 0)
        for value, n in others[:count]:
            kept[row, n] = -value
    return kept


def shrunken_cosine(weights, shrinkage):
    norms = np.linalg.norm(weights, axis=0)
    return (weights.T @ weights) / (np.outer(norms, norms) + shrinkage)


def test_similarity_is_the_shrunken_cosine_of_the_nearest(trained, asking, matrix):
    shrinkage = 2.0 * (matrix[matrix > 0] ** 2).mean()
    kept = nearest(shrunken_cosine(matrix, shrinkage), 3)
    np.testing.assert_allclose(scores(fit(SIMILARITY, trained), asking), matrix @ kept.T, atol=1e-5)


def test_without_shrinkage_similarity_is_scikit_learns_cosine(trained, matrix):
    model = Similarity([CONTENTS], [0.0], [1.0], [HALF_LIFE], 100)
    found = {(r[0], r[2]): r[3] for r in fit(model, trained).content_similarity.collect()}
    expected = cosine_similarity(matrix.T)
    for one, a in enumerate(NAMES):
        for other, b in enumerate(NAMES):
            if one != other and expected[one, other] > 0:
                assert found.pop((a, b)) == pytest.approx(expected[one, other], abs=1e-6)
    assert not found


def test_people_alike_by_all_that_they_did_vote_with_what_they_did_of_late(trained, asking, rows, matrix):
    unfaded = np.zeros_like(matrix)
    for user, content, weight, _ in rows:
        unfaded[USERS.index(user), NAMES.index(content)] = weight
    shrinkage = 2.0 * (unfaded[unfaded > 0] ** 2).mean()
    kept = nearest(shrunken_cosine(unfaded.T, shrinkage), 4)
    np.testing.assert_allclose(scores(fit(ALIKE, trained), asking), kept @ matrix, atol=1e-5)


@pytest.mark.parametrize(("model", "ranks", "power"), [(SVD, [3], 0.0), (TAPERED_SVD, [1, 2, 3], 0.4)])
def test_svd_is_the_mean_projection_on_the_first_right_singular_vectors(trained, asking, matrix, model, ranks, power):
    of_people, of_contents = matrix.sum(axis=1, keepdims=True) ** power, matrix.sum(axis=0) ** power
    _, _, right = np.linalg.svd(matrix / of_people / of_contents)
    projections = [matrix / of_contents @ right[:rank].T @ right[:rank] * of_contents for rank in ranks]
    expected = np.mean(projections, axis=0)
    np.testing.assert_allclose(scores(fit(model, trained), asking), expected, atol=1e-6)


def test_als_scores_are_the_products_of_mllibs_factors(trained, asking):
    (point,) = ALS.points
    faded = F.col("weight") * F.pow(F.lit(0.5), F.col("age_days") / HALF_LIFE)
    ratings = trained.pairs.select("user", "item", faded.cast("float").alias("weight"))
    settings = OF_ALS.model_copy(update={"rank": 4})
    both = mllib.fit(
        mllib.Ratings(ratings, trained.user_ids, trained.item_ids), settings, mllib.Point(point["alpha"], 0.1)
    )
    users = np.array([r["features"] for r in both.user_factors.orderBy("user_id").collect()])
    items = np.array([r["features"] for r in both.item_factors.orderBy("content_id").collect()])
    np.testing.assert_allclose(scores(fit(ALS, trained), asking), users @ items.T, atol=1e-4)


def test_tags_reach_contents_that_nobody_touched(trained, asking, matrix):
    names = sorted(TAGS)
    vocabulary = sorted({tag for tags in TAGS.values() for tag in tags})
    has = np.array([[tag in TAGS[name] for tag in vocabulary] for name in names], dtype=float)
    vectors = has * np.log((len(names) + 1) / (has.sum(axis=0) + 1))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    known = np.zeros((PEOPLE, len(names)))
    known[:, [names.index(name) for name in NAMES]] = matrix
    found = scores(fit(TAGGED, trained), asking)
    np.testing.assert_allclose(found, known @ vectors @ vectors.T, atol=1e-6)
    assert (found[:, names.index("new")] > 0).any()


def test_the_most_frequent_tags_count_ties_go_to_the_first_name_and_what_all_have_tells_nothing(spark):
    told = {"a": ["all", "x"], "b": ["all", "x", "z"], "c": ["all", "y"], "d": ["all", "y", None, "y"], "e": []}
    tags = spark.createDataFrame(list(told.items()), "content_id string, tags array<string>")
    found = {r["content_id"]: (r["tags"], r["values"]) for r in fitted_tags(tags, 2, None).item_tags.collect()}
    # `all` is the most frequent and weighs log(5 / 5) = 0; x and y come in two contents each.
    assert found == {"a": (["x"], [1.0]), "b": (["x"], [1.0]), "c": ([], []), "d": ([], [])}
    scorer = fitted_tags(tags, 2, None).scorer()
    asked = spark.sql(
        "SELECT 'u' AS user_id, array(named_struct('content_id', 'a', 'weight', 1D, 'age_days', 0D)) AS own"
    )
    (batch,) = asked.toArrow().combine_chunks().to_batches()
    assert scorer.scores(batch).tolist() == [[1.0, 1.0, 0.0, 0.0]]
    assert scorer.explainer(batch).contributions(0, np.array([1, 2])).tolist() == [[1.0, 0.0]]


def test_popularity_sums_faded_weights_and_segments_lean_towards_everyone(trained, asking, matrix):
    everyone = matrix.sum(axis=0)
    found = scores(fit(MODELS["popularity"], trained), asking)
    np.testing.assert_allclose(found, np.tile(everyone, (PEOPLE, 1)), atol=1e-9)
    odd = matrix[1::2].sum(axis=0) + 5 * everyone / np.count_nonzero(matrix)
    expected = [odd if n % 2 else everyone for n in range(PEOPLE)]
    np.testing.assert_allclose(scores(fit(MODELS["segment_popular"], trained), asking), expected, atol=1e-9)


def test_a_blend_scores_as_the_panel_mixes_also_what_a_part_does_not_know(trained, asking):
    weights = {"tags": 0.5, "als": 0.3, "user_similarity": 0.2}
    parts = {name: fit(MODELS[name], trained) for name in weights}
    fitted = fit(blend(**weights), trained)
    batch = fitted.asked(asking).orderBy("user_id").toArrow().combine_chunks().to_batches()[0]
    whole = panel({name: part.scorer() for name, part in parts.items()}, {"mix": weights})
    ((_, expected, _),) = mixed(batch, whole)
    found = fitted.scorer().scores(batch)
    assert fitted.scorer().content_ids == whole.content_ids
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # Only `tags` knows the content that nobody touched.
    told = parts["tags"].scorer().scores(batch)
    standard = (told - told.mean(axis=1, keepdims=True)) / told.std(axis=1, keepdims=True)
    np.testing.assert_allclose(found[:, CONTENTS], 0.5 * standard[:, CONTENTS], atol=1e-9)


def test_a_blend_of_one_part_scores_as_it_does(trained, asking):
    alone = fit(blend(ease=0.4), trained)
    assert (scores(alone, asking) == scores(fit(EASE, trained), asking)).all()


def test_a_blend_explains_contents_that_some_part_does_not_know_but_not_with_a_part_that_cannot(trained, asking):
    batch = asking.orderBy("user_id").toArrow().combine_chunks().to_batches()[0]
    wanted = np.array([CONTENTS, 2])
    scorer = fit(blend(tags=0.5, als=0.5), trained).scorer()
    told = scorer.explainer(batch).contributions(4, wanted)
    np.testing.assert_allclose(told.sum(axis=0), scorer.scores(batch)[4, wanted], atol=1e-9)
    mute = fit(blend(popularity=0.5, als=0.5), trained).scorer()
    assert mute.explainer(batch) is None


@pytest.mark.parametrize("name", EXPLAINING)
def test_contributions_add_up_to_the_score(trained, asking, name):
    fitted = fit(MODELS[name], trained)
    batch = asking.orderBy("user_id").toArrow().combine_chunks().to_batches()[0]
    scorer = fitted.scorer()
    whole, wanted = scorer.scores(batch), np.array([0, 3, 7])
    own = batch.column("own")
    for person in (0, 11):
        told = scorer.explainer(batch).contributions(person, wanted)
        assert told.shape == (len(own[person].as_py()), 3)
        np.testing.assert_allclose(told.sum(axis=0), whole[person, wanted], atol=1e-9)
        # The last people's rows begin behind others'; their own contents are told all the same.
        alone = scorer.explainer(batch.slice(person, 1)).contributions(0, wanted)
        np.testing.assert_allclose(alone, told, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_was_saved_and_loaded_ranks_as_before(spark, trained, asking, tmp_path, name):
    model = MODELS[name]
    fitted = fit(model, trained)
    store = ModelStore(spark, str(tmp_path), "run")
    saved = store.save("r", f"{name}/feed", fitted.frames(), {"settings": dict(fitted.settings)})
    loaded = store.load(saved)
    again = model.load(loaded.frames, loaded.manifest["settings"])

    def lists(one):
        return sorted(map(tuple, ranked({name: one}, {name: {name: 1.0}}, asking, 5).collect()))

    assert lists(again) == lists(fitted)
    assert len(lists(fitted)) == PEOPLE


def test_a_catalogue_that_is_too_large_for_ease_is_refused_with_what_to_do(trained):
    model = Ease([1.0], [0.0], [0.0], [0.0], [None], 100, 0.001)
    with pytest.raises(InputError, match=r"12 items x 12 items take 0 MB .* leave ease out, raise recommend.search"):
        fit(model, trained)


def test_old_pairs_count_less_also_where_weights_do_not_count(spark):
    rows = [("u", "a", 5.0, 0.0), ("u", "b", 1.0, 10.0), ("v", "b", 1.0, 0.0)]
    frame = spark.createDataFrame(rows, PAIRS)
    found = {(r[0], r[1]): r[2] for r in frame.select("user_id", "content_id", Weighing(0.0, 10.0).column()).collect()}
    assert found == {("u", "a"): 1.0, ("u", "b"): 0.5, ("v", "b"): 1.0}
    own = histories(frame).orderBy("user_id").toArrow()["own"].combine_chunks().flatten()
    assert list(Weighing(0.0, 10.0).values(own)) == [1.0, 0.5, 1.0]


def test_models_without_what_they_need_try_nothing(spark, pairs):
    with training(pairs, 1) as bare:
        assert TAGGED.grid(bare) == []
        assert MODELS["segment_popular"].grid(bare) == []
        assert blend(tags=0.5, als=0.5).grid(bare) == []


def test_of_a_long_history_only_the_heaviest_count_towards_similarity(spark):
    busy = [("u", name, 1.0 + n, 0.0) for n, name in enumerate("abc")]
    others = [(user, name, 1.0, 0.0) for user in "vw" for name in "ab"]
    with training(spark.createDataFrame(busy + others, PAIRS), 1) as made:
        found = fit(Similarity([5], [0.0], [1.0], [None], 2), made).content_similarity.collect()
    assert {(r[0], r[2]) for r in found} == {("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")}
