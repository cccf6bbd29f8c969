"""The README's example on real data: 100,000 ratings from Twitter, from raw file to published release."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from tests import popularity

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
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCE = ROOT.parent / "shared" / "data" / "movietweetings"
FIRST, LAST = "2013-02-28", "2013-09-01"
TEST_SHARE = 0.2
RELEVANT_RATING = 7
HALF_LIVES = {"popularity_all_time": None, "popularity_7d": 7}
BASELINES = tuple(HALF_LIVES)
IN_README = {
    "ALS": "als",
    "popularity, all time": "popularity_all_time",
    "popularity, half-life 7 days": "popularity_7d",
}
ALS_BAND = 0.004
"""ALS differs from machine to machine in the last digits of its factors; so much nDCG it may differ from the README."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.trial,
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
    snippets = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
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


@pytest.fixture(scope="module")
def judged(ratings, cut):
    """What each person that can be judged had rated before the cut, and what they should find: two dicts of sets."""
    train, test = ratings[ratings["at"] < cut], ratings[ratings["at"] >= cut]
    relevant = test[test["rating"] >= RELEVANT_RATING].merge(train, on=["user", "film"], how="left", indicator=True)
    new = relevant[relevant["_merge"] == "left_only"].groupby("user")["film"].agg(set)
    # A rating of 0 gives no weight, so it makes nobody known.
    known = set(train.loc[train["rating"] > 0, "user"])
    return train.groupby("user")["film"].agg(set).to_dict(), new[new.index.isin(known)].to_dict()


@pytest.fixture(scope="module")
def found(tables):
    """The rows about nDCG by model."""
    found = (
        tables.read(recommendations.EVALUATION)
        .where("metric = 'ndcg' AND segment = 'all'")
        .toPandas()
        .set_index("model")
    )
    for model, row in found.iterrows():
        print(f"{model}: {row['value']:+.5f} ({row['ci_low']:+.5f} to {row['ci_high']:+.5f}), {row['users']} users")
    print("chosen:", json.loads(found.loc["als", "settings"]))
    return found


@pytest.fixture(scope="module")
def told():
    """The README's table: (value, low, high) by model, differences included."""
    number = r"([+-]?\.\d{3})"
    interval = rf"{number} \({number} to {number}\)"
    told = {}
    for name, *figures in re.findall(rf"^\| ([^|]+) \| {interval} \| (?:{interval} )?\|$", README, re.MULTILINE):
        value, difference = figures[:3], figures[3:]
        told[IN_README[name]] = tuple(map(float, value))
        if any(difference):
            told[f"als - {IN_README[name]}"] = tuple(map(float, difference))
    return told


def test_the_evaluation_judges_the_people_and_films_of_the_raw_file(found, judged):
    _, relevant = judged
    assert set(found["users"]) == {len(relevant)}
    assert f"{len(relevant):,} people with a film to find" in README
    assert (found["ci_low"] < found["value"]).all() and (found["value"] < found["ci_high"]).all()
    for baseline in BASELINES:
        difference = found.loc["als", "value"] - found.loc[baseline, "value"]
        assert found.loc[f"als - {baseline}", "value"] == pytest.approx(difference, abs=1e-9)


def test_popularity_ranks_as_well_as_pandas_finds(found, judged, ratings, cut):
    seen, relevant = judged
    once = ratings[ratings["at"] < cut].drop_duplicates(["user", "film", "at"])
    past = pd.DataFrame(
        {
            "content": once["film"],
            "weight": 3 * once["rating"] / 10,
            "at": pd.to_datetime(once["at"], unit="s"),
        }
    )
    for model, half_life in HALF_LIVES.items():
        scores = popularity.scores(past, pd.Timestamp(cut, unit="s"), half_life)
        assert found.loc[model, "value"] == pytest.approx(popularity.mean_ndcg(scores, seen, relevant, 10), abs=1e-9)


def test_the_readme_tells_what_was_measured(found, told):
    assert told.keys() == {"als", *BASELINES, *(f"als - {baseline}" for baseline in BASELINES)}
    for model, figures in told.items():
        measured = found.loc[model, ["value", "ci_low", "ci_high"]].astype(float)
        if model in BASELINES:
            assert tuple(measured.round(3)) == figures
        else:
            assert tuple(measured) == pytest.approx(figures, abs=ALS_BAND)
    # The README's conclusion: ALS ranks better than what was ever popular, and worse than what is popular this week.
    assert found.loc["als - popularity_all_time", "ci_low"] > 0 > found.loc["als - popularity_7d", "ci_high"]
