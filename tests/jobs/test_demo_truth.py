"""What `make demo` publishes, against what its simulator planted; the tables are read without our own code."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from deltalake import DeltaTable
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from tests import popularity
from tests.conftest import CONF

import run_all
from salience.job import run_job
from salience.simulate import exposures as planted

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.trial, pytest.mark.timeout(1800)]

AS_OF = date(2026, 11, 14)
END = pd.Timestamp("2026-11-15", tz="UTC")
"""The first instant after the last simulated day."""
PLATFORMS = ["feed", "video"]
HALF_LIVES = {"popularity_all_time": None} | {f"popularity_{days}d": days for days in (3, 7, 14, 30)}
PERSON = ["platform", "user_id"]
PAIR = [*PERSON, "content_id"]
SETTINGS = yaml.safe_load((CONF / "base.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Demo:
    root: Path

    def table(self, name: str) -> pd.DataFrame:
        """Return a table, of a snapshot the rows in force."""
        folder = self.root / "warehouse" / name.replace(".", "/")
        in_force = self._all("ops.releases").sort_values("release_seq").iloc[-1]
        release = dict(in_force["tables"]).get(name)
        return DeltaTable(folder).to_pandas(filters=[("release_id", "=", release)] if release else None)

    def _all(self, name: str) -> pd.DataFrame:
        return DeltaTable(self.root / "warehouse" / name.replace(".", "/")).to_pandas()

    def truth(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.root / "truth" / name)


@pytest.fixture(scope="module")
def demo(spark, tmp_path_factory):
    """The demo as the Makefile starts it, only in other folders."""
    root = tmp_path_factory.mktemp("demo")
    argv = ["--env", "local", "--date", AS_OF.isoformat(), "--simulate"]
    for key, folder in {"logs": "logs", "warehouse": "warehouse", "simulate.truth": "truth"}.items():
        argv += ["--set", f"{key}={root / folder}"]
    assert run_job(run_all.main, argv, extra=run_all.extra) == 0
    return Demo(root)


@pytest.fixture(scope="module")
def interactions(demo):
    return demo.table("silver.interactions")


@pytest.fixture(scope="module")
def consenting(demo):
    """Return a function: rows of people -> those of people who refuse neither analysis nor personalisation."""
    newest = demo.table("silver.users").sort_values("valid_from").groupby(PERSON).tail(1)
    refuses = newest["consent_analysis"].eq(False) | newest["consent_personalised"].eq(False)
    refusing = newest.loc[refuses, PERSON]
    assert 0 < len(refusing) < len(newest)

    def rows_of_others(rows):
        known = rows.merge(refusing, on=PERSON, how="left", indicator="refuses")
        return known[known["refuses"] == "left_only"].drop(columns="refuses")

    return rows_of_others


@pytest.fixture(scope="module")
def seen(interactions):
    """Every pair of a person and a content that have met."""
    return interactions.dropna(subset="content_id")[PAIR].drop_duplicates()


@pytest.fixture(scope="module")
def shown(demo, interactions):
    """The accepted impressions with what was planted in them."""
    impressions = interactions.loc[interactions["action"] == "impression", [*PAIR, "event_id", "event_time"]]
    both = impressions.merge(demo.truth("exposures"), on=["platform", "event_id"], suffixes=("", "_planted"))
    assert len(both) == len(impressions)
    assert (both["content_id"] == both["content_id_planted"]).all()
    return both


@pytest.fixture(scope="module")
def p_if_shown(demo, shown):
    """Return a function: pairs -> the planted probability that they engage if the content comes first in a session.

    The pseudonyms are learnt from the impressions, so pairs of people without any leave.
    """
    pseudonyms = shown[[*PERSON, "raw_user_id"]].drop_duplicates()
    assert not pseudonyms.duplicated(PERSON).any()
    people = demo.truth("users").merge(pseudonyms, on=["platform", "raw_user_id"], validate="one_to_one")
    contents = demo.truth("contents")

    def affinity(topics, interests):
        weights = {interest["topic"]: interest["weight"] for interest in interests}
        first, *second = (weights.get(topic, 0.0) for topic in topics)
        return max([first, *(planted.SECOND_TOPIC_AFFINITY * weight for weight in second)])

    def probabilities(pairs):
        known = pairs.merge(people, on=PERSON, validate="many_to_one")
        known = known.merge(
            contents, on=["platform", "content_id"], suffixes=("", "_of_content"), validate="many_to_one"
        )
        log_odds = (
            planted.INTERCEPT
            + planted.AFFINITY * np.array([*map(affinity, known["topics"], known["interests"])])
            + planted.QUALITY * known["quality"]
            + planted.STYLE * (np.stack(known["style"]) * np.stack(known["style_of_content"])).sum(axis=1)
            + planted.PROPENSITY * known["propensity"]
        )
        return known[pairs.columns].assign(p=1 / (1 + np.exp(-log_odds)))

    return probabilities


def of(platform, frame):
    return frame[frame["platform"] == platform]


def first(rows, *order):
    """Return each person's first ten rows by these columns, the largest first, ties by content_id."""
    ordered = rows.sort_values([*order, "content_id"], ascending=[*(False for _ in order), True])
    return ordered.groupby("user_id").head(10)


def test_the_planted_probability_of_any_pair_is_that_of_the_simulator(shown, p_if_shown):
    again = p_if_shown(shown[[*PAIR, "p_engage"]])
    odds = [np.log(p / (1 - p)) for p in (again["p_engage"], again["p"])]
    places = (odds[0] - odds[1]) / planted.SLOT
    assert len(again) == len(shown)
    assert set(places.round(9).abs()) == set(range(planted.SESSION_LENGTH))


def test_every_emitted_event_is_rejected_excluded_or_accepted_as_planted(demo):
    ledger = demo.table("ops.deliveries")
    ledger = ledger[ledger["dataset"] == "interactions"]
    columns = ["emitted", "rejected", "excluded", "accepted"]
    found = ledger.groupby("platform")[columns].sum().astype(int)
    files = (demo.root / "truth" / "dirt").glob("*.json")
    dirt = pd.concat([pd.read_json(file, lines=True) for file in files]).rename(
        columns={"excluded_duplicate": "excluded"}
    )
    assert found.to_dict("index") == dirt.groupby("platform")[columns].sum().to_dict("index")
    assert (found["emitted"] == found["rejected"] + found["excluded"] + found["accepted"]).all()
    tables = ("bronze.events", "silver.rejected_events", "silver.excluded_events", "silver.interactions")
    for column, name in zip(columns, tables, strict=True):
        assert demo.table(name).groupby("platform").size().to_dict() == found[column].to_dict(), name


@pytest.mark.parametrize("platform", PLATFORMS)
def test_als_ranks_better_than_every_popularity_beyond_chance(demo, platform):
    rows = of(platform, demo.table("gold.recommender_evaluation"))
    ndcg = rows[(rows["metric"] == "ndcg") & (rows["k"] == 10) & (rows["segment"] == "all")].set_index("model")
    for baseline in HALF_LIVES:
        better = ndcg.loc[f"als - {baseline}"]
        print(f"{platform} als - {baseline}: {better['value']:+.4f} from {better['ci_low']:+.4f}")
        assert better["ci_low"] > 0


@pytest.mark.parametrize("platform", PLATFORMS)
def test_popularity_ranks_as_well_as_pandas_finds(demo, interactions, consenting, platform):
    settings = SETTINGS["recommend"]
    cut = END - pd.Timedelta(days=settings["evaluation_days"])
    rows = consenting(of(platform, interactions)).dropna(subset="content_id")
    rows = rows.rename(columns={"content_id": "content", "event_time": "at"})
    rows["weight"] = rows["action"].map(settings["action_weights"]).fillna(0.0)
    past, later = rows[rows["at"] < cut], rows[rows["at"] >= cut]

    faded = past["weight"] * 0.5 ** ((cut - past["at"]) / pd.Timedelta(days=settings["half_life_days"]))
    preferences = faded.groupby([past["user_id"], past["content"]]).sum()
    known = set(preferences[preferences > 0].index.get_level_values("user_id"))
    met = past.groupby("user_id")["content"].agg(set).to_dict()
    wanted = later[later["action"].isin(settings["relevant_actions"])].groupby("user_id")["content"].agg(set)
    relevant = {person: found - met[person] for person, found in wanted.items() if person in known}
    relevant = {person: found for person, found in relevant.items() if found}

    told = of(platform, demo.table("gold.recommender_evaluation"))
    ndcg = told[(told["metric"] == "ndcg") & (told["segment"] == "all")].set_index("model")
    for model, half_life in HALF_LIVES.items():
        expected = popularity.mean_ndcg(popularity.scores(past, cut, half_life), met, relevant, 10)
        assert ndcg.loc[model, "users"] == len(relevant)
        assert ndcg.loc[model, "value"] == pytest.approx(expected, abs=1e-9), model


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_engagement_model_tells_more_than_chance_and_no_more_than_what_was_planted(
    demo, interactions, consenting, shown, platform
):
    settings = SETTINGS["engagement"]
    window = pd.Timedelta(hours=settings["label_hours"])
    exposed = consenting(of(platform, shown)).sort_values("event_time")
    actions = of(platform, interactions)
    actions = actions[actions["action"].isin(settings["positive_actions"])].dropna(subset="content_id")
    # An action credits the last exposure before it.
    actions = actions[[*PAIR, "event_time"]].sort_values("event_time").rename(columns={"event_time": "acted_at"})
    credited = pd.merge_asof(actions, exposed, left_on="acted_at", right_on="event_time", by=PAIR)
    engaged = credited.loc[credited["acted_at"] - credited["event_time"] < window, "event_id"]
    start = END - window - pd.Timedelta(days=settings["test_days"])
    tested = exposed[(exposed["event_time"] >= start) & (exposed["event_time"] < END - window)]
    label = tested["event_id"].isin(engaged)

    rows = of(platform, demo.table("gold.engagement_evaluation"))
    (auc,) = rows.query("model == 'logistic' and metric == 'roc_auc' and segment == 'all'").to_dict("records")
    assert (auc["rows"], auc["positives"]) == (len(tested), label.sum())
    most = roc_auc_score(label, tested["p_engage"])
    print(f"{platform} AUC {auc['value']:.4f} of {most:.4f}, {auc['rows']} exposures, {auc['positives']} engaged")
    assert 0.65 < auc["value"] < most


@pytest.mark.parametrize("platform", PLATFORMS)
def test_candidates_are_scored_in_the_order_of_their_planted_probabilities(demo, p_if_shown, platform):
    scored = p_if_shown(of(platform, demo.table("gold.engagement_scores")))
    found = spearmanr(scored["p_engage_24h"], scored["p"]).statistic
    print(f"{platform} rank correlation {found:.4f}, {len(scored)} candidates")
    assert found > 0.3


@pytest.mark.parametrize("platform", PLATFORMS)
def test_lists_engage_more_by_the_engagement_model_than_by_als_and_than_what_is_popular(
    demo, interactions, seen, shown, p_if_shown, platform
):
    scores = of(platform, demo.table("gold.engagement_scores"))
    proposed = of(platform, demo.table("gold.recommendation_candidates")).query("source == 'als'")
    # Of people without an impression no pseudonym is known.
    people = set(proposed["user_id"]) & set(scores["user_id"]) & set(of(platform, shown)["user_id"])
    liked = of(platform, interactions)
    liked = liked[liked["action"].isin(SETTINGS["recommend"]["relevant_actions"])]["content_id"].value_counts()
    catalogue = of(platform, demo.truth("contents"))["content_id"]
    pairs = pd.MultiIndex.from_product([[platform], people, catalogue], names=PAIR).to_frame(index=False)
    new = pairs.merge(seen, on=PAIR, how="left", indicator=True).query("_merge == 'left_only'")[PAIR]
    new = new.assign(popular=new["content_id"].map(liked).fillna(0))

    lists = {
        "published": of(platform, demo.table("gold.recommendations")).query("user_id in @people"),
        "als": first(proposed.query("user_id in @people"), "score"),
        "popular": first(new, "popular"),
        "anything": new,
    }
    means = {name: p_if_shown(rows[PAIR]).groupby("user_id")["p"].mean() for name, rows in lists.items()}
    mean = {name: values.mean() for name, values in means.items()}
    print(platform, len(people), "people:", {name: f"{value:.4f}" for name, value in mean.items()})
    for better, worse, times in (("published", "als", 1), ("als", "popular", 1.5), ("als", "anything", 2)):
        gain = means[better] - means[worse]
        error = gain.std() / np.sqrt(len(gain))
        print(f"{platform} {better} - {worse}: {gain.mean():+.4f}, standard error {error:.4f}")
        assert len(gain) == gain.count() == len(people)
        assert gain.mean() > 4 * error, (better, worse)
        assert mean[better] > times * mean[worse], (better, worse)


def test_who_refuses_is_scored_by_no_model_and_gets_what_is_popular(demo, consenting):
    assert len(consenting(scores := demo.table("gold.engagement_scores"))) == len(scores) > 0
    personal = demo.table("gold.recommendations").query("source == 'als' or because.notna()")
    assert len(consenting(personal)) == len(personal) > 0


def test_everybody_has_ten_new_contents_or_a_recorded_shortfall(demo, seen):
    lists = demo.table("gold.recommendations")
    assert lists.merge(seen, on=PAIR).empty
    assert not lists.duplicated(PAIR).any()
    lengths = lists.groupby(PERSON)["rank"].agg(
        lambda ranks: len(ranks) if set(ranks) == {*range(1, len(ranks) + 1)} else -1
    )
    missing = demo.table("gold.recommendation_shortfalls").set_index(PERSON)["missing"]
    people = demo.table("silver.users").groupby(PERSON).size().index
    total = lengths.reindex(people, fill_value=0) + missing.reindex(people, fill_value=0)
    assert set(total) == {10}
    size = yaml.safe_load((CONF / "local.yaml").read_text(encoding="utf-8"))["simulate"]["users"]
    assert people.to_frame(index=False).groupby("platform").size().to_dict() == dict.fromkeys(PLATFORMS, size)
