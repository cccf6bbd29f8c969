import math
from datetime import UTC, date

import pytest
from chispa import assert_approx_df_equality
from pyspark.sql import functions as F

from salience.engagement.exposures import exposures
from salience.engagement.features import FEATURES
from salience.engagement.logistic import INTERCEPT, from_frame, to_frame
from salience.engagement.score import score, targets
from salience.errors import InputError
from salience.models.store import ModelStore
from salience.tables import engagement as tables
from salience.tables.conform import conform
from tests.silver_rows import contents, instant, interactions, user

AS_OF = date(2026, 11, 5)
LOG = [
    {"user": "ann", "at": "3 10:00"},
    {"user": "ann", "at": "3 10:30", "action": "like"},
    {"user": "ann", "at": "4 10:00"},
    {"user": "bob", "at": "5 10:00", "content_id": "c2"},
    {"user": "bob", "at": "6 00:00", "action": "like", "content_id": "c2"},  # after the as-of day
    {"user": "ann", "at": "3 10:00", "platform": "video"},
]
PLAIN = dict.fromkeys(FEATURES, 0.0)
MODEL = PLAIN | {"user_engagement": 0.8, "content_exposures": -0.3, "hour_sin": 0.1, INTERCEPT: 0.2}


@pytest.fixture
def engagement(settings):
    return settings.engagement.model_copy(update={"window_days": 5, "prior_exposures": 10.0})


def candidates(spark, *rows):
    full = [("feed", user(name), content) for name, content in rows]
    return spark.createDataFrame(full, "platform string, user_id string, content_id string")


def profiles(spark, shares):
    """Return the active hours of people: their shares by hour, 0 where none is named."""
    rows = [("feed", user(name), [float(of.get(hour, 0)) for hour in range(24)]) for name, of in shares.items()]
    return spark.createDataFrame(rows, "platform string, user_id string, active_hours array<double>")


@pytest.fixture
def scored(spark, engagement):
    """Return (who, what) -> probability for the candidates under models by platform."""

    def run(asked, models):
        exposed = exposures(interactions(spark, LOG), AS_OF, engagement)
        return score(asked, exposed, contents(spark, {"c1": ["art"]}), models, engagement)

    return run


@pytest.fixture
def asked(spark):
    rows = candidates(spark, ("ann", "c1"), ("bob", "c1"), ("ann", "c9"), ("new", "c2"))
    return targets(rows, profiles(spark, {"ann": {6: 1.0}, "bob": {0: 0.5, 9: 0.5}}), AS_OF)


def sigmoid(log_odds):
    return 1 / (1 + math.exp(-log_odds))


def test_a_candidate_is_asked_for_at_the_end_of_the_day_in_the_persons_busiest_hour(spark):
    rows = candidates(spark, ("ann", "c1"), ("bob", "c1"), ("new", "c1"))
    habits = profiles(spark, {"ann": {3: 0.1, 17: 0.6, 23: 0.3}, "bob": {22: 0.4, 7: 0.4, 5: 0.2}})
    found = targets(rows, habits, AS_OF).collect()
    assert {row["event_time"].astimezone(UTC) for row in found} == {instant("6 00:00")}
    # Bob's two hours tie; of somebody new nothing is known.
    assert {row["user_id"].rstrip("0"): row["local_hour"] for row in found} == {"ann": 17, "bob": 7, "new": 20}


def test_a_probability_is_the_model_at_what_was_known_at_the_end_of_the_day(scored, asked):
    found = scored(asked, {"feed": MODEL})
    conform(tables.SCORES, found.withColumn("release_id", F.lit("r")))
    # The feed's rate before the sixth: 1 of 3 exposures engaged, with 1 of 20 to start from.
    rate = (1 + 1) / (3 + 20)

    def log_odds(engaged, exposed):
        return math.log((engaged + 10 * rate) / (exposed - engaged + 10 * (1 - rate)))

    def expected(engaged, exposed, of_content, hour):
        angle = 2 * math.pi * hour / 24
        return sigmoid(0.2 + 0.8 * log_odds(engaged, exposed) - 0.3 * math.log1p(of_content) + 0.1 * math.sin(angle))

    assert {(row["user_id"].rstrip("0"), row["content_id"]): row["p_engage_24h"] for row in found.collect()} == {
        ("ann", "c1"): pytest.approx(expected(1, 2, 2, 6), rel=1e-12),
        ("bob", "c1"): pytest.approx(expected(0, 1, 2, 0), rel=1e-12),
        ("ann", "c9"): pytest.approx(expected(1, 2, 0, 6), rel=1e-12),
        ("new", "c2"): pytest.approx(expected(0, 0, 1, 20), rel=1e-12),
    }


def test_only_platforms_with_a_model_are_scored(scored, asked):
    others = asked.withColumn("platform", F.lit("video")).union(asked)
    found = scored(others, {"feed": PLAIN | {INTERCEPT: 0.0}, "shop": PLAIN | {INTERCEPT: 9.0}}).collect()
    assert [(row["platform"], row["model"], row["p_engage_24h"]) for row in found] == [("feed", "logistic", 0.5)] * 4


@pytest.mark.integration
def test_a_saved_model_scores_as_it_did_before_and_is_refused_once_it_was_changed(spark, scored, asked, tmp_path):
    store = ModelStore(spark, str(tmp_path / "models"), "a run")
    model = MODEL | {"user_tag_engagement": 1 / 3, INTERCEPT: -math.pi}
    saved = store.save("2026-11-05.1", "engagement/feed", {"coefficients": to_frame(model, asked)}, {})
    loaded = from_frame(store.load(saved).frames["coefficients"])
    assert loaded == model
    order = ["user_id", "content_id"]
    first, again = (scored(asked, {"feed": some}).orderBy(order) for some in (model, loaded))
    assert_approx_df_equality(first, again, precision=1e-15)
    assert all(0 < row["p_engage_24h"] < 1 for row in first.collect())
    store.save("2026-11-05.1", "engagement/feed", {"coefficients": to_frame(MODEL, asked)}, {})
    with pytest.raises(InputError, match="engagement/feed/a run: its files changed since it was saved; train it again"):
        store.load(saved)
