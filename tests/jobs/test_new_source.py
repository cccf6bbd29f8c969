"""One delivery of every dataset of the four platform shapes, cleaned by one run; every value is computed by hand."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import functions as F
from tests.conftest import CONF
from tests.logs import deliver_as_mapped

import clean_interactions
from salience.interactions.keys import find_key
from salience.job import run_job
from salience.sources.mapping import load_mapping
from salience.tables import bronze, ops, silver
from salience.tables.warehouse import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DAY = "2026-11-02"
PLATFORMS = ("articles", "feed", "shop", "video")


def at(local: str, zone: str = "Asia/Shanghai") -> datetime:
    return datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone))


def seconds(local: str) -> int:
    return int(at(local).timestamp())


def millis(local: str) -> int:
    return round(at(local).timestamp() * 1000)


def payload(article: str, **more: str) -> str:
    parts = [f'"account": "gh_7", "article": {{"id": "{article}"{more.pop("read", "")}}}']
    return "{" + ", ".join([*parts, *(f'"{name}": {value}' for name, value in more.items())]) + "}"


FEED = {
    "interactions": [
        {"log_id": "l1", "uid": "u1", "post_id": "p1", "author_uid": "a1", "act": "show", "slot": 3, "req": "r1"}
        | {"ts": "2026-11-02T07:30:00.5+08:00", "device": "iphone", "promoted": True},
        {"log_id": "l2", "uid": "u1", "post_id": "p1", "author_uid": "a1", "act": "repost"}
        | {"ts": "2026-11-02T09:00:00+08:00"},
        {"log_id": "l3", "uid": "u2", "post_id": "p1", "act": "vote", "activity_id": "poll-1"}
        | {"ts": "2026-11-02T10:00:00Z"},
        {"log_id": "l4", "uid": "u2", "author_uid": "a1", "act": "follow", "ts": "2026-11-02T10:00:05Z"},
        {"log_id": "l5", "uid": "u3", "post_id": "p1", "act": "like", "ts": "2026-11-02T11:00:00Z"},
    ],
    "contents": [
        {"post_id": "p1", "author_uid": "a1", "topics": "food,,travel", "kind": "image", "lang": "zh"}
        | {"posted_at": "2026-11-01T23:00:00+08:00"},
        {"post_id": "p2", "author_uid": "a1", "topics": "", "kind": "text"},
    ],
    "users": [
        {"uid": "u1", "region": "Sichuan", "age_band": "25-34", "personalised": False, "analysed": True},
        {"uid": "u3", "region": "Hunan", "personalised": False, "analysed": False},
    ],
}
VIDEO = {
    "interactions": [
        {
            "id": 1,
            "viewer_id": 10,
            "item_id": 20,
            "creator_id": 30,
            "code": 2,
            "event_ms": millis("2026-11-02T08:00:00.123"),
        }
        | {
            "watch_ms": 4_250,
            "duration_ms": 15_000,
            "ctx": {"device": "android", "tz_min": 480, "pos": 2},
            "is_ad": False,
        },
        {"id": 2, "viewer_id": 10, "item_id": 20, "code": 9, "event_ms": millis("2026-11-03T07:59:59.999")},
        {"id": 3, "viewer_id": 11, "creator_id": 30, "code": 7, "event_ms": millis("2026-11-02T12:00:00")},
        {"id": 4, "viewer_id": 11, "item_id": 20, "code": 99, "event_ms": millis("2026-11-02T12:00:00")},
    ],
    "contents": [
        {"item_id": 20, "creator_id": 30, "tags": ["cats", "music"], "duration_ms": 15_000, "language": "zh"}
        | {"posted_ms": millis("2026-11-01T20:00:00.001")},
    ],
    "users": [
        {"viewer_id": 10, "region": "Beijing", "age_band": "18-24", "opted_out": True},
        {"viewer_id": 11, "region": "Hubei"},
    ],
}
ARTICLES = {
    "interactions": [
        {"msg_id": "m1", "openid": "o1", "event": "READ", "event_time": "2026-11-02 08:15:00"}
        | {"payload": payload("x1", read=', "read_seconds": 42.5', scene='"search"', client='{"os": "ios"}')},
        {"msg_id": "m2", "openid": "o1", "event": "wow", "event_time": "2026-11-02 08:16:00", "payload": payload("x1")},
        {"msg_id": "m3", "openid": "o2", "event": "subscribe", "event_time": "2026-11-02 23:59:59"}
        | {"payload": '{"account": "gh_7"}'},
        {"msg_id": "m4", "openid": "o2", "event": "read", "event_time": "2026-11-02 09:00:00", "payload": "{cut"},
        {"msg_id": "m5", "openid": "o2", "event": "share", "event_time": "2026/11/02 09:00", "payload": payload("x1")},
    ],
    "contents": [
        {"article_id": "x1", "account": "gh_7", "keywords": ["tea"], "posted_at": "2026-11-02 06:00:00"}
        | {"original_id": "w1"},
    ],
    "users": [
        {"openid": "o1", "profile": [("region", "Fujian"), ("age_band", "35-44"), ("nickname", "Anna")]}
        | {"agreed": {"personal": True, "analysis": None}},
    ],
    "accounts": [{"account": "gh_7", "nickname": "Tea House"}],
    "identifiers": [{"openid": "o1", "phone_sha256": "ab" * 32}, {"openid": "o2"}],
}
SHOP = {
    "interactions": [
        {"user_id": 1, "item_id": 5, "seller_id": 9, "behavior_type": "expose", "ts": seconds("2026-11-02T12:00:00")}
        | {"slot": 4, "campaign": "c11", "is_ad": True},
        {"user_id": 1, "item_id": 5, "seller_id": 9, "behavior_type": "cart", "ts": seconds("2026-11-02T12:01:00")}
        | {"amount": Decimal("99.90")},
        {"user_id": 1, "item_id": 5, "seller_id": 9, "behavior_type": "buy", "ts": seconds("2026-11-02T12:02:00")}
        | {"order_id": Decimal(2**63), "amount": Decimal("199.80"), "coupon": "k1", "campaign": "c11"},
        {"user_id": 2, "item_id": 5, "behavior_type": "buy", "ts": seconds("2026-11-02T12:03:00")}
        | {"amount": Decimal("25.00"), "currency": "HKD"},
        {"user_id": 2, "item_id": 5, "behavior_type": "buy", "ts": seconds("2026-11-02T12:04:00")}
        | {"amount": Decimal("-1.00")},
    ],
    "contents": [
        {"item_id": 5, "seller_id": 9, "category_path": "home/kitchen", "listed_at": seconds("2026-10-01T00:00:00")}
        | {"delisted_at": seconds("2026-12-01T00:00:00"), "banned": False},
        {"item_id": 6, "seller_id": 9, "banned": True},
    ],
    "users": [{"user_id": 1, "city_tier": "2", "member_level": "gold", "personalised": True, "analysed": True}],
    "assignments": [
        {
            "test": "free-delivery",
            "user_id": 1,
            "group": "B",
            "share": 0.25,
            "assigned_ts": seconds("2026-11-02T00:00:00"),
        },
    ],
    "campaigns": [
        {"campaign": "c11", "title": "Double 11", "medium": "search", "budget": Decimal("50000.00")}
        | {"begins": date(2026, 11, 1), "ends": date(2026, 11, 11)},
    ],
    "costs": [
        {"campaign": "c11", "medium": "search", "day": date(2026, 11, 1), "spent": Decimal("1234.56")},
        {"campaign": "c11", "medium": None, "day": date(2026, 11, 1), "spent": Decimal("0.44")},
        {"campaign": "c11", "medium": "search", "day": None, "spent": Decimal("7.00")},
    ],
    "blocklist": [
        {"item_id": 6, "why": "recalled", "since": seconds("2026-11-02T00:00:00")},
        {"seller_id": 8, "why": "fraud", "until": seconds("2027-01-01T00:00:00")},
        {"item_id": 7, "seller_id": 8, "why": "which of them?"},
    ],
}
LOGS = {"articles": ARTICLES, "feed": FEED, "shop": SHOP, "video": VIDEO}


@pytest.fixture(scope="module")
def tables(spark, tmp_path_factory) -> Warehouse:
    """The warehouse after one run over the day of all four platforms."""
    folder: Path = tmp_path_factory.mktemp("four")
    for platform, datasets in LOGS.items():
        mapping = load_mapping(CONF, platform)
        assert set(datasets) == set(mapping.datasets)
        for dataset, rows in datasets.items():
            if platform == "articles":
                deliver_as_mapped(folder / "logs", mapping, dataset, DAY, rows[:1], "hour=08")
                deliver_as_mapped(folder / "logs", mapping, dataset, DAY, rows[1:], "hour=23")
            else:
                deliver_as_mapped(folder / "logs", mapping, dataset, DAY, rows)
    argv = ["--env", "local", "--date", DAY, "--set", f"platforms=[{', '.join(PLATFORMS)}]"]
    argv += ["--set", f"logs={folder / 'logs'}", "--set", f"warehouse={folder / 'tables'}"]
    assert run_job(clean_interactions.main, argv) == 0
    return Warehouse(spark, str(folder / "tables"))


@pytest.fixture(scope="module")
def pseudonym() -> Callable[[str, object], str]:
    """What an id of a platform becomes, by Python's own HMAC."""

    def of(platform: str, raw: object) -> str:
        key = find_key(platform, "local", {})
        return hmac.new(key.secret, str(raw).encode(), hashlib.sha256).hexdigest()

    return of


def utc(local: str) -> str:
    return at(local).astimezone(UTC).replace(tzinfo=None).isoformat(" ", timespec="milliseconds")


def rows_of(tables, table, platform, *columns):
    """Return the rows of a platform, its times as text and its maps as sorted pairs, in the order of all columns."""
    frame = tables.read(table).where(F.col("platform") == platform)
    shown = []
    for name in columns:
        type_ = dict(frame.dtypes)[name]
        value = F.date_format(name, "yyyy-MM-dd HH:mm:ss.SSS") if type_ == "timestamp" else F.col(name)
        shown.append((F.array_sort(F.map_entries(name)) if type_.startswith("map") else value).alias(name))
    found = frame.select(*shown).collect()
    return sorted((tuple(row) for row in found), key=lambda row: str(row[0]))


EVENT = ("event_id", "action", "content_id", "event_time", "utc_offset_min")


def test_every_row_of_every_dataset_is_taken_and_those_that_break_a_rule_are_rejected_by_name(tables):
    ledger = (
        tables.read(ops.DELIVERIES).select("platform", "dataset", "state", "rows", "rejected", "accepted").collect()
    )
    found = {(row["platform"], row["dataset"]): tuple(row)[2:] for row in ledger}
    rejected = {("articles", "interactions"): 2, ("articles", "identifiers"): 1, ("video", "interactions"): 1}
    rejected |= {("shop", "interactions"): 1, ("shop", "costs"): 1, ("shop", "blocklist"): 1}
    excluded = {("feed", "interactions"): 1}
    for platform, datasets in LOGS.items():
        for dataset, rows in datasets.items():
            one, bad = (platform, dataset), rejected.get((platform, dataset), 0)
            left = len(rows) - bad - excluded.get(one, 0)
            assert found.pop(one) == ("taken", len(rows), bad, left), one
    assert not found
    reasons = tables.read(silver.REJECTED_EVENTS).select("platform", "reasons", "event_id").collect()
    assert sorted((row["platform"], *row["reasons"]) for row in reasons) == [
        ("articles", "missing_content_id"),
        ("articles", "unparseable_time"),
        ("shop", "negative_value"),
        ("video", "unknown_action"),
    ]
    assert {row["event_id"] for row in reasons if row["platform"] != "shop"} == {"m4", "m5", "4"}
    (refused,) = tables.read(silver.EXCLUDED_EVENTS).select("platform", "event_id", "reason").collect()
    assert tuple(refused) == ("feed", "l5", "consent")


def test_the_feeds_posts_and_what_people_did_with_them(tables, pseudonym):
    columns = ("position", "request_id", "device", "paid", "mechanism_id")
    assert rows_of(tables, silver.INTERACTIONS, "feed", *EVENT, *columns) == [
        ("l1", "impression", "p1", "2026-11-01 23:30:00.500", 480, 3, "r1", "iphone", True, None),
        ("l2", "share", "p1", "2026-11-02 01:00:00.000", 480, None, None, None, None, None),
        ("l3", "poll_vote", "p1", "2026-11-02 10:00:00.000", 0, None, None, None, None, "poll-1"),
        ("l4", "follow", None, "2026-11-02 10:00:05.000", 0, None, None, None, None, None),
    ]
    people = rows_of(tables, silver.INTERACTIONS, "feed", "event_id", "user_id", "creator_id")
    u1, u2, a1 = (pseudonym("feed", raw) for raw in ("u1", "u2", "a1"))
    assert people == [("l1", u1, a1), ("l2", u1, a1), ("l3", u2, None), ("l4", u2, a1)]
    details = ("content_id", "creator_id", "tags", "media_type", "language", "published_at", "valid_from")
    assert rows_of(tables, silver.CONTENTS, "feed", *details) == [
        ("p1", a1, ["food", "travel"], "image", "zh", "2026-11-01 15:00:00.000", "2026-11-02 00:00:00.000"),
        ("p2", a1, [], "text", None, None, "2026-11-02 00:00:00.000"),
    ]
    known = rows_of(tables, silver.USERS, "feed", "user_id", "attributes", "consent_personalised", "consent_analysis")
    assert known == sorted(
        [
            (u1, [("age_band", "25-34"), ("region", "Sichuan")], False, True),
            (pseudonym("feed", "u3"), [("age_band", None), ("region", "Hunan")], False, False),
        ]
    )


def test_videos_and_how_long_they_were_watched(tables, pseudonym):
    columns = ("dwell_s", "video_length_s", "device", "position", "paid")
    assert rows_of(tables, silver.INTERACTIONS, "video", *EVENT, *columns) == [
        ("1", "play", "20", "2026-11-02 00:00:00.123", 480, Decimal("4.250"), Decimal("15.000"), "android", 2, False),
        ("2", "unlike", "20", "2026-11-02 23:59:59.999", None, None, None, None, None, None),
        ("3", "follow", None, "2026-11-02 04:00:00.000", None, None, None, None, None, None),
    ]
    creator = pseudonym("video", 30)
    people = rows_of(tables, silver.INTERACTIONS, "video", "event_id", "user_id", "creator_id")
    viewers = pseudonym("video", 10), pseudonym("video", 11)
    assert people == [("1", viewers[0], creator), ("2", viewers[0], None), ("3", viewers[1], creator)]
    details = ("content_id", "creator_id", "tags", "media_type", "language", "published_at")
    assert rows_of(tables, silver.CONTENTS, "video", *details) == [
        ("20", creator, ["cats", "music"], "video", "zh", "2026-11-01 12:00:00.001"),
    ]
    known = rows_of(tables, silver.USERS, "video", "user_id", "attributes", "consent_personalised", "consent_analysis")
    assert known == sorted(
        [
            (viewers[0], [("age_band", "18-24"), ("region", "Beijing")], False, None),
            (viewers[1], [("age_band", None), ("region", "Hubei")], None, None),
        ]
    )


def test_articles_of_two_hours_with_what_their_payload_says(tables, pseudonym):
    columns = ("dwell_s", "channel", "device")
    assert rows_of(tables, silver.INTERACTIONS, "articles", *EVENT, *columns) == [
        ("m1", "view", "x1", "2026-11-02 00:15:00.000", 480, Decimal("42.500"), "search", "ios"),
        ("m2", "like", "x1", "2026-11-02 00:16:00.000", 480, None, "unknown", None),
        ("m3", "follow", None, "2026-11-02 15:59:59.000", 480, None, "unknown", None),
    ]
    account = pseudonym("articles", "gh_7")
    assert {row[0] for row in rows_of(tables, silver.INTERACTIONS, "articles", "creator_id")} == {account}
    details = ("content_id", "creator_id", "tags", "media_type", "published_at", "work_id")
    assert rows_of(tables, silver.CONTENTS, "articles", *details) == [
        ("x1", account, ["tea"], "article", "2026-11-01 22:00:00.000", "w1"),
    ]
    known = rows_of(
        tables, silver.USERS, "articles", "user_id", "attributes", "consent_personalised", "consent_analysis"
    )
    assert known == [(pseudonym("articles", "o1"), [("age_band", "35-44"), ("region", "Fujian")], True, None)]
    assert rows_of(tables, silver.ACCOUNTS, "articles", "creator_id", "display_name") == [(account, "Tea House")]
    files = rows_of(tables, bronze.EVENTS, "articles", "event_id", "source_file")
    assert files[0][1] == "articles/interactions/ds=20261102/hour=08/part-0.parquet"
    assert files[1][1] == "articles/interactions/ds=20261102/hour=23/part-0.parquet"


def test_what_ties_a_person_to_other_platforms_stays_in_bronze(tables):
    kept = rows_of(tables, bronze.IDENTIFIERS, "articles", "raw_user_id", "kind", "identifier", "violations")
    assert kept == [
        ("o1", "phone_sha256", "ab" * 32, []),
        ("o2", "phone_sha256", None, ["missing_identifier"]),
    ]
    for table in (silver.INTERACTIONS, silver.USERS, silver.CONTENTS, silver.ACCOUNTS):
        text = str(tables.read(table).where("platform = 'articles'").collect())
        assert "ab" * 32 not in text and "'o1'" not in text, table


def test_the_shops_purchases_with_their_money(tables, pseudonym):
    columns = ("action", "event_time", "utc_offset_min", "content_id", "value", "currency", "campaign_id")
    more = ("reward_id", "request_id", "paid", "position")
    bought = [row for row in rows_of(tables, silver.INTERACTIONS, "shop", *columns, *more) if row[0] == "purchase"]
    assert sorted(bought, key=lambda row: row[1]) == [
        (
            "purchase",
            "2026-11-02 04:02:00.000",
            480,
            "5",
            Decimal("199.8000"),
            "CNY",
            "c11",
            "k1",
            str(2**63),
            False,
            None,
        ),
        ("purchase", "2026-11-02 04:03:00.000", 480, "5", Decimal("25.0000"), "HKD", None, None, None, False, None),
    ]
    others = [row for row in rows_of(tables, silver.INTERACTIONS, "shop", *columns, *more) if row[0] != "purchase"]
    assert others == [
        ("cart", "2026-11-02 04:01:00.000", 480, "5", None, None, None, None, None, False, None),
        ("impression", "2026-11-02 04:00:00.000", 480, "5", None, None, "c11", None, None, True, 4),
    ]
    ids = {row[0] for row in rows_of(tables, silver.INTERACTIONS, "shop", "user_id")}
    assert ids == {pseudonym("shop", 1), pseudonym("shop", 2)}


def test_what_the_shop_sells_runs_spends_and_blocks(tables, pseudonym):
    seller = pseudonym("shop", 9)
    details = ("content_id", "creator_id", "tags", "published_at", "available_until", "brand_safety")
    assert rows_of(tables, silver.CONTENTS, "shop", *details) == [
        ("5", seller, ["home", "kitchen"], utc("2026-10-01T00:00:00"), utc("2026-12-01T00:00:00"), "safe"),
        ("6", seller, None, None, None, "unsafe"),
    ]
    known = rows_of(tables, silver.USERS, "shop", "user_id", "attributes", "consent_personalised", "consent_analysis")
    assert known == [(pseudonym("shop", 1), [("city_tier", "2"), ("member_level", "gold")], True, True)]
    assigned = ("experiment_id", "unit", "unit_id", "arm", "assigned_at", "propensity")
    assert rows_of(tables, silver.ASSIGNMENTS, "shop", *assigned) == [
        ("free-delivery", "user", pseudonym("shop", 1), "B", "2026-11-01 16:00:00.000", 0.25),
    ]
    campaign = ("campaign_id", "name", "channel", "starts_at", "ends_at", "budget", "currency")
    # It runs to the end of its last day.
    assert rows_of(tables, silver.CAMPAIGNS, "shop", *campaign) == [
        (
            "c11",
            "Double 11",
            "search",
            "2026-10-31 16:00:00.000",
            "2026-11-11 16:00:00.000",
            Decimal("50000.0000"),
            "CNY",
        ),
    ]
    assert rows_of(tables, silver.COSTS, "shop", "channel", "campaign_id", "cost_date", "cost", "currency") == [
        (None, "c11", date(2026, 11, 1), Decimal("0.4400"), "CNY"),
        ("search", "c11", date(2026, 11, 1), Decimal("1234.5600"), "CNY"),
    ]
    blocked = ("content_id", "creator_id", "reason", "blocked_from", "blocked_to")
    assert rows_of(tables, silver.BLOCKLIST, "shop", *blocked) == [
        ("6", None, "recalled", "2026-11-01 16:00:00.000", None),
        (None, pseudonym("shop", 8), "fraud", None, "2026-12-31 16:00:00.000"),
    ]
