import json

import numpy as np
import pytest

from salience.errors import InputError
from salience.recommend.als import Point, fit_settings
from salience.recommend.gate import at_point, decide, in_force, point_of
from salience.recommend.promotion import Promotion
from salience.recommend.split import cuts
from salience.recommend.training import Made, fitted, manifest
from tests.recommend.rows import AS_OF, contents, days_before, interactions

pytestmark = pytest.mark.integration  # dozens of fits: make check would take too long

ALIKE = 12


@pytest.fixture
def good(settings):
    """Settings by which likes tell tastes apart."""
    als = settings.recommend.als.model_copy(
        update={"rank": 4, "iterations": 4, "alphas": [4.0], "regularisations": [0.1], "blocks": 1}
    )
    gate = settings.recommend.gate.model_copy(update={"min_users": 10})
    return settings.recommend.model_copy(
        update={
            "als": als,
            "gate": gate,
            "action_weights": {"like": 2.0},
            "relevant_actions": ["like"],
            "half_life_days": 30.0,
            "evaluation_days": 3.0,
            "evaluation_k": 3,
            "bootstrap_replicates": 200,
        }
    )


@pytest.fixture
def bad(good):
    """Settings by which shares, which go to anything, count much more."""
    return good.model_copy(update={"action_weights": {"like": 2.0, "share": 40.0}})


@pytest.fixture(scope="module")
def events(spark):
    """Two tastes: people like what is of theirs, share what is of the other, and like something new in the end."""
    random = np.random.default_rng(2)
    rows = []
    for taste, other in ("ab", "ba"):
        for n in range(ALIKE):
            order = [int(c) for c in random.permutation(ALIKE)]
            rows += [(f"{taste}{n}", f"{taste}-{c}", "like", 20) for c in order[:8]]
            rows += [(f"{taste}{n}", f"{other}-{c}", "share", 20) for c in random.choice(ALIKE, 5, replace=False)]
            rows += [(f"{taste}{n}", f"{taste}-{c}", "like", 1) for c in order[8:10]]
    return interactions(spark, *rows)


def saved(verdict, cut):
    """Return the manifest of the model that a verdict publishes, as it is read again."""
    fit = Made({}, fit_settings(verdict.point, verdict.settings))
    return json.loads(json.dumps(manifest("als", fit, "feed", cut, Promotion(verdict, [], {}), {})))


@pytest.fixture
def gate(spark, events):
    """Return a function: settings in force, settings that were chosen, rows of contents -> the verdict."""

    def decided(before, chosen, *known_contents):
        windows = cuts(AS_OF, chosen.evaluation_days)
        known, catalogue = None, contents(spark, *known_contents)
        if before is not None:
            first = decide(events, catalogue, None, before, (windows.choose_end, windows.report_end))
            known = saved(first, windows.report_end)
        return decide(events, catalogue, known, chosen, (windows.choose_end, windows.report_end))

    return decided


def test_the_first_configuration_and_an_unchanged_one_are_published_without_a_trial(gate, good):
    for before in (None, good):
        verdict = gate(before, good)
        assert verdict.is_promoted and verdict.settings == good and verdict.rows == []


def test_a_configuration_that_is_surely_worse_leaves_the_one_in_force(gate, good, bad):
    verdict = gate(good, bad)
    assert not verdict.is_promoted and "the new one may be worse" in verdict.why
    assert verdict.settings.action_weights == good.action_weights
    by_model = {row["model"]: row for row in verdict.published([{"model": "als", "is_published": True}])}
    assert {name: row["is_published"] for name, row in by_model.items()} == {
        "als": False,
        "champion": True,
        "als - champion": False,
    }
    assert by_model["als - champion"]["ci_high"] < 0
    assert json.loads(by_model["champion"]["settings"])["action_weights"] == good.action_weights


def test_a_better_configuration_takes_the_place_of_the_one_in_force(gate, good, bad):
    verdict = gate(bad, good)
    assert verdict.is_promoted and verdict.settings == good
    assert not any(row["is_published"] for row in verdict.published([]))


def test_contents_that_had_expired_by_the_window_are_shown_by_neither(gate, good, bad):
    expired = [(f"{taste}-{c}", None, days_before(4)) for taste in "ab" for c in range(ALIKE)]
    verdict = gate(bad, good, *expired)
    assert [row["value"] for row in verdict.rows] == [0.0, 0.0]
    assert gate(bad, good, *((name, None, days_before(2)) for name, *_ in expired)).rows[0]["value"] > 0


def test_a_margin_lets_a_slightly_worse_one_pass_and_too_few_people_let_nothing_pass(gate, good, bad):
    wide = bad.model_copy(update={"gate": bad.gate.model_copy(update={"margin": 0.999})})
    assert gate(good, wide).is_promoted
    few = good.model_copy(update={"gate": good.gate.model_copy(update={"min_users": 1000})})
    verdict = gate(bad, few)
    assert not verdict.is_promoted and verdict.settings.action_weights == bad.action_weights
    assert "too few people to tell: 24 of at least 1,000 (recommend.gate.min_users)" in verdict.why


def test_the_settings_of_a_saved_model_are_those_that_it_was_fitted_with(good, bad, gate):
    other = at_point(bad, Point(2.0, 0.5))
    found = in_force(saved(gate(None, other), cuts(AS_OF, 1).report_end), good)
    assert point_of(found) == Point(2.0, 0.5)
    assert found.action_weights == other.action_weights and found.k == good.k


def test_training_on_nothing_is_refused_with_one_clear_line(spark, good):
    refused = pytest.raises(InputError, match="no interaction with a positive weight to train on")
    with refused, fitted(interactions(spark, ("u", "a", "view", 1)), cuts(AS_OF, 3.0).report_end, good, print):
        pass


@pytest.mark.parametrize("neighbours", [100, 3])
def test_neighbours_of_contents_and_people_are_of_their_taste(events, good, neighbours):
    """However few of them the source `similarity` goes by."""
    tried = good.search.model_copy(update={"neighbours": [neighbours]})
    asked = good.model_copy(update={"similar": 5, "search": tried})
    with fitted(events, cuts(AS_OF, 3.0).report_end, asked, print) as fit:
        of_source = fit.models["similarity"].frames["content_similarity"].groupBy("content_id").count().collect()
        assert max(row["count"] for row in of_source) == min(neighbours, 11)
        assert fit.models.keys() == {"als", "similarity"}
        for frame, of, to in (
            (fit.content_similarity, "content_id", "similar_content_id"),
            (fit.user_similarity, "user_id", "similar_user_id"),
        ):
            rows = frame.collect()
            assert len(rows) == 24 * 5 and {row["method"] for row in rows} == {"cosine"}
            assert all(row[of][0] == row[to][0] and 0 < row["similarity"] <= 1 for row in rows)
