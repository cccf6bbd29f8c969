"""What a search tries of each model, as settings tell."""

import pytest

from salience.errors import InputError
from salience.recommend.als import Point
from salience.recommend.models.als import Als, als_at
from salience.recommend.models.catalogue import catalogue
from salience.recommend.models.interface import training
from salience.recommend.models.svd import tapered


@pytest.fixture
def trained(spark):
    pairs = [(f"u{n}", f"c{m}", 1.0 + n * m % 3, 0.0) for n in range(6) for m in range(6) if (n + m) % 3]
    frame = spark.createDataFrame(pairs, "user_id string, content_id string, weight double, age_days double")
    with training(frame, 1) as made:
        yield made


@pytest.fixture
def tried(trained, settings):
    """Return a function: model, settings of the search -> its points."""

    def points(name, **search):
        own = settings.recommend.search.model_copy(update=search)
        return catalogue(settings.recommend.model_copy(update={"search": own}), timed=False)[name].grid(trained)

    return points


def test_svd_and_ease_try_normalisations_within_the_powers_of_the_weights(tried):
    expected = [(0.0, 0.3), (0.0, 0.0), (1.0, 0.3), (1.0, 0.0)]
    found = tried("svd", svd_powers=[0.0, 1.0], svd_normalisations=[0.3, 0.0], svd_tapers=[1.0], svd_ranks=[2])
    assert [(point["power"], point["normalisation"]) for point in found] == expected
    one = {"ease_dropouts": [0.0], "ease_regularisations": [1.0]}
    found = tried("ease", powers=[0.0, 1.0], ease_normalisations=[0.3, 0.0], **one)
    assert [(point["power"], point["normalisation"]) for point in found] == expected


def test_als_tries_its_iterations_the_first_of_them_at_every_other_point_before_the_next(tried):
    found = tried("als", als_iterations=[10, 20], als_ranks=[8, 4], als_alphas=[1.0], als_regularisations=[0.5])
    assert [(point["iterations"], point["rank"]) for point in found] == [(10, 8), (10, 4), (20, 8), (20, 4)]


def test_als_makes_the_iterations_of_its_point_and_where_that_tells_none_those_of_the_settings(trained, settings):
    """What production fits, `als_at`, tells those of the settings."""

    def fitted(of_settings, point):
        model = Als(settings.recommend.als.model_copy(update={"iterations": of_settings, "blocks": 1}), (point,))
        made = model.fit(trained, point)
        return made.settings["iterations"], {r["content_id"]: r["features"] for r in made.item_factors.collect()}

    point = {"rank": 2, "alpha": 1.0, "regularisation": 0.1, "half_life_days": None}
    assert fitted(1, {"iterations": 3, **point}) == fitted(3, point) != fitted(1, point)
    assert als_at(Point(1.0, 0.1), settings.recommend.als)[1]["iterations"] == settings.recommend.als.iterations


def test_ease_counts_the_fits_that_are_held_and_no_longer_those_that_were_let_go(trained, settings):
    matrix = 8 * trained.items**2
    search = settings.recommend.search.model_copy(update={"ease_memory_mb": 4 * matrix / 1e6})
    ease = catalogue(settings.recommend.model_copy(update={"search": search}), timed=False)["ease"]
    point = ease.grid(trained)[0]
    held = [ease.fit(trained, point), ease.fit(trained, point)]
    with pytest.raises(InputError, match="leave ease out"):
        ease.fit(trained, point)
    held.pop()
    held.append(ease.fit(trained, point))


@pytest.mark.parametrize(
    ("rank", "taper", "counts"),
    [(4, 0.0, [1, 1, 1, 1]), (4, 1.0, [1, 0.75, 0.5, 0.25]), (4, 0.5, [1, 1, 1, 0.5]), (1, 1.0, [1])],
)
def test_the_last_singular_vectors_fade_out_over_their_share(rank, taper, counts):
    assert tapered(rank, taper).tolist() == counts
