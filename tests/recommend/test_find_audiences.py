"""From silver tables and a saved model to audiences and accounts to follow, by the job."""

import pytest

import find_audiences
from salience.job import run_job
from salience.recommend.als import Point, fit_settings
from salience.tables import publishing, recommendations, silver
from tests.recommend.rows import AS_OF
from tests.silver_rows import instant, interactions, user, users

pytestmark = pytest.mark.integration

MAKERS = {"a": "ann", "b": "bob", "c": "cid", "expired": "eve", "cold": "dan"}
PAST = [
    *[{"user": person, "action": "like", "content_id": "a"} for person in ("ann", "u", "refuses")],
    *[{"user": person, "action": "like", "content_id": "b"} for person in ("bob", "w")],
    {"user": "u", "action": "follow", "content_id": None, "creator_id": user("bob")},
    {"user": "w", "action": "follow", "content_id": None, "creator_id": user("cid")},
    {"user": "w", "action": "unfollow", "content_id": None, "creator_id": user("cid"), "at": "10 11:00"},
    {"user": "x", "action": "like", "content_id": "cold", "platform": "video"},
]
SMALL = ("platforms=[feed, video]", "recommend.audience=3", "recommend.creators=2", "recommend.holdout.share=0")


@pytest.fixture
def filled(spark, warehouse):
    def replace(table, frame, **where):
        warehouse.replace(table, frame, {"platform": ["feed", "video"], **where})

    events = interactions(spark, [{"at": "10 10:00", **event} for event in PAST])
    replace(silver.INTERACTIONS, events, event_date=[AS_OF])
    people = [{"user": "refuses", "consent_personalised": False}, {"user": "newcomer"}]
    replace(silver.USERS, users(spark, [{"valid_from": "1 00:00", **person} for person in people]))
    since = {"platform": "feed", "valid_from": instant("1 00:00")}
    contents = [{**since, "content_id": content, "creator_id": user(maker)} for content, maker in MAKERS.items()]
    contents[-2]["available_until"], contents[-1]["platform"] = instant("10 12:00"), "video"
    replace(silver.CONTENTS, warehouse.frame(silver.CONTENTS, contents))
    blocked = {**since, "creator_id": user("ann")}
    replace(silver.BLOCKLIST, warehouse.frame(silver.BLOCKLIST, [blocked]))
    return warehouse


def train(job):
    """Save a model of one of the platforms in place of jobs/train_recommender.py."""
    factors = [("a", [2.0]), ("b", [1.0]), ("c", [1.0]), ("expired", [3.0])]
    frames = {"item_factors": job.spark.createDataFrame(factors, "content_id string, features array<float>")}
    job.save_model("als/feed", frames, {"settings": fit_settings(Point(1.0, 0.1), job.settings.recommend)})


def test_contents_get_their_audience_and_everyone_accounts_to_follow(filled, capsys):
    release = publishing.open_release(filled, AS_OF, 3)
    argv = ["--env", "local", "--release", release, "--set", f"warehouse={filled.root}"]
    argv += [word for setting in SMALL for word in ("--set", setting)]
    for main in (train, find_audiences.main):
        assert run_job(main, ["--date", AS_OF.isoformat(), *argv]) == 0

    told = capsys.readouterr().out
    assert (
        f"video: no audiences of contents, and only accounts that are popular: model als/video: release {release}"
        in told
    )
    audiences, accounts = {}, {}
    for row in filled.read(recommendations.AUDIENCES).orderBy("content_id", "rank").collect():
        audiences.setdefault((row["platform"], row["content_id"]), []).append(row["user_id"].rstrip("0"))
    for row in filled.read(recommendations.CREATORS).orderBy("user_id", "rank").collect():
        told_of = accounts.setdefault((row["platform"], row["user_id"].rstrip("0")), [])
        told_of.append((row["creator_id"].rstrip("0"), row["source"]))
    # Nobody who made or saw it, nobody who refuses; nothing that is expired, or of the blocked ann.
    assert audiences == {("feed", "b"): ["ann", "u"], ("feed", "c"): ["ann", "u", "bob"]}
    # Nobody whom they follow (any more), not themselves, not ann, nor eve, of whom nothing may be shown.
    assert accounts == {
        ("feed", "u"): [("cid", "als")],
        ("feed", "bob"): [("cid", "als")],
        **{("feed", person): [("bob", "als"), ("cid", "als")] for person in ("ann", "w")},
        **{("feed", person): [("bob", "trending"), ("cid", "trending")] for person in ("newcomer", "refuses")},
        ("video", "x"): [("dan", "trending")],
    }
