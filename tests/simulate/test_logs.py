"""The files that a simulation writes, read back by pandas and judged by rules written here a second time."""

import pandas as pd
import pyarrow.parquet as pq
import pytest

from salience.errors import InputError
from salience.simulate.dirt import REASONS
from salience.simulate.writer import MARKER, write_simulation
from tests.simulate.conftest import AS_OF, SMALL, small_settings

pytestmark = pytest.mark.integration

DAYS = [f"2026-11-0{day}" for day in range(1, 7)]
SCHEMAS = {
    ("feed", "interactions"): "log_id string, uid string, post_id string, author_uid string, act string, ts string, "
    "device string, slot int32, req string",
    (
        "feed",
        "contents",
    ): "post_id string, author_uid string, topics string, kind string, lang string, posted_at string",
    ("feed", "users"): "uid string, region string, age_band string, registered_at string, personalised bool",
    ("video", "interactions"): "id int64, viewer_id int64, item_id int64, code int32, event_ms int64, watch_ms int64, "
    "duration_ms int64, ctx struct<device: string, tz_min: int32, pos: int32>",
    ("video", "contents"): "item_id int64, creator_id int64, tags list<element: string>, duration_ms int64, "
    "posted_ms int64, language string",
    ("video", "users"): "viewer_id int64, region string, age_band string, opted_out bool",
}
KNOWN = {
    "feed": {"show", "like", "comment", "repost", "fav", "follow", "unlike", "hide"},
    "video": {1, 2, 3, 4, 5, 6, 7, 8},
}


def events(simulated, platform):
    """Return the interaction log under common names; unreadable times are null."""
    log = simulated.raw(platform, "interactions")
    names = {"log_id": "event", "uid": "user", "post_id": "content", "act": "action"}
    names |= {"id": "event", "viewer_id": "user", "item_id": "content", "code": "action"}
    log = log.rename(columns=names)
    if platform == "feed":
        log["time"] = pd.to_datetime(log["ts"], format="ISO8601", utc=True, errors="coerce")
        log["local"] = pd.to_datetime(log["ts"].str[:23], format="ISO8601", errors="coerce")
    else:
        log["time"] = pd.to_datetime(log["event_ms"], unit="ms", utc=True)
        offset = pd.to_timedelta([context["tz_min"] for context in log["ctx"]], unit="min")
        log["local"] = (log["time"] + offset).dt.tz_localize(None)
    log["delivered"] = pd.to_datetime(log["dt"], utc=True)
    return log


def verdicts(log, platform, clean):
    """Return each row's verdict by the definitions of the row rules and of duplicates."""
    day, one = log["delivered"], pd.Timedelta(days=1)
    follow = log["action"].isin(["follow", 7])
    broken = {
        "missing_user_id": log["user"].isna(),
        "missing_content_id": log["content"].isna() & ~follow,
        "missing_time": log["time"].isna(),
        "unknown_action": ~log["action"].isin(KNOWN[platform]),
        "future_event": log["time"] >= day + one + pd.Timedelta(minutes=clean.future_tolerance_minutes),
        "too_late": log["time"].dt.floor("D") < day - clean.max_lateness_days * one,
    }
    judged = pd.DataFrame(broken).fillna(False).astype(bool)
    assert judged.sum(axis=1).max() == 1
    verdict = judged.idxmax(axis=1).where(judged.any(axis=1), "accepted")
    accepted = log[verdict == "accepted"].sort_values(["event", "time", "delivered"], kind="stable")
    copies = accepted.index[accepted.duplicated(["event", "time"])]
    verdict[copies] = "duplicate"
    return verdict


@pytest.mark.parametrize(("platform", "dataset"), SCHEMAS)
def test_every_delivery_has_its_schema_and_is_marked_complete(simulated, platform, dataset):
    folders = sorted(simulated.folder(platform, dataset).iterdir())
    assert [folder.name for folder in folders] == [f"dt={day}" for day in DAYS]
    for folder in folders:
        assert (folder / "_SUCCESS").read_bytes() == b""
        for file in folder.glob("*.parquet"):
            schema = pq.read_schema(file)
            assert ", ".join(f"{field.name} {field.type}" for field in schema) == SCHEMAS[platform, dataset]


@pytest.mark.parametrize("platform", ["feed", "video"])
def test_the_truth_about_dirt_equals_what_the_rules_find_in_the_files(simulated, platform):
    log = events(simulated, platform)
    log["verdict"] = verdicts(log, platform, simulated.settings.clean)
    log["late"] = (log["verdict"] == "accepted") & (log["time"].dt.floor("D") < log["delivered"])
    truth = simulated.counts().loc[platform]
    by_day = log.groupby("dt")
    found = pd.DataFrame({"emitted": by_day.size(), "late": by_day["late"].sum()})
    found["accepted"] = by_day["verdict"].apply(lambda v: (v == "accepted").sum())
    found["excluded_duplicate"] = by_day["verdict"].apply(lambda v: (v == "duplicate").sum())
    for reason in REASONS:
        found[reason] = by_day["verdict"].apply(lambda v, reason=reason: (v == reason).sum())
    found["rejected"] = found[list(REASONS)].sum(axis=1)
    assert sorted(found.index) == DAYS
    assert found[truth.columns].astype(int).to_dict() == truth.to_dict()
    assert (truth["accepted"] + truth["excluded_duplicate"] + truth["rejected"] == truth["emitted"]).all()


def test_every_kind_of_dirt_occurs_in_about_its_share(simulated):
    counts = simulated.counts().groupby("platform").sum()
    # Nine kinds share the dirt. A late row, one or two days after its event, must still be delivered by the last day.
    expected = counts["emitted"] * SMALL["dirt_share"] / 9
    late_possible = (SMALL["days"] - 1.5) / SMALL["days"]
    for kind, share in {**dict.fromkeys(REASONS, 1.0), "late": late_possible}.items():
        wanted = share * expected
        assert ((counts[kind] > 0.6 * wanted) & (counts[kind] < 1.4 * wanted)).all(), kind
    assert ((counts["excluded_duplicate"] > 1.4 * expected) & (counts["excluded_duplicate"] < 2.6 * expected)).all()


def test_both_copies_of_a_duplicate_are_identical_and_some_come_a_day_later(simulated):
    log = simulated.raw("feed", "interactions")
    copies = log[log.duplicated("log_id", keep=False)]
    apart = copies.groupby("log_id")["dt"].nunique()
    assert copies.groupby("log_id").size().eq(2).all()
    assert set(apart) == {1, 2}
    assert len(copies.drop(columns="dt").drop_duplicates()) == len(apart)


def test_about_as_many_events_are_written_as_were_asked_for(simulated):
    rows = sum(len(simulated.raw(platform, "interactions")) for platform in ("feed", "video"))
    assert rows == pytest.approx(SMALL["events"], rel=0.15)


@pytest.mark.parametrize(("platform", "user"), [("feed", "uid"), ("video", "viewer_id")])
def test_everyone_comes_with_the_first_delivery_and_some_move_later(simulated, platform, user):
    people = simulated.raw(platform, "users")
    first, later = people[people["dt"] == DAYS[0]], people[people["dt"] != DAYS[0]]
    assert first[user].is_unique and len(first) == SMALL["users"]
    assert later[user].is_unique and 0 < len(later) < SMALL["users"] / 8
    moved = later.merge(first, on=user, suffixes=("", "_before"))
    assert len(moved) == len(later)
    assert (moved["region"] != moved["region_before"]).all()
    assert (moved["age_band"] == moved["age_band_before"]).all()


@pytest.mark.parametrize(("platform", "content"), [("feed", "post_id"), ("video", "item_id")])
def test_contents_are_delivered_when_posted_and_shown_only_afterwards(simulated, platform, content):
    contents = simulated.raw(platform, "contents")
    if platform == "feed":
        posted = pd.to_datetime(contents["posted_at"], format="ISO8601", utc=True)
    else:
        posted = pd.to_datetime(contents["posted_ms"], unit="ms", utc=True)
    first = pd.Timestamp(DAYS[0], tz="UTC")
    assert len(contents) == contents[content].nunique() == SMALL["contents"]
    assert (posted.clip(lower=first).dt.floor("D") == pd.to_datetime(contents["dt"], utc=True)).all()
    log = events(simulated, platform)
    clean = log[verdicts(log, platform, simulated.settings.clean).isin(["accepted", "duplicate"])]
    shown = clean.merge(pd.DataFrame({"content": contents[content], "posted": posted}), on="content")
    assert (shown["time"] >= shown["posted"]).all()
    assert set(clean["content"].dropna()) <= set(contents[content])


@pytest.mark.parametrize("platform", ["feed", "video"])
def test_people_are_awake_in_the_evening_of_their_own_time_zone(simulated, platform):
    log = events(simulated, platform)
    hours = log["local"][log["action"].isin(["show", 1])].dt.hour.value_counts(normalize=True)
    evening, night = hours.reindex(range(18, 23)).sum(), hours.reindex(range(2, 7)).sum()
    assert evening > 4 * night > 0


def test_only_plays_have_a_watch_time_within_the_length_of_the_video(simulated):
    log = simulated.raw("video", "interactions")
    is_play = (log["code"] == 2) | ((log["code"] == 99) & log["watch_ms"].notna())
    assert (log["watch_ms"].notna() == is_play).all() and (log["duration_ms"].notna() == is_play).all()
    plays = log[is_play]
    assert plays["watch_ms"].between(0, plays["duration_ms"]).all()
    assert 0.05 < (plays["watch_ms"] >= 0.95 * plays["duration_ms"]).mean() < 0.6


@pytest.mark.parametrize(
    ("file", "folder", "setting"),
    [
        ("logs/video/interactions/dt=2026-11-06/part-0.parquet", "logs/video", "logs"),
        ("truth/users/part-0.parquet", "truth", "simulate.truth"),
    ],
)
def test_what_was_not_simulated_is_not_replaced(spark, tmp_path, file, folder, setting):
    real = tmp_path / file
    real.parent.mkdir(parents=True)
    real.touch()
    with pytest.raises(InputError) as caught:
        write_simulation(spark, small_settings(tmp_path), AS_OF, lambda text: None)
    told = f"{tmp_path}/{folder} holds files that were not simulated and would be replaced"
    assert str(caught.value) == f"{told}; set `{setting}` to a folder for simulations"
    assert real.exists() and not (tmp_path / "logs" / "feed").exists()


def test_a_simulation_marks_what_the_next_may_replace(simulated):
    folders = ("logs/feed", "logs/video", "truth")
    assert all((simulated.root / folder / MARKER).read_bytes() == b"" for folder in folders)
