"""From silver tables to scored candidates by the jobs."""

import re
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import functions as F

import build_profiles
import measure_drift
import score_engagement
import train_engagement
from salience.engagement.pipeline import regression
from salience.job import run_job
from salience.models.store import ModelStore
from salience.tables import engagement, ops, publishing, recommendations, releases, silver
from tests import silver_rows

pytestmark = pytest.mark.integration

AS_OF = date(2026, 11, 10)
EAGER, SHY = [f"e{n}" for n in range(6)], [f"s{n}" for n in range(6)]
REFUSING, OUT = "refuses", "held out"
"""Who is not scored: who did not refuse when candidates were found, but does now; and who is held out."""
SMALL = (
    "platforms=[feed]",
    "engagement.window_days=10",
    "engagement.validation_days=2",
    "engagement.hash_buckets=32",
    "engagement.regularisations=[0.001]",
    "engagement.elastic_nets=[0]",
    "engagement.bootstrap_replicates=100",
)
CANDIDATES = [(name, content) for name in (*EAGER, *SHY, "newcomer", REFUSING, OUT) for content in ("c0", "c9")]

TABLES = (engagement.EVALUATION, engagement.CALIBRATION, engagement.COEFFICIENTS, engagement.SCORES)

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
        flags, changed = [word for word in more if "=" not in word], [word for word in more if "=" in word]
        for setting in (f"warehouse={settings.warehouse}", *SMALL, *changed):
            argv += ["--set", setting]
        return run_job(main, [*argv, *flags], extra=getattr(sys.modules[main.__module__], "extra", None))

    return job


@pytest.fixture
def open_release(warehouse):
    return lambda: publishing.open_release(warehouse, AS_OF, 3)


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
        coefficients = regression(model.pipeline("pipeline")).coefficients.toArray().tolist()
        return *(rows_of(warehouse, table, release) for table in TABLES), coefficients, model.manifest["windows"]

    fill(spark, warehouse, log())
    made = made_by(build_profiles.main, find_candidates, train_engagement.main, score_engagement.main)
    evaluation, calibration, coefficients, scores, _, protocol = made
    of_all = [row for row in evaluation if row["segment"] == "all"]
    value = {(row["model"], row["metric"]): row["value"] for row in of_all}
    assert {model for model, _ in value} == {"logistic", "mlp", "base_rate", "content_rate"}
    assert {row["segment"] for row in evaluation} == {"all", "user=known", "content=warm"}
    # Three days before the last one are the test: 12 people with 4 exposures each.
    assert {row["rows"] for row in of_all} == {3 * 12 * 4}
    assert sum(row["rows"] for row in calibration if row["model"] == "logistic") == 3 * 12 * 4
    assert {row["status"] for row in coefficients} <= {"too few events", "constant", "collinear"}
    assert value["logistic", "roc_auc"] > 0.8 > value["base_rate", "roc_auc"] == 0.5
    assert value["logistic", "log_loss"] < value["base_rate", "log_loss"] - 0.1
    assert "test [2026-11-07T00:00Z, 2026-11-10T00:00Z)" in protocol

    p = {(row["user_id"].rstrip("0"), row["content_id"]): row["p_engage_24h"] for row in scores}
    assert p.keys() == {(silver_rows.user(name).rstrip("0"), content) for name, content in WILLING}
    assert {(row["platform"], row["model"], row["contributions"]) for row in scores} == {("feed", "logistic", None)}
    assert all(0 < value < 1 for value in p.values())
    likely = [p[silver_rows.user(name).rstrip("0"), "c0"] for name in EAGER]
    unlikely = [p[silver_rows.user(name).rstrip("0"), "c0"] for name in SHY]
    assert min(likely) > max(unlikely) + 0.3

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
    (file, *_) = sorted(
        Path(model.path.removeprefix("file:")).glob("pipeline/stages/*LogisticRegression*/data/*.parquet")
    )
    (file.parent / f"more-{file.name}").write_bytes(file.read_bytes())
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
    assert "no new model of engage_24h: platform video has no exposures in the training window" in told
    assert "video has no engagement model: model engagement/video" in told
    assert releases.produced(warehouse, release)[1].keys() == {"engagement/feed"}
    assert {row["platform"] for row in rows_of(warehouse, engagement.SCORES, release)} == {"feed"}


def test_a_log_that_shows_nobody_engaged_is_told_and_leaves_no_model_and_no_score(
    spark, warehouse, run, open_release, capsys
):
    fill(spark, warehouse, [row for row in log() if "action" not in row])
    release = open_release()
    assert run(train_engagement.main, release) == 0
    told = "no new model of engage_24h: platform feed: of 96 exposures in the training window none led to engage_24h"
    assert told in capsys.readouterr().out
    (row,) = warehouse.read(ops.RUNS).where("job = 'train_engagement' AND status <> 'started'").collect()
    assert (row["status"], row["models"], row["outputs"]) == ("succeeded", {}, {})
    assert run(score_engagement.main, release) == 0
    assert (
        f"feed has no engagement model: model engagement/feed: release {release} has none yet"
        in capsys.readouterr().out
    )
    assert not warehouse.exists(engagement.EVALUATION) and not warehouse.exists(engagement.SCORES)


@pytest.mark.slow
def test_a_day_that_turned_out_otherwise_is_drift_that_a_gate_stops(spark, warehouse, run, open_release, capsys):
    fill(spark, warehouse, log())
    release = open_release()
    assert run(train_engagement.main, release) == 0
    assert run(measure_drift.main, release, "engagement.drift.most_psi=20", "--gate") == 0
    then = warehouse.read(ops.AUDITS).where("table LIKE 'gold.%drift'")
    assert then.where("NOT passed").isEmpty() and not then.where("rule LIKE '%of the score'").isEmpty()

    # On the last days the eager turn away, and the shy are shown everything many times over.
    turned = [row for row in log() if "action" not in row or row["user"] in SHY or int(row["at"].split()[0]) < 8]
    turned += [shown(name, f"c{n % 4}", f"10 {n:02d}:30", engages=False)[0] for name in SHY for n in range(24)]
    fill(spark, warehouse, turned)
    capsys.readouterr()
    assert run(measure_drift.main, release) == 0
    assert "measure_drift: audit failed: gold.feature_drift: largest psi - psi_expected" in capsys.readouterr().out
    assert run(measure_drift.main, release, "--gate") == 3
    assert "gold.feature_drift: largest psi - psi_expected of a feature, " in capsys.readouterr().err
    drifted = rows_of(warehouse, engagement.FEATURE_DRIFT, release)
    worst = max(drifted, key=lambda row: row["psi"] - row["psi_expected"])
    assert worst["window"] == AS_OF and worst["psi"] > 1
    # What calibrated the model is not what judges it: labels of later days are open.
    assert rows_of(warehouse, engagement.CALIBRATION_DRIFT, release) == []


@pytest.mark.slow
def test_who_comes_often_is_expected_back_and_who_refuses_is_not_asked_for(spark, warehouse, run, open_release):
    draw = np.random.default_rng(7)
    days = [silver_rows.instant("10 12:00") - timedelta(days=n) for n in range(45)]
    rows = [
        {"user": name, "content_id": "c0", "at": at, "action": "play"}
        for name in (*EAGER, *SHY, REFUSING)
        for at in days
        if draw.random() < (0.7 if name in EAGER else 0.06)
    ]
    fill(spark, warehouse, rows)
    release = open_release()
    for main in (train_engagement.main, score_engagement.main):
        assert run(main, release, "engagement.window_days=45", "engagement.history_days=0") == 0
    p = {row["user_id"]: row["p_return_7d"] for row in rows_of(warehouse, engagement.RETURN_SCORES, release)}
    often, seldom = ([p[user] for user in map(silver_rows.user, some) if user in p] for some in (EAGER, SHY))
    assert len(often) == len(EAGER) and silver_rows.user(REFUSING) not in p
    assert min(often) > 0.5 > sum(seldom) / len(seldom)
    assert {row["label"] for row in rows_of(warehouse, engagement.EVALUATION, release)} == {"return_7d"}


@pytest.mark.slow
def test_a_model_of_other_settings_is_refused_by_their_name(spark, warehouse, run, open_release, capsys):
    fill(spark, warehouse, log())
    release = open_release()
    for main in (build_profiles.main, find_candidates, train_engagement.main):
        assert run(main, release) == 0
    assert run(score_engagement.main, release, "engagement.prior_exposures=3", "engagement.label_hours=12") == 2
    assert "was trained with other settings of engagement: label_hours, prior_exposures" in capsys.readouterr().err
