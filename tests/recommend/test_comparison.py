"""What is fitted, and when, while models are compared."""

from dataclasses import dataclass, field

import pytest

from salience.recommend import search
from salience.recommend.comparison import BLEND, Terms, compare
from salience.recommend.models.popular import Popularity
from salience.recommend.public import random_folds
from salience.recommend.public import split as parted

pytestmark = pytest.mark.integration  # a blend of five models takes a while

ROWS = "user_id string, content_id string, weight double, at double"
NO_EXTRA = {"tags": None, "segments": None}


@dataclass
class Clock:
    """A time that passes as models are fitted, one second each."""

    now: float = 0.0

    def __call__(self):
        return self.now


@dataclass(frozen=True)
class Counted(Popularity):
    """Popularity that notes its fits."""

    clock: Clock = field(default_factory=Clock)
    fits: list = field(default_factory=list)

    def fit(self, training, parameters):
        self.clock.now += 1
        self.fits.append(parameters)
        return super().fit(training, parameters)


@pytest.fixture
def compared(spark, monkeypatch):
    """Return a function: number of models, inner splits, budget -> fits of each model, and what was found."""
    clock = Clock()
    monkeypatch.setattr(search, "monotonic", clock)
    pairs = [(f"u{n}", f"c{(n + m) % 7}", 1.0, float(n)) for n in range(10) for m in range(5)]
    train = spark.createDataFrame(pairs, ROWS)
    test = spark.createDataFrame([(f"u{n}", f"c{(n + 5) % 7}", 1.0, 20.0) for n in range(10)], ROWS)

    def run(number, splits, budget_s=None, tried=1, blends=True):
        models = {f"m{n}": Counted([None] * tried, clock) for n in range(number)}
        terms = Terms(3, 100, 1, 1, budget_s, 1)
        inner = random_folds(train, 0.0, 0.3, splits, 1)
        outer = parted(train, test, 0.0, 20.0)
        wanted = [*models, BLEND] if blends else list(models)
        found = compare(models, wanted, outer, inner, NO_EXTRA, terms, lambda text: None)
        return [len(model.fits) for model in models.values()], found

    return run


def test_only_models_that_are_blended_are_fitted_on_the_splits_that_weights_alone_are_chosen_on(compared):
    fits, found = compared(search.BLENDED + 1, 2)
    # The choosing split, the other one, and all of train.
    assert fits == [3] * search.BLENDED + [2]
    assert set(found[BLEND]["parameters"]["weights"]) <= {f"m{n}" for n in range(search.BLENDED)}


def test_splits_that_are_not_fitted_by_the_deadline_choose_no_weights(compared):
    # Two seconds of search, then two on the second split.
    fits, found = compared(2, 4, budget_s=2.5)
    assert fits == [3, 3]
    assert sum(found[BLEND]["parameters"]["weights"].values()) == pytest.approx(1.0)


def test_the_last_model_has_all_the_time_that_is_left_where_no_blend_follows(compared):
    # Of ten seconds each of two models has five, and the last one of all of train.
    fits, _ = compared(2, 1, budget_s=10, tried=20, blends=False)
    assert fits == [6, 6]
    fits, _ = compared(1, 1, budget_s=10, tried=20)
    assert fits == [6]
