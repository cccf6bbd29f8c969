"""What a withdrawn consent takes out of models, lists, scores and profiles, and from which day on."""

from datetime import date

import numpy as np
import pytest
from pyspark.sql import functions as F
from tests import silver_rows

import build_profiles
import find_candidates
import recommend
import score_engagement
import train_engagement
import train_recommender
from salience.job import run_job
from salience.models.store import ModelStore
from salience.tables import engagement, profiles, publishing, recommendations, releases, silver

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.trial, pytest.mark.timeout(1800)]

JOBS = (train_recommender, find_candidates, train_engagement, build_profiles, score_engagement, recommend)
PEOPLE = [f"{taste}{n}" for taste in "ab" for n in range(6)]
OF_ANALYSIS, OF_LISTS, AGAIN, LATER = "a0", "a1", "a2", "b0"
SMALL = (
    "platforms=[feed]",
    "recommend.k=3",
    "recommend.candidates=5",
    "recommend.evaluation_days=3",
    "recommend.als.rank=4",
    "recommend.als.iterations=3",
    "recommend.bootstrap_replicates=100",
    "recommend.holdout.share=0",
    "engagement.window_days=7",
    "engagement.validation_days=1",
    "engagement.test_days=2",
    "engagement.hash_buckets=16",
    "engagement.bootstrap_replicates=100",
)
BEFORE, AFTER = date(2026, 11, 8), date(2026, 11, 10)


def log():
    """Return ten days on which everybody is shown two new contents of their taste, and engages with about half."""
    draw = np.random.default_rng(7)
    for person in PEOPLE:
        for day in range(1, 11):
            for n in (0, 1):
                shown = {"user": person, "content_id": f"{person[0]}{2 * day + n}", "at": f"{day} {10 + n}:00"}
                yield shown
                if draw.random() < 0.5 or (day == 10 and n):
                    yield {**shown, "action": "like"}


def answer(person, valid_from, valid_to=None, **consents):
    row = {"user": person, "attributes": {}, "valid_from": valid_from, **consents}
    return row | ({"valid_to": valid_to} if valid_to else {})


AGREED = [answer(person, "1 00:00") for person in PEOPLE]
WITHDRAWN = [
    *(answer(person, "1 00:00") for person in PEOPLE if person not in (OF_ANALYSIS, OF_LISTS, AGAIN, LATER)),
    answer(OF_ANALYSIS, "1 00:00", "9 00:00"),
    answer(OF_ANALYSIS, "9 00:00", consent_analysis=False),
    answer(OF_LISTS, "1 00:00", "10 00:00", consent_personalised=True),
    answer(OF_LISTS, "10 00:00", consent_personalised=False),
    answer(AGAIN, "1 00:00", "9 00:00"),
    answer(AGAIN, "9 00:00", "10 00:00", consent_analysis=False, consent_personalised=False),
    answer(AGAIN, "10 00:00", consent_analysis=True, consent_personalised=True),
    answer(LATER, "1 00:00", "11 00:00"),
    answer(LATER, "11 00:00", consent_analysis=False),
]


@pytest.fixture
def made(spark, warehouse, settings):
    """Return a function: answers of people and an as-of day -> what the jobs make of the log."""
    frame = silver_rows.interactions(spark, list(log()))
    days = [row[0] for row in frame.select("event_date").distinct().collect()]
    warehouse.replace(silver.INTERACTIONS, frame, {"event_date": days, "platform": ["feed"]})
    tags = {f"{taste}{n}": [taste] for taste in "ab" for n in range(30)}
    warehouse.replace(silver.CONTENTS, silver_rows.contents(spark, tags), {"platform": ["feed"]})

    def make(answers, as_of):
        warehouse.replace(silver.USERS, silver_rows.users(spark, answers), {"platform": ["feed"]})
        release = publishing.open_release(warehouse, as_of, 3)
        argv = ["--env", "local", "--date", as_of.isoformat(), "--release", release]
        for setting in (f"warehouse={settings.warehouse}", *SMALL):
            argv += ["--set", setting]
        for job in JOBS:
            assert run_job(job.main, argv) == 0
        tables = (
            recommendations.EVALUATION,
            recommendations.CANDIDATES,
            recommendations.RECOMMENDATIONS,
            engagement.EVALUATION,
            engagement.SCORES,
            profiles.USER_PROFILES,
            profiles.CONTENT_PROFILES,
        )
        found = {
            table.name: sorted(
                (
                    row.asDict(recursive=True)
                    for row in warehouse.read(table).where(F.col("release_id") == release).drop("release_id").collect()
                ),
                key=str,
            )
            for table in tables
        }
        models = releases.produced(warehouse, release)[1]
        for name, frame in (("als/feed", "user_factors"), ("engagement/feed", "trained_on")):
            rows = ModelStore(spark, "", "").load(models[name]).frames[frame].collect()
            found[frame] = sorted((row.asDict() for row in rows), key=str)
        return found

    return make


def people(rows):
    return {row["user_id"] for row in rows}


def pseudonyms(*left_out):
    return {silver_rows.user(person) for person in PEOPLE if person not in left_out}


def test_who_withdraws_leaves_models_lists_scores_and_profile_from_that_day_on_and_nobody_else_does(made):
    earlier, whole = made(AGREED, BEFORE), made(AGREED, AFTER)
    assert made(WITHDRAWN, BEFORE) == earlier
    left = made(WITHDRAWN, AFTER)

    both = (OF_ANALYSIS, OF_LISTS)
    assert people(whole["user_factors"]) == people(whole["engagement_scores"]) == pseudonyms()
    for personal in ("user_factors", "engagement_scores"):
        assert people(left[personal]) == pseudonyms(*both), personal
    for lists in ("recommendation_candidates", "recommendations"):
        assert people(left[lists]) == people(whole[lists]) == pseudonyms()
        assert people([row for row in left[lists] if row["because"]]) == pseudonyms(*both), lists
        assert {row["source"] for row in left[lists] if row["user_id"] in map(silver_rows.user, both)} == {"trending"}
    assert people(left["user_profiles"]) == pseudonyms(OF_ANALYSIS)
    assert people(whole["user_profiles"]) == pseudonyms()
    assert left["user_profiles"] == [
        row for row in whole["user_profiles"] if row["user_id"] != silver_rows.user(OF_ANALYSIS)
    ]

    # Nothing is judged on them either: each has two exposures on each of the two days of the test.
    rows = {
        name: {row["rows"] for row in found["engagement_evaluation"] if row["segment"] == "all"}
        for name, found in (("whole", whole), ("left", left))
    }
    assert rows == {"whole": {len(PEOPLE) * 2 * 2}, "left": {(len(PEOPLE) - len(both)) * 2 * 2}}
    judged = {
        name: {row["users"] for row in found["recommender_evaluation"] if row["segment"] == "all"}
        for name, found in (("whole", whole), ("left", left))
    }
    assert judged == {"whole": {len(PEOPLE)}, "left": {len(PEOPLE) - len(both)}}
    assert left["trained_on"] != whole["trained_on"]

    # What they did while they consented still counts in what is told of contents.
    assert left["content_profiles"] == whole["content_profiles"]
