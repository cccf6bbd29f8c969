"""From silver tables to scored candidates by the jobs."""

import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import functions as F

import build_profiles
import score_engagement
import train_engagement
from salience.job import run_job
from salience.models.store import ModelStore
from salience.tables import engagement, ops, recommendations, releases, silver
from tests import silver_rows

pytestmark = pytest.mark.integration

AS_OF = date(2026, 11, 10)
EAGER, SHY = [f"e{n}" for n in range(6)], [f"s{n}" for n in range(6)]
REFUSING, OUT = "refuses", "held out"
"""Who is not scored: who did not refuse when candidates were found, but does now; and who is held out."""
CANDIDATES = [(name, content) for name in (*EAGER, *SHY, "newcomer", REFUSING, OUT) for content in ("c0", "c9")]

WILLING = [(name, content) for name, content in CANDIDATES if name not in (REFUSING, OUT)]


def shown(name, content, at, *, engages):
    rows = [{"user": name, "content_id": content, "at": at}]
    return [*rows, {**rows[0], "action": "like"}] if engages else rows


def log():
    """Return ten days in which the eager engage with four of five contents and the shy with one of ten."""
    draw = np.random.default_rng(42)
    rows = []
    for name in (*EAGER, *SHY):
        for day in range(1, 11):
            for content in range(4):
                engages = bool(draw.random() < (0.8 if name in EAGER else 0.1))
                rows += shown(name, f"c{content}", f"{day} {8 + content * 3:02d}:00", engages=engages)
    return rows


FUTURE = [row for name in SHY for row in shown(name, "c0", "11 00:00", engages=True)]


def fill(spark, warehouse, events):
    frame = silver_rows.interactions(spark, events)
    days = [row[0] for row in frame.select("event_date").distinct().collect()]
    warehouse.replace(silver.INTERACTIONS, frame, {"event_date": days, "platform": ["feed"]})
    tags = {f"c{n}": ["art"] for n in range(10)}
    warehouse.replace(silver.CONTENTS, silver_rows.contents(spark, tags), {"platform": ["feed"]})
    refusing = {"user": REFUSING, "attributes": {}, "valid_from": "1 00:00", "consent_personalised": False}
    warehouse.replace(silver.USERS, silver_rows.users(spark, [refusing]), {"platform": ["feed"]})


def find_candidates(job):
    """Write the candidates in place of the job of that name, which needs a recommender."""
    arms = {name: "held_out" if name == OUT else "personalised" for name, _ in CANDIDATES}
    rows = [
        ("feed", silver_rows.user(name), arms[name], place, content, 1.0, "als", None)
        for place, (name, content) in enumerate(CANDIDATES, 1)
    ]
    schema = recommendations.CANDIDATES.schema
    frame = job.spark.createDataFrame([(job.release, *row) for row in rows], schema).drop("release_id")
    job.write_snapshot(recommendations.CANDIDATES, frame)


@pytest.fixture
def run(settings, warehouse):
    """Return the exit code of a job for a release."""

    def job(main, release, *more):
        argv = ["--env", "local", "--date", AS_OF.isoformat(), "--release", release]
        small = ("platforms=[feed]", "engagement.window_days=10", "engagement.bootstrap_replicates=100")
        for setting in (f"warehouse={settings.warehouse}", *small, *more):
            argv += ["--set", setting]
        return run_job(main, argv)

    return job


@pytest.fixture
def open_release(warehouse):
    return lambda: releases.open_release(warehouse, AS_OF, 3)


def rows_of(warehouse, table, release):
    rows = warehouse.read(table).where(F.col("release_id") == release).drop("release_id").collect()
    return sorted((row.asDict() for row in rows), key=str)


@pytest.mark.slow
@pytest.mark.parametrize("future", [[], pytest.param(FUTURE, marks=pytest.mark.trial)], ids=["then", "and later"])
def test_every_candidate_is_scored_by_what_was_known_then_whatever_the_future_brings(
    spark, warehouse, run, open_release, future
):
    release = open_release()

    def made_by(*jobs):
        for main in jobs:
            assert run(main, release) == 0
        (saved,) = releases.produced(warehouse, release)[1].values()
        model = ModelStore(spark, "", "").load(saved)
        coefficients = sorted(map(tuple, model.frames["coefficients"].collect()))
        tables = (rows_of(warehouse, table, release) for table in (engagement.EVALUATION, engagement.SCORES))
        return *tables, coefficients, model.manifest["protocol"]

    fill(spark, warehouse, log())
    made = made_by(build_profiles.main, find_candidates, train_engagement.main, score_engagement.main)
    evaluation, scores, _, protocol = made
    value = {(row["model"], row["metric"]): row["value"] for row in evaluation}
    assert set(value) == {(m, metric) for m in ("logistic", "base_rate") for metric in ("roc_auc", "log_loss", "brier")}
    # Three days before the last one are the test: 12 people with 4 exposures each.
    assert {row["rows"] for row in evaluation} == {3 * 12 * 4}
    assert value["logistic", "roc_auc"] > 0.8 > value["base_rate", "roc_auc"] == 0.5
    assert value["logistic", "log_loss"] < value["base_rate", "log_loss"] - 0.1
    assert "test [2026-11-07T00:00Z, 2026-11-10T00:00Z)" in protocol

    p = {(row["user_id"].rstrip("0"), row["content_id"]): row["p_engage_24h"] for row in scores}
    assert p.keys() == {(silver_rows.user(name).rstrip("0"), content) for name, content in WILLING}
    assert {(row["platform"], row["model"]) for row in scores} == {("feed", "logistic")}
    assert all(0 < value < 1 for value in p.values())
    likely = [p[silver_rows.user(name).rstrip("0"), "c0"] for name in EAGER]
    unlikely = [p[silver_rows.user(name).rstrip("0"), "c0"] for name in SHY]
    assert min(likely) > 0.5 > max(unlikely)

    if future:
        fill(spark, warehouse, [*log(), *future])
        assert made_by(train_engagement.main, score_engagement.main) == made


@pytest.mark.slow
def test_a_model_that_changed_since_it_was_saved_scores_nothing(spark, warehouse, run, open_release, capsys):
    fill(spark, warehouse, log())
    release = open_release()
    for main in (build_profiles.main, find_candidates, train_engagement.main):
        assert run(main, release) == 0
    (model,) = releases.produced(warehouse, release)[1].values()
    other = spark.createDataFrame([("(intercept)", 9.0)], "feature string, coefficient double")
    other.write.mode("append").parquet(str(Path(model.path) / "coefficients"))
    assert run(score_engagement.main, release) == 2
    told = "score_engagement: model .*/engagement/feed/.*: its files changed since it was saved; train it again"
    assert re.search(told, capsys.readouterr().err)
    assert not warehouse.exists(engagement.SCORES)


@pytest.mark.slow
@pytest.mark.trial
def test_a_platform_without_exposures_goes_without_a_model_and_stops_no_other(
    spark, warehouse, run, open_release, capsys
):
    fill(spark, warehouse, log())
    release = open_release()
    for main in (build_profiles.main, find_candidates, train_engagement.main, score_engagement.main):
        assert run(main, release, "platforms=[feed, video]") == 0
    told = capsys.readouterr().out
    assert "no new engagement model: platform video has no exposure in the training window" in told
    assert "video is not scored: model engagement/video" in told
    assert releases.produced(warehouse, release)[1].keys() == {"engagement/feed"}
    assert {row["platform"] for row in rows_of(warehouse, engagement.SCORES, release)} == {"feed"}


def test_a_log_that_shows_nobody_engaged_is_told_and_leaves_no_model_and_no_score(
    spark, warehouse, run, open_release, capsys
):
    fill(spark, warehouse, [row for row in log() if "action" not in row])
    release = open_release()
    assert run(train_engagement.main, release) == 0
    told = "no new engagement model: platform feed: of 240 exposures in the training window none led to engagement"
    assert told in capsys.readouterr().out
    (row,) = warehouse.read(ops.RUNS).where("job = 'train_engagement'").collect()
    assert (row["status"], row["models"], row["outputs"]) == ("succeeded", {}, {})
    assert run(score_engagement.main, release) == 0
    assert f"feed is not scored: model engagement/feed: release {release} has none yet" in capsys.readouterr().out
    assert not warehouse.exists(engagement.EVALUATION) and not warehouse.exists(engagement.SCORES)
