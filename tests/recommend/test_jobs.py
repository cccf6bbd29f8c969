"""From silver tables to recommendations by the three jobs."""

from datetime import date

import pytest
from pyspark.sql import functions as F

import find_candidates
import learn_confidence
import publish_release
import recommend
import train_recommender
from salience.job import run_job
from salience.models.store import ModelStore
from salience.tables import publishing, recommendations, releases, silver
from tests import silver_rows
from tests.recommend.rows import AS_OF

pytestmark = pytest.mark.integration

PEOPLE = [f"{taste}{n}" for taste in "ab" for n in range(6)]


def liked(person, content, day):
    return {"user": person, "content_id": content, "action": "like", "at": f"{day} 10:00"}


PAST = [
    *[liked(p, f"{p[0]}{n}", 1 + n) for p in PEOPLE for n in range(6) if n != int(p[1])],
    *[liked(p, f"{p[0]}{p[1]}", 8 if int(p[1]) % 2 else 10) for p in PEOPLE],
    *[liked("a0", f"x{n}", 3) for n in range(8)],
    {"user": "b0", "content_id": "a1", "at": "4 10:00"},
]
FUTURE = [liked(p, "late", 11) for p in PEOPLE] + [liked("late comer", "a1", 11)]


@pytest.fixture
def fill(spark, warehouse):
    def write(events):
        frame = silver_rows.interactions(spark, events)
        days = [r[0] for r in frame.select("event_date").distinct().collect()]
        warehouse.replace(silver.INTERACTIONS, frame, {"event_date": days, "platform": ["feed"]})

    people = [{"user": p, "attributes": {"region": p[0]}, "valid_from": "1 00:00"} for p in [*PEOPLE, "newcomer"]]
    warehouse.replace(silver.USERS, silver_rows.users(spark, people), {"platform": ["feed"]})
    names = [f"{letter}{n}" for letter in "ab" for n in range(6)] + ["untouched"]
    known = silver_rows.contents(spark, {name: ["t"] for name in names})
    warehouse.replace(silver.CONTENTS, known, {"platform": ["feed"]})
    return write


@pytest.fixture
def run(settings, warehouse):
    def jobs(*more):
        release = publishing.open_release(warehouse, AS_OF, 3)
        argv = ["--env", "local", "--date", AS_OF.isoformat(), "--release", release]
        small = ("platforms=[feed]", "recommend.k=3", "recommend.candidates=5", "recommend.evaluation_days=3")
        quick = ("recommend.als.rank=4", "recommend.als.iterations=3", "recommend.bootstrap_replicates=100")
        few = ("recommend.compared=[]", "recommend.popularity_half_lives_days=[7]")
        for setting in (f"warehouse={settings.warehouse}", *small, *quick, *few, *more):
            argv += ["--set", setting]
        for job in (train_recommender, find_candidates, recommend):
            assert run_job(job.main, argv) == 0
        return {
            table.name: sorted(
                warehouse.read(table).where(F.col("release_id") == release).drop("release_id").collect(), key=str
            )
            for table in (
                recommendations.EVALUATION,
                recommendations.CANDIDATES,
                recommendations.RECOMMENDATIONS,
                recommendations.SHORTFALLS,
            )
        }

    return jobs


@pytest.mark.slow
@pytest.mark.parametrize("future", [[], pytest.param(FUTURE, marks=pytest.mark.trial)], ids=["then", "and later"])
def test_everyone_gets_k_new_contents_or_is_told_why_not_whatever_the_future_brings(run, fill, settings, future):
    fill(PAST)
    made = run("recommend.holdout.share=0.5")
    seen = {(silver_rows.user(e["user"]), e["content_id"]) for e in PAST}
    lists = {}
    for row in made["recommendations"]:
        lists.setdefault(row["user_id"], []).append(row["content_id"])
        assert (row["user_id"], row["content_id"]) not in seen
    missing = {row["user_id"]: row["missing"] for row in made["recommendation_shortfalls"]}
    served = {silver_rows.user(p) for p in [*PEOPLE, "newcomer"]}
    assert lists.keys() | missing.keys() == served
    for person in served:
        assert len(set(lists.get(person, []))) == 3 - missing.get(person, 0)
    by_arm = {}
    for row in made["recommendations"]:
        by_arm.setdefault(row["arm"], set()).add(row["source"])
        assert row["user_id"] != silver_rows.user("newcomer") or row["source"] in ("trending", "explore")
        assert (row["source"] == "explore") == (row["propensity"] < 1)
    assert by_arm["held_out"] == {"trending"}
    assert {"blend", "explore"} <= by_arm["personalised"] <= {*settings.recommend.ladder, "explore"}
    # a0 saw all of a and x and has b and `untouched` left, 7 contents; nobody has fewer than 3.
    assert missing == {}
    assert {row["model"] for row in made["recommender_evaluation"]} >= {"als", "popularity_all_time"}
    assert {row["segment"] for row in made["recommender_evaluation"]} == {
        "all",
        "history=5 to 19",
        "region=a",
        "region=b",
    }

    if future:
        fill(PAST + future)
        assert run("recommend.holdout.share=0.5") == made


def test_a_catalogue_that_a_person_has_exhausted_or_that_is_blocked_gives_shortfalls(
    run, fill, settings, warehouse, capsys
):
    fill(PAST[:2] + [liked("a0", c, 4) for c in (f"{letter}{n}" for letter in "ab" for n in range(6))])
    made = run()
    (row,) = (row for row in made["recommendation_shortfalls"] if row["user_id"] == silver_rows.user("a0"))
    assert (row["missing"], row["reason"]) == (2, "catalogue_exhausted")
    assert made["recommender_evaluation"] == []

    # With all contents blocked, everyone is told so, and no such release takes the place of another.
    release = publishing.open_release(warehouse, AS_OF, 3)
    argv = ["--env", "local", "--set", f"warehouse={settings.warehouse}", "--release", release]
    blocked = ["--set", "platforms=[feed]", "--set", "recommend.blocked_tags=[t]", "--date", AS_OF.isoformat()]
    assert [run_job(job.main, argv + blocked) for job in (find_candidates, recommend)] == [0, 0]
    told = warehouse.read(recommendations.SHORTFALLS).where(F.col("release_id") == release).collect()
    everyone = {silver_rows.user(person) for person in [*PEOPLE, "newcomer"]}
    assert {(r["user_id"], r["missing"], r["reason"]) for r in told} == {(u, 10, "nothing_available") for u in everyone}
    assert run_job(publish_release.main, argv, interval=False) == 3
    assert "gold.recommendations: is empty" in capsys.readouterr().err


def test_a_platform_on_which_nothing_weighs_gets_what_is_popular_and_stops_no_other(run, fill, capsys):
    fill([{"user": p, "content_id": f"{p[0]}0", "at": "4 10:00"} for p in PEOPLE])
    made = run()
    told = capsys.readouterr().out
    assert "feed: no new recommender: there is no interaction with a positive weight to train on" in told
    assert "feed: model als/feed: release 2026-11-10.1 has none yet" in told
    assert "feed: blend proposes nothing: there is no model als, similarity" in told
    assert {row["source"] for row in made["recommendations"]} == {"trending", "explore"}
    assert {row["user_id"] for row in made["recommendations"]} == {silver_rows.user(p) for p in [*PEOPLE, "newcomer"]}
    assert made["recommender_evaluation"] == []


def test_as_of_earlier_days_the_model_is_the_one_that_those_days_would_have_given(fill, settings, warehouse, capsys):
    def train(day, *more):
        release = publishing.open_release(warehouse, day, 3)
        argv = ["--env", "local", "--date", day.isoformat(), "--release", release, "--set", "platforms=[feed]"]
        quick = ("als.rank=4", "als.iterations=3", "als.regularisations=[0.3]", "bootstrap_replicates=100")
        for setting in (f"warehouse={settings.warehouse}", *(f"recommend.{one}" for one in quick)):
            argv += ["--set", setting]
        assert run_job(train_recommender.main, [*argv, *more], extra=train_recommender.extra) == 0
        return releases.produced(warehouse, release)[1]

    def factors(saved):
        loaded = ModelStore(warehouse.spark, f"{warehouse.root}/models", "test").load(saved)
        return loaded.manifest["cut"], {name: sorted(map(tuple, f.collect())) for name, f in loaded.frames.items()}

    fill(PAST)
    made = train(AS_OF, "--as-of", "2026-10-20,2026-11-04,2026-11-06,2026-11-04")
    assert made.keys() == {"als/feed", "similarity/feed", "als-2026-11-04/feed", "als-2026-11-06/feed"}
    assert "nothing was fitted as of 2026-10-20: there is no interaction" in capsys.readouterr().out
    fill([event for event in PAST if int(event["at"].split()[0]) <= 6])
    then = train(date(2026, 11, 6))
    assert factors(made["als-2026-11-06/feed"]) == factors(then["als/feed"])
    assert factors(made["als-2026-11-04/feed"]) != factors(then["als/feed"])


@pytest.mark.parametrize("day", [AS_OF, "2026-11-11"])
def test_an_as_of_day_that_is_not_earlier_is_refused_before_anything_is_read(settings, capsys, day):
    argv = ["--env", "local", "--date", AS_OF.isoformat(), "--set", f"warehouse={settings.warehouse}"]
    assert run_job(train_recommender.main, [*argv, "--as-of", f"2026-11-01,{day}"], extra=train_recommender.extra) == 2
    told = f"train_recommender: {day} is not before the interval's last day, {AS_OF}: name earlier days"
    assert told in capsys.readouterr().err


def test_lists_are_made_of_the_releases_own_candidates_which_folding_in_finds_without_training(
    run, fill, settings, warehouse, spark, capsys
):
    events = [liked(p, f"{p[0]}{n}", 1 + n) for p in PEOPLE for n in range(4) if n != int(p[1])]
    fill(events)
    run("recommend.ladder={als: 1, trending: 1}")
    publishing.publish(warehouse, f"{AS_OF}.1", 3)
    day = date(2026, 11, 11)
    release = publishing.open_release(warehouse, day, 3)
    argv = ["--env", "local", "--date", day.isoformat(), "--release", release]
    for setting in ("platforms=[feed]", "recommend.k=3", "recommend.candidates=6", f"warehouse={settings.warehouse}"):
        argv += ["--set", setting]
    argv += ["--set", "recommend.ladder={als: 1, trending: 1}"]
    assert run_job(recommend.main, argv, extra=recommend.extra) == 2
    told = f"gold.recommendation_candidates: release {release} has no rows yet; run jobs/find_candidates.py --release"
    assert told in capsys.readouterr().err

    fill([*events, liked("newcomer", "b1", 11)])
    assert run_job(recommend.main, [*argv, "--fold-in"], extra=recommend.extra) == 0
    lists = warehouse.read(recommendations.RECOMMENDATIONS).where(F.col("release_id") == release).collect()
    mine = {row["content_id"]: row for row in lists if row["user_id"] == silver_rows.user("newcomer")}
    personal = [row for row in mine.values() if row["source"] == "als"]
    assert len(mine) == 3 and "b1" not in mine
    assert {row["because"][0]["content_id"] for row in personal} == {"b1"}
    assert personal[0]["reason"] == "Because of what you did with b1"
    assert releases.produced(warehouse, release)[1] == {}, "a model was trained"


@pytest.mark.slow
@pytest.mark.trial
def test_learning_confidence_writes_what_each_change_is_worth_and_tells_what_to_set(
    fill, settings, warehouse, spark, capsys
):
    fill(PAST)
    release = publishing.open_release(warehouse, AS_OF, 3)
    argv = ["--env", "local", "--date", AS_OF.isoformat(), "--release", release]
    few = ("half_lives_days=[3]", "watch_time_weights=[]", "factors=[]", "rounds=1", "windows=1")
    quick = (
        "als.rank=4",
        "als.iterations=3",
        "bootstrap_replicates=100",
        "evaluation_days=1.5",
        "action_weights={like: 2}",
    )
    for setting in (*quick, *(f"confidence.{one}" for one in few)):
        argv += ["--set", f"recommend.{setting}"]
    argv += ["--set", f"warehouse={settings.warehouse}", "--set", "platforms=[feed, video]"]
    assert run_job(learn_confidence.main, argv) == 0
    rows = {(r["step"], r["variant"]): r for r in warehouse.read(recommendations.ABLATION).collect()}
    assert rows.keys() == {
        (1, "as it is"),
        (1, "without like"),
        (1, "half-life 3 days"),
        (0, "as it is"),
        (0, "learned"),
    }
    # Without likes there is nothing to learn from, so nothing is found.
    assert rows[1, "without like"]["value"] == 0.0 < rows[1, "as it is"]["value"]
    assert {row["platform"] for row in rows.values()} == {"feed"}
    told = capsys.readouterr().out
    assert "video: nothing was learned: nobody can be judged between 2026-11-08 and 2026-11-09" in told
    assert "feed: " in told
