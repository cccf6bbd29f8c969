"""What cleaning finds in simulated logs, against what the simulator planted in them; tables are read without Spark."""

import hashlib
import hmac
import json
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.simulate.conftest import AS_OF, SMALL, Simulated, small_settings

import clean_interactions
import simulate_logs
from salience.job import run_job
from salience.simulate.dirt import REASONS

pytestmark = pytest.mark.integration

SIZE = SMALL | {"users": 150, "contents": 120, "days": 4, "events": 8_000}
FIRST = date(2026, 11, 3)
COUNTS = {"emitted": "emitted", "rejected": "rejected", "excluded_duplicate": "excluded", "accepted": "accepted"}
SECRET = "a secret that is only for this test"


@pytest.fixture(scope="module")
def cleaned(spark, tmp_path_factory):
    """Return a simulation whose four deliveries a platform were cleaned in one run."""
    root = tmp_path_factory.mktemp("cleaned")
    settings = small_settings(root, **SIZE)
    argv = ["--env", "local", "--from", FIRST.isoformat(), "--to", AS_OF.isoformat()]
    places = {"logs": settings.logs, "warehouse": settings.warehouse, "simulate.truth": settings.simulate.truth}
    for key, value in {**places, **{f"simulate.{name}": value for name, value in SIZE.items()}}.items():
        argv += ["--set", f"{key}={value}"]
    with pytest.MonkeyPatch.context() as patch:
        for platform in ("FEED", "VIDEO"):
            patch.setenv(f"SALIENCE_PSEUDONYM_KEY_{platform}", SECRET)
        for job in (simulate_logs, clean_interactions):
            assert run_job(job.main, argv) == 0
    return Simulated(settings, root)


def table(cleaned, name):
    """Return a Delta table: the files that its log names, with their partition values as text."""
    folder = Path(cleaned.settings.warehouse) / name.replace(".", "/")
    assert not list(folder.glob("_delta_log/*.checkpoint*.parquet"))
    kept = {}
    for commit in sorted(folder.glob("_delta_log/*.json")):
        for action in map(json.loads, commit.read_text().splitlines()):
            if "add" in action:
                kept[action["add"]["path"]] = action["add"]["partitionValues"]
            if "remove" in action:
                kept.pop(action["remove"]["path"])
    frames = (pq.ParquetFile(folder / file).read().to_pandas().assign(**values) for file, values in kept.items())
    return pd.concat(frames, ignore_index=True)


def by_delivery(rows):
    """Count rows per platform and delivery, as (platform, day) -> rows."""
    return rows.groupby(["platform", rows["delivery_date"].astype(str)]).size()


def pseudonym(raw_id):
    return hmac.new(SECRET.encode(), raw_id.encode(), hashlib.sha256).hexdigest()


def assert_counts(found, planted):
    expected = planted[planted > 0].to_dict()
    assert found.to_dict() == expected and expected


def test_every_delivery_is_counted_in_the_ledger_as_it_was_planted(cleaned):
    ledger = table(cleaned, "ops.deliveries")
    ledger = ledger[ledger["dataset"] == "interactions"].astype({"delivery_date": str})
    found = ledger.set_index(["platform", "delivery_date"])[list(COUNTS.values())].astype(int)
    planted = cleaned.counts()
    assert found.to_dict("index") == planted[list(COUNTS)].rename(columns=COUNTS).to_dict("index")
    assert len(found) == 2 * SIZE["days"] and (found > 0).all(axis=None)
    assert (found["emitted"] == found["rejected"] + found["excluded"] + found["accepted"]).all()


def test_the_tables_hold_as_many_rows_of_each_delivery_as_were_planted(cleaned):
    planted = cleaned.counts()
    accepted = table(cleaned, "silver.interactions")
    excluded = table(cleaned, "silver.excluded_events")
    assert_counts(by_delivery(table(cleaned, "bronze.events")), planted["emitted"])
    assert_counts(by_delivery(table(cleaned, "silver.rejected_events")), planted["rejected"])
    assert_counts(by_delivery(excluded), planted["excluded_duplicate"])
    assert_counts(by_delivery(accepted), planted["accepted"])
    assert set(excluded["reason"]) == {"duplicate"}
    is_late = accepted["delivery_date"].astype(str) > accepted["event_date"].astype(str)
    assert_counts(by_delivery(accepted[is_late]), planted["late"])


def test_rows_are_rejected_for_the_planted_reason_and_no_other(cleaned):
    rejected = table(cleaned, "silver.rejected_events")
    assert set(map(len, rejected["reasons"])) == {1}
    rejected["reason"] = [reasons[0] for reasons in rejected["reasons"]]
    # Where the video log has no time, the feed's text says so in words.
    untimed = rejected["platform"].map({"feed": "unparseable_time", "video": "missing_time"})
    is_untimed = rejected["reason"].isin(["missing_time", "unparseable_time"])
    assert (rejected["reason"] == untimed)[is_untimed].all()
    rejected.loc[is_untimed, "reason"] = "missing_time"
    planted = cleaned.counts()
    assert set(rejected["reason"]) == set(REASONS)
    for reason in REASONS:
        assert_counts(by_delivery(rejected[rejected["reason"] == reason]), planted[reason])


def test_of_a_planted_pair_the_earlier_delivery_stays(cleaned):
    accepted = table(cleaned, "silver.interactions")[["platform", "event_id", "delivery_date"]]
    assert not accepted.duplicated(["platform", "event_id"]).any()
    excluded = table(cleaned, "silver.excluded_events").merge(
        accepted, left_on=["platform", "winner_event_id"], right_on=["platform", "event_id"], suffixes=("", "_won")
    )
    lag = pd.to_datetime(excluded["delivery_date"]) - pd.to_datetime(excluded["delivery_date_won"])
    assert len(excluded) == cleaned.counts()["excluded_duplicate"].sum()
    assert set(lag.dt.days) == {0, 1}


def test_every_planted_exposure_is_either_accepted_as_it_was_or_rejected(cleaned):
    silver = table(cleaned, "silver.interactions")
    impressions = silver.loc[silver["action"] == "impression", ["platform", "event_id", "content_id", "user_id"]]
    rejected = table(cleaned, "silver.rejected_events")
    planted = cleaned.truth("exposures")
    both = planted.merge(impressions, on=["platform", "event_id"], how="left", suffixes=("", "_found"))
    accepted = both[both["content_id_found"].notna()]
    assert len(accepted) == len(impressions)
    assert (accepted["content_id"] == accepted["content_id_found"]).all()
    pseudonyms = [
        hmac.new(SECRET.encode(), id_.encode(), hashlib.sha256).hexdigest() for id_ in accepted["raw_user_id"]
    ]
    assert accepted["user_id"].to_list() == pseudonyms
    lost = both[both["content_id_found"].isna()]
    known = set(zip(rejected["platform"], rejected["event_id"], strict=True))
    assert 0 < len(lost) < len(both) / 5
    assert set(zip(lost["platform"], lost["event_id"], strict=True)) <= known


@pytest.mark.parametrize(
    ("platform", "columns"),
    [("feed", {"log_id": "event_id", "ts": "time"}), ("video", {"id": "event_id", "event_ms": "time"})],
)
def test_accepted_times_are_those_of_the_raw_rows(cleaned, platform, columns):
    raw = cleaned.raw(platform, "interactions").rename(columns=columns)[["event_id", "time"]].drop_duplicates()
    raw["event_id"] = raw["event_id"].astype(str)
    silver = table(cleaned, "silver.interactions")
    both = silver[silver["platform"] == platform].merge(raw, on="event_id", how="left")
    if platform == "feed":
        times = pd.to_datetime(both["time"], format="ISO8601", utc=True)
        minutes = [pd.Timestamp(text).utcoffset().total_seconds() / 60 for text in both["time"]]
        assert both["utc_offset_min"].to_list() == minutes
    else:
        times = pd.to_datetime(both["time"], unit="ms", utc=True)
    found = both["event_time"].dt.tz_localize("UTC") if both["event_time"].dt.tz is None else both["event_time"]
    assert len(both) == cleaned.counts().loc[platform, "accepted"].sum()
    assert (found == times).all()
    assert (both["event_date"] == times.dt.strftime("%Y-%m-%d")).all()
