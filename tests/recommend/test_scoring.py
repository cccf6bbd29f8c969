from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from salience.recommend.models.interface import HISTORY, Scorer
from salience.recommend.scoring import panel, standard_scores, top_lists

ASKING = f"user_id string, own {HISTORY}, seen array<string>"


@dataclass(frozen=True)
class Planted(Scorer):
    """The same scores for everybody."""

    content_ids: pa.Array
    values: tuple[float, ...]

    def scores(self, asking):
        return np.tile(np.array(self.values, float), (len(asking), 1))


def planted(**values):
    return Planted(pa.array(sorted(values), pa.string()), tuple(values[name] for name in sorted(values)))


def lists(spark, scorers, mixes, k, people=(("u", [], []),)):
    found = top_lists(spark.createDataFrame(list(people), ASKING), panel(scorers, mixes), k)
    return {(r["user_id"], r["model"]): [tuple(item) for item in r["top"]] for r in found.collect()}


def test_a_single_model_ranks_what_it_knows_by_its_own_scores(spark):
    models = {"one": planted(a=1.0, b=5.0), "two": planted(b=1.0, c=-2.0)}
    found = lists(spark, models, {"one": {"one": 1.0}, "two": {"two": 1.0}}, 5)
    assert found == {("u", "one"): [("b", 5.0), ("a", 1.0)], ("u", "two"): [("b", 1.0), ("c", -2.0)]}


def test_a_blend_adds_standard_scores_and_takes_what_a_model_does_not_know_for_average(spark):
    models = {"one": planted(a=0.0, b=10.0), "two": planted(a=30.0, b=0.0, c=30.0)}
    found = lists(spark, models, {"blend": {"one": 0.5, "two": 0.5}}, 5)
    half = np.float32(0.5 / np.sqrt(2))
    # One: a = -1, b = 1, c unknown. Two: a = c = 1 / sqrt 2, b = -sqrt 2.
    assert [content for content, _ in found["u", "blend"]] == ["c", "a", "b"]
    values = [value for _, value in found["u", "blend"]]
    assert values == pytest.approx([half, half - 0.5, 0.5 - 2 * half], abs=1e-6)


def test_what_somebody_saw_leaves_every_list_and_lists_may_stay_short(spark):
    models = {"one": planted(a=1.0, b=5.0), "two": planted(a=1.0, b=1.0)}
    people = [("u", [], ["b"]), ("v", [], ["a", "b", "x"])]
    found = lists(spark, models, {"one": {"one": 1.0}, "blend": {"one": 0.5, "two": 0.5}}, 2, people)
    assert {key: [content for content, _ in top] for key, top in found.items()} == {
        ("u", "one"): ["a"],
        ("u", "blend"): ["a"],
        ("v", "one"): [],
        ("v", "blend"): [],
    }


def test_equal_scores_are_no_opinion_and_ties_go_to_the_smaller_id(spark):
    models = {"flat": planted(a=0.1 + 0.2, b=0.3, c=0.3), "other": planted(a=1.0, b=1.0, c=2.0)}
    found = lists(spark, models, {"blend": {"flat": 0.9, "other": 0.1}}, 3)
    assert [content for content, _ in found["u", "blend"]] == ["c", "a", "b"]


def test_standard_scores_have_mean_0_and_deviation_1_in_each_row():
    scores = np.random.default_rng(1).normal(5, 3, size=(4, 9))
    found, deviations = standard_scores(scores)
    np.testing.assert_allclose(deviations, scores.std(axis=1), atol=1e-12)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=1), 1, atol=1e-12)
    flat, none = standard_scores(np.full((2, 3), 7.0))
    assert (flat == 0).all() and np.isinf(none).all()
