import numpy as np
import pytest

from salience.recommend.ablation import BASE, LEARNED, as_settings, changes, judged, learn, windows
from salience.tables import recommendations
from salience.tables.conform import conform
from salience.tables.rows import as_frame
from tests.recommend.rows import CUT, contents, days_before, interactions

ALIKE = 12


@pytest.fixture
def quick(settings):
    als = settings.recommend.als.model_copy(
        update={"rank": 4, "iterations": 4, "alphas": [4.0], "regularisations": [0.1], "blocks": 1}
    )
    few = settings.recommend.confidence.model_copy(
        update={"half_lives_days": [], "watch_time_weights": [], "factors": [], "rounds": 2, "windows": 2}
    )
    return settings.recommend.model_copy(
        update={
            "als": als,
            "confidence": few,
            "action_weights": {"like": 2.0, "share": 40.0},
            "relevant_actions": ["like"],
            "half_life_days": 30.0,
            "evaluation_days": 3.0,
            "evaluation_k": 3,
            "bootstrap_replicates": 200,
        }
    )


@pytest.fixture(scope="module")
def misleading(spark):
    """Two tastes that likes show; shares, which weigh much, go to anything. In each window people like what is new."""
    random = np.random.default_rng(2)
    rows = []
    for taste, other in ("ab", "ba"):
        for n in range(ALIKE):
            person = f"{taste}{n}"
            order = list(random.permutation(ALIKE))
            rows += [(person, f"{taste}-{c}", "like", 20) for c in order[:6]]
            rows += [(person, f"{other}-{c}", "share", 20) for c in random.choice(ALIKE, 5, replace=False)]
            for window, liked in enumerate((order[6:8], order[8:10], order[10:12])):
                rows += [(person, f"{taste}-{c}", "like", 8 - 3 * window) for c in liked]
    return interactions(spark, *rows)


def test_every_weight_is_left_out_and_multiplied(settings):
    few = settings.recommend.confidence.model_copy(
        update={"half_lives_days": [7.0, 30.0], "watch_time_weights": [0.5], "factors": [2.0]}
    )
    update = {"confidence": few, "action_weights": {"like": 2.0}, "half_life_days": 7.0}
    found = changes(settings.recommend.model_copy(update=update))
    assert {name: one.action_weights for name, one in found.items() if "like" in name} == {
        "without like": {},
        "like x 2": {"like": 4.0},
    }
    assert found.keys() == {"without like", "like x 2", "half-life 30 days", "watch time 0.5"}
    assert found["half-life 30 days"].half_life_days == 30.0
    assert found["watch time 0.5"].watch_time_weight == 0.5


def test_windows_follow_each_other_and_the_last_one_ends_with_what_is_known(quick):
    assert windows(CUT, quick) == [
        (days_before(9), days_before(6)),
        (days_before(6), days_before(3)),
        (days_before(3), CUT),
    ]


@pytest.mark.integration
def test_what_could_not_be_shown_when_a_window_began_is_in_no_list(spark, quick):
    """Everybody who likes a, b and c likes `gone` too; who lacks it would get it before d, which few like."""
    fans = [(f"x{n}", name, "like", 8) for n in range(6) for name in ("a", "b", "c", "gone")]
    rows = [*fans, ("x0", "d", "like", 8), *[("u", name, "like", 8) for name in "abc"], ("u", "d", "like", 1)]
    events, one = interactions(spark, *rows), quick.model_copy(update={"evaluation_k": 1})
    window = (days_before(3), CUT)
    found = [
        judged(events, known, {BASE: one}, [window], one)[0]["value"]
        for known in (contents(spark), contents(spark, ("gone", None, days_before(4))))
    ]
    assert found == [0.0, 1.0]


@pytest.mark.integration
@pytest.mark.slow
def test_an_action_that_misleads_is_found_out_left_out_and_worth_it_on_a_window_that_nobody_chose_on(
    spark, quick, misleading
):
    found = learn(misleading, contents(spark), CUT, quick, print)
    assert found.settings.action_weights == {"like": 2.0}
    by_step = {(row["step"], row["variant"]): row for row in found.rows}
    adopted = {key for key, row in by_step.items() if row["is_adopted"]}
    assert adopted == {(1, "without share"), (0, LEARNED)}
    assert by_step[1, "without share"]["difference_ci_low"] > 0
    assert by_step[1, "without like"]["difference_ci_high"] < 0
    assert by_step[0, LEARNED]["difference"] > 0 == by_step[0, BASE]["difference"]
    assert by_step[1, BASE]["users"] == 2 * ALIKE
    assert "--set 'recommend.action_weights={\"like\": 2.0}'" in as_settings(found, quick)
    rows = [{"platform": "feed", **row} for row in found.rows]
    stamped = as_frame(spark, recommendations.ABLATION, rows).selectExpr("*", "'r' AS release_id")
    assert conform(recommendations.ABLATION, stamped).count() == len(rows)
