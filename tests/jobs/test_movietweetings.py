"""The README's example on real data: 100,000 ratings from Twitter, from raw file to published release."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

import build_profiles
import clean_interactions
import find_candidates
import open_release
import publish_release
import recommend
import train_recommender
from salience.job import run_job
from salience.tables import ops, profiles, recommendations, releases, silver

ROOT = Path(__file__).parents[2]
SOURCE = ROOT.parent / "shared" / "data" / "movietweetings"
FIRST, LAST = "2013-02-28", "2013-09-01"
TEST_SHARE = 0.2
RELEVANT_RATING = 7
BASELINES = ("popularity_all_time", "popularity_7d")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not SOURCE.is_dir(), reason=f"MovieTweetings is not at {SOURCE}"),
]


@pytest.fixture(scope="module")
def ratings():
    columns = ["user", "film", "rating", "at"]
    file = SOURCE / "ratings.dat"
    return pd.read_csv(file, sep="::", engine="python", names=columns, dtype={"user": str, "film": str})


@pytest.fixture(scope="module")
def cut(ratings):
    """The time of the first rating of the last fifth, in unix seconds."""
    return int(ratings["at"].sort_values().iloc[int(len(ratings) * (1 - TEST_SHARE))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, ratings, cut):
    """The README's commands, run: the folder with `logs` and `tables`."""
    folder = tmp_path_factory.mktemp("movietweetings")
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (recipe,) = (snippet for snippet in snippets if '"movietweetings"' in snippet)
    exec(compile(recipe, "README.md", "exec"), {"source": SOURCE, "logs": folder / "logs"})

    end = int(datetime(2013, 9, 2, tzinfo=UTC).timestamp())
    chosen = [
        "platforms=[movietweetings]",
        f"logs={folder / 'logs'}",
        f"warehouse={folder / 'tables'}",
        # Everything before the cut is the training part, and everybody gets a profile.
        "recommend.window_days=400",
        "profiles.window_days=400",
        "recommend.als.regularisations=[0.3, 1]",
        f"recommend.evaluation_days={(end - cut) / 86_400!r}",
    ]
    common = ["--env", "local", *(part for setting in chosen for part in ("--set", setting))]
    day = ["--date", LAST]
    assert run_job(clean_interactions.main, [*common, "--from", FIRST, "--to", LAST]) == 0
    assert run_job(open_release.main, [*common, *day]) == 0
    for job in (build_profiles, train_recommender, find_candidates, recommend):
        assert run_job(job.main, [*common, *day, "--release", f"{LAST}.1"]) == 0
    assert run_job(publish_release.main, [*common, "--release", f"{LAST}.1"], interval=False) == 0
    return folder


@pytest.fixture(scope="module")
def tables(spark, folder):
    from salience.tables.warehouse import Warehouse

    return Warehouse(spark, str(folder / "tables"))


def test_every_rating_of_the_raw_file_is_accepted_once(tables, ratings):
    once = ratings.drop_duplicates(["user", "film", "at"])
    stored = tables.read(silver.INTERACTIONS).select("event_date", "content_id", "rating", "action").toPandas()
    assert set(stored["action"]) == {"rate"}
    assert len(stored) == len(once)
    days = pd.to_datetime(once["at"], unit="s").dt.date
    assert stored.groupby("event_date").size().to_dict() == once.groupby(days).size().to_dict()
    assert stored.groupby("content_id").size().to_dict() == once.groupby("film").size().to_dict()
    assert stored["rating"].sum() == once["rating"].sum()
    counts = tables.read(ops.DELIVERIES).where("dataset = 'interactions'").toPandas()
    assert counts[["emitted", "rejected", "excluded", "accepted"]].sum().to_dict() == {
        "emitted": len(ratings),
        "rejected": 0,
        "excluded": len(ratings) - len(once),
        "accepted": len(once),
    }


def test_every_person_and_film_has_a_profile_and_every_person_ten_new_films(tables, ratings):
    assert tables.read(profiles.USER_PROFILES).count() == ratings["user"].nunique()
    assert tables.read(profiles.CONTENT_PROFILES).count() == ratings["film"].nunique()
    shown = tables.read(recommendations.RECOMMENDATIONS).toPandas()
    missing = tables.read(recommendations.SHORTFALLS).toPandas()
    assert len(shown) + missing["missing"].sum() == 10 * ratings["user"].nunique()
    assert not shown.duplicated(["user_id", "content_id"]).any()
    seen = tables.read(silver.INTERACTIONS).select("user_id", "content_id").distinct().toPandas()
    assert shown.merge(seen, on=["user_id", "content_id"]).empty
    assert set(releases.newest(tables).tables) >= {"gold.recommendations", "gold.user_profiles"}


def test_the_evaluation_judges_the_people_and_films_of_the_raw_file(tables, ratings, cut):
    train, test = ratings[ratings["at"] < cut], ratings[ratings["at"] >= cut]
    relevant = test[test["rating"] >= RELEVANT_RATING].merge(train, on=["user", "film"], how="left", indicator=True)
    new = relevant[relevant["_merge"] == "left_only"]
    # A rating of 0 gives no weight, so it makes nobody known.
    known = set(train.loc[train["rating"] > 0, "user"])
    judged = known & set(new["user"])
    found = tables.read(recommendations.EVALUATION).where("metric = 'ndcg'").toPandas().set_index("model")
    assert set(found["users"]) == {len(judged)}
    for model in ("als", *BASELINES):
        row = found.loc[model]
        print(f"{model}: ndcg {row['value']:.4f} ({row['ci_low']:.4f} to {row['ci_high']:.4f}), {row['users']} users")
        assert row["ci_low"] < row["value"] < row["ci_high"]
    for baseline in BASELINES:
        row = found.loc[f"als - {baseline}"]
        print(f"als - {baseline}: {row['value']:+.4f} ({row['ci_low']:+.4f} to {row['ci_high']:+.4f})")
        assert row["value"] == pytest.approx(found.loc["als", "value"] - found.loc[baseline, "value"], abs=1e-9)
        assert row["ci_low"] < row["value"] < row["ci_high"]
    print("chosen:", json.loads(found.loc["als", "settings"]))
