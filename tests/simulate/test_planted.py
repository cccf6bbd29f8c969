"""What the simulator plants must be there to be found: calibration, personal taste, skew."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

pytestmark = pytest.mark.integration

PLATFORMS = ["feed", "video"]


@pytest.fixture(scope="module")
def exposures(simulated):
    """Exposures with the topics of the content and the interests of the person."""
    contents, users = simulated.truth("contents"), simulated.truth("users")
    joined = simulated.truth("exposures").merge(contents, on=["platform", "content_id"], validate="many_to_one")
    joined = joined.merge(users, on=["platform", "raw_user_id"], validate="many_to_one")
    interests = [{item["topic"] for item in person} for person in joined["interests"]]
    joined["of_interest"] = [bool(mine & set(topics)) for mine, topics in zip(interests, joined["topics"], strict=True)]
    return joined


@pytest.mark.parametrize("platform", PLATFORMS)
def test_engagement_happens_as_often_as_planted(exposures, platform):
    shown = exposures[exposures["platform"] == platform].sort_values("p_engage")
    assert 0.06 < shown["engaged"].mean() < 0.1
    for part in np.array_split(np.arange(len(shown)), 5):
        p, engaged = shown["p_engage"].to_numpy()[part], shown["engaged"].to_numpy()[part]
        # 4 standard errors of a sum of independent draws.
        assert abs(engaged.sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())


@pytest.mark.parametrize("platform", PLATFORMS)
def test_personal_taste_tells_more_than_popularity(exposures, platform):
    shown = exposures[exposures["platform"] == platform]
    by_content = shown.groupby("content_id")["p_engage"].transform("mean")
    assert roc_auc_score(shown["engaged"], shown["p_engage"]) > 0.78
    assert 0.55 < roc_auc_score(shown["engaged"], by_content) < 0.72
    rates = shown.groupby("of_interest")["engaged"].mean()
    assert rates[True] > 4 * rates[False] > 0


def test_people_also_meet_contents_outside_their_interests(exposures):
    assert 0.2 < 1 - exposures["of_interest"].mean() < 0.5


def test_contents_and_people_differ_in_how_much_attention_they_get_and_give(exposures):
    for key in ("content_id", "raw_user_id"):
        for _, shown in exposures.groupby("platform"):
            counts = shown[key].value_counts().to_numpy()
            assert counts[: len(counts) // 10].sum() > 2 * len(shown) / 10, key


def test_hardly_anybody_is_shown_the_same_content_twice(exposures):
    assert exposures.duplicated(["platform", "raw_user_id", "content_id"]).mean() < 0.1


def test_event_ids_are_unique(exposures):
    assert not exposures.duplicated(["platform", "event_id"]).any()
