"""People are erased from every file below the warehouse, stay erased, and nobody else loses anything."""

import hashlib
import hmac
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark.sql import functions as F
from tests.conftest import CONF
from tests.feed import DAYS as FEED_DAYS
from tests.feed import EVENTS_ONLY, CrashError, event, quiet
from tests.hashes import canonical_rows
from tests.logs import deliver, deliver_as_mapped, feed_event
from tests.scan import by_place, found
from tests.snapshots import record, run

import clean_interactions
import erase_users
import rollback_release
from salience.interactions.erasing import erase, read_list
from salience.interactions.keys import KEY_VARIABLE, find_key
from salience.job import run_job
from salience.models.store import ModelStore
from salience.settings import load_settings
from salience.sources.mapping import load_mapping
from salience.tables import bronze, catalog, ops, profiles, publishing, releases, silver
from salience.tables.warehouse import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BOB, ZED, ANN = "700700700777", "900900900999", "700700700701"
PEOPLE = [str(700_700_700_701 + n) for n in range(6)] + [BOB]
DAYS = [date(2026, 11, 2), date(2026, 11, 3)]
RELEASE = f"{DAYS[-1]}.1"
KEYS = {f"{KEY_VARIABLE}SHOP": "the shop's own key, for tests"}
"""With the demo key, people of the same raw id would have the same pseudonym on the feed."""
OLD = date(2026, 11, 1)


def pseudonym(raw: str, platform: str = "shop") -> str:
    return hmac.new(find_key(platform, "local", KEYS).secret, raw.encode(), hashlib.sha256).hexdigest()


def at(day: date, minute: int) -> int:
    return int(datetime(day.year, day.month, day.day, 3, minute, tzinfo=UTC).timestamp())


def shop_rows(day: date) -> dict[str, list[dict]]:
    events = [
        {"user_id": int(who), "item_id": item, "seller_id": int(ZED) if item % 2 else 5, "behavior_type": "fav"}
        | {"ts": at(day, (5 * n + item) % 60)}
        for n, who in enumerate(PEOPLE)
        for item in range(1, 7)
        if (n + item + day.day) % 3
    ]
    odd = [
        # Somebody's about Zed's item, which is rejected: with its payload.
        events[0] | {"behavior_type": "dance", "item_id": 1, "seller_id": int(ZED)},
        {"user_id": int(BOB), "item_id": 1, "seller_id": 5, "behavior_type": "dance", "ts": at(day, 1)},
        next(event for event in events if event["user_id"] == int(BOB)),  # a copy
    ]
    item = {"category_path": "a/b", "listed_at": 1_793_500_000, "banned": False}
    return {
        "interactions": events + odd,
        "contents": [item | {"item_id": n, "seller_id": int(ZED) if n % 2 else 5} for n in range(1, 7)],
        "users": [{"user_id": int(who), "city_tier": "1", "analysed": True} for who in PEOPLE],
        "assignments": [{"test": "t", "user_id": int(who), "group": "a", "share": 0.5} for who in PEOPLE[-2:]],
        "blocklist": [{"seller_id": int(ZED), "why": "fraud"}, {"item_id": 6, "why": "law"}],
    }


class Place:
    """A warehouse beside the logs that all share, and the jobs that work on it."""

    def __init__(self, spark, folder: Path, name: str) -> None:
        self.spark, self.folder, self.root = spark, folder, folder / name
        self.list = folder / f"{name}.txt"
        self.list.write_text(f"{BOB}\n{ZED}\n", encoding="utf-8")

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.spark, str(self.root), "test")

    def run(self, module, *arguments: str, interval: bool = True) -> int:
        argv = ["--env", "local", *arguments]
        for setting in (f"logs={self.folder / 'logs'}", f"warehouse={self.root}", "platforms=[shop,feed]"):
            argv[2:2] = ["--set", setting]
        return run_job(module.main, argv, interval=interval, extra=getattr(module, "extra", None))

    def clean(self, first: date = DAYS[0]) -> int:
        return self.run(clean_interactions, "--from", str(first), "--to", str(DAYS[1]))

    def erase(self, *arguments: str, hours: int = 0, platform: str = "shop") -> int:
        retention = ("--set", f"erasure.vacuum_retention_hours={hours}")
        return self.run(
            erase_users, "--platform", platform, "--list", str(self.list), *retention, *arguments, interval=False
        )

    def traces(self, *raw: str) -> set[str]:
        """Return the tables, or `models`, that hold one of the shop's people, in whatever file."""
        texts = [pseudonym(one) for one in raw]
        # The feed has people of the same ids.
        hits = found(self.root, texts, beside=["silver/erasures/"])
        return by_place(hits | found(self.root, raw, beside=["platform=feed", "silver/erasures/"]))

    def copy(self, name: str) -> "Place":
        shutil.copytree(self.root, self.folder / name)
        return Place(self.spark, self.folder, name)


@pytest.fixture(scope="module", autouse=True)
def _keys():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def made(spark, tmp_path_factory) -> Place:
    """Two platforms, cleaned; a published release with profiles and a model, and a model that no release names."""
    folder = tmp_path_factory.mktemp("erasing")
    shop = load_mapping(CONF, "shop")
    for day in DAYS:
        for dataset, rows in shop_rows(day).items():
            deliver_as_mapped(folder / "logs", shop, dataset, str(day), rows)
        events = [feed_event(log_id=f"{day}-{n}", uid=who, ts=f"{day}T10:0{n}:00Z") for n, who in enumerate((BOB, ANN))]
        deliver(folder / "logs", str(day), events)
    place = Place(spark, folder, "made")
    assert place.clean() == 0
    publish(place)
    for table in (bronze.EVENTS, silver.INTERACTIONS, profiles.USER_PROFILES):
        path = place.warehouse.path(table)
        spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.checkpointInterval' = '1')")
    return place


def publish(place: Place) -> None:
    spark, warehouse = place.spark, place.warehouse
    of_ids = {"active_hours": [0.0] * 24, "active_weekdays": [0.0] * 7, "interest_tags": [], "lifecycle_status": "new"}
    about = {"release_id": RELEASE, "platform": "shop", "recency_days": 0, "frequency": 1, "watch_time_s": 0.0} | of_ids
    about |= {"favourite_creators": [pseudonym(ZED), pseudonym("5")]}
    rows = [about | {"user_id": pseudonym(who)} for who in (ANN, BOB)]
    frame = warehouse.frame(profiles.USER_PROFILES, rows)
    warehouse.replace(profiles.USER_PROFILES, frame, {"release_id": [RELEASE]})
    factors = [(pseudonym(who), [1.0]) for who in (ANN, BOB)]
    people = spark.createDataFrame(factors, "user_id string, features array<float>")
    items = spark.createDataFrame([("1", [1.0])], "content_id string, features array<float>")

    def save(release: str, name: str, run_id: str, **frames) -> releases.SavedModel:
        return ModelStore(spark, f"{warehouse.root}/models", run_id).save(release, name, frames, {"model": name})

    saved = {"als/shop": save(RELEASE, "als/shop", "first", user_factors=people, item_factors=items)}
    saved |= {name: save(RELEASE, name, "first", item_factors=items) for name in ("als/feed", "engagement/shop")}
    save("2026-11-01.1", "als/shop", "unpublished", user_factors=people)
    record(warehouse, run(RELEASE, profiles.USER_PROFILES, **saved))
    publishing.publish(warehouse, RELEASE, 3)


@pytest.fixture(scope="module")
def erased(made) -> SimpleNamespace:
    """What `made` became: erased with nothing kept, then the same deliveries cleaned again, and an older one."""
    place = made.copy("erased")
    kept = SimpleNamespace(place=place, before=place.traces(BOB, ZED), tables=rows_of(place))
    kept.feed = canonical_rows(place.warehouse)
    assert place.erase() == 0
    kept.after, kept.erased_rows, kept.rows = place.traces(BOB, ZED), rows_of(place), canonical_rows(place.warehouse)
    late = {"item_id": 1, "seller_id": int(ZED), "behavior_type": "fav", "ts": at(OLD, 1)}
    rows = [late | {"user_id": int(who)} for who in (ANN, BOB)]
    deliver_as_mapped(place.folder / "logs", load_mapping(CONF, "shop"), "interactions", str(OLD), rows)
    assert place.clean(OLD) == 0
    kept.again, kept.rows_again = place.traces(BOB, ZED), canonical_rows(place.warehouse)
    return kept


def rows_of(place: Place) -> dict[str, list[dict]]:
    tables = [table for table in catalog.TABLES if table.layer in ("silver", "gold")]
    return {
        str(table): [row.asDict(recursive=True) for row in place.warehouse.read(table).collect()]
        for table in tables
        if place.warehouse.exists(table)
    }


def in_order(rows: dict[str, list[dict]]) -> dict[str, list[str]]:
    """Return the rows as texts, without when people were erased."""
    return {table: sorted(map(repr, of)) for table, of in rows.items() if table != "silver.erasures"}


def test_before_they_are_erased_the_scan_finds_people_everywhere(erased):
    everywhere = {"bronze.events", "bronze.users", "bronze.assignments", "bronze.contents", "bronze.blocklist"}
    everywhere |= {"silver.interactions", "silver.users", "silver.assignments", "silver.contents", "silver.blocklist"}
    everywhere |= {"gold.user_profiles", "models"}
    assert erased.before >= everywhere


def test_no_file_of_the_warehouse_holds_them_then_and_none_when_they_are_delivered_again(erased):
    assert erased.after == set()
    assert erased.again == set()
    assert list((erased.place.root / "silver" / "interactions" / "_delta_log").glob("*.checkpoint*.parquet"))
    old = f'"delivery_date":"{OLD}"'
    assert {table: [row for row in rows if old not in row] for table, rows in erased.rows_again.items()} == erased.rows
    of_old = [row for row in erased.rows_again["bronze.events"] if old in row]
    assert sorted('"violations":["erased"]' in row for row in of_old) == [False, True]


def test_the_same_ids_stay_on_the_other_platform(erased):
    kept = {table: [row for row in rows if '"platform":"feed"' in row] for table, rows in erased.feed.items()}
    now = {table: [row for row in rows if '"platform":"feed"' in row] for table, rows in erased.rows_again.items()}
    assert kept == now
    assert any(BOB in row for row in now["bronze.events"])


def test_nobody_else_loses_a_row_and_their_rows_lose_only_the_creator(erased):
    gone = {pseudonym(BOB), pseudonym(ZED)}

    def left(table: str, row: dict) -> dict | None:
        if {row.get("user_id"), row.get("unit_id")} & gone or (
            table == "silver.blocklist" and row["creator_id"] in gone
        ):
            return None
        if row.get("creator_id") in gone:
            row = row | {"creator_id": None}
        if "favourite_creators" in row:
            row = row | {"favourite_creators": [one for one in row["favourite_creators"] if one not in gone]}
        return row

    for table, rows in erased.tables.items():
        if table in ("silver.rejected_events", "silver.erasures"):
            continue
        expected = [row for row in (left(table, row) for row in rows) if row]
        # A hash under the key of one that is of other columns now.
        plain = [
            [{k: v for k, v in row.items() if k != "row_hash"} for row in of]
            for of in (expected, erased.erased_rows[table])
        ]
        assert sorted(map(repr, plain[1])) == sorted(map(repr, plain[0])), table
    assert {pseudonym(ANN)} <= {row["user_id"] for row in erased.erased_rows["gold.user_profiles"]}


def test_redacted_rows_keep_their_days_and_count_as_rejected(erased):
    rows = erased.place.warehouse.read(bronze.EVENTS).where(
        f"platform = 'shop' AND violations = array('erased') AND delivery_date > '{OLD}'"
    )
    raw = [row for day in DAYS for row in shop_rows(day)["interactions"] if row["user_id"] == int(BOB)]
    kept = {"delivery_date", "platform", "event_date", "violations", "row_hash"}
    found_rows = [row.asDict() for row in rows.collect()]
    assert len(found_rows) == len(raw)
    assert all(value is None for row in found_rows for name, value in row.items() if name not in kept)
    assert {row["row_hash"] for row in found_rows} == {0} and {row["delivery_date"] for row in found_rows} == {*DAYS}
    rejected = [row for row in erased.erased_rows["silver.rejected_events"] if row["reasons"] == ["erased"]]
    assert len(rejected) == len(raw)
    counts = erased.place.warehouse.read(ops.DELIVERIES).where("dataset = 'interactions' AND platform = 'shop'")
    for row in counts.collect():
        assert row["emitted"] == row["rejected"] + row["excluded"] + row["accepted"] > 0
    last = [row["rejected"] for row in counts.where(F.col("delivery_date") != OLD).orderBy("seen_at").collect()][-2:]
    assert sum(last) == len(raw) + 2, "and the two that were rejected for their action"


def test_a_model_in_force_is_saved_anew_without_them_and_one_that_only_learned_from_them_stays(erased):
    place = erased.place
    row, first = releases.newest(place.warehouse), releases.published(place.warehouse, 1)
    assert (row.release_seq, row.action, row.release_id, row.tables) == (2, "erase", RELEASE, first.tables)
    store = ModelStore(place.spark, f"{place.warehouse.root}/models", "look")
    loaded = store.load(row.models["als/shop"])
    assert [one[0] for one in loaded.frames["user_factors"].select("user_id").collect()] == [pseudonym(ANN)]
    assert loaded.frames["item_factors"].count() == 1 and loaded.manifest["people_erased"]
    for name in ("als/feed", "engagement/shop"):
        assert row.models[name] == first.models[name]
    left = {str(path.parent.relative_to(place.root / "models")) for path in (place.root / "models").rglob("manifest")}
    kept = {f"{RELEASE}/als/feed/first", f"{RELEASE}/engagement/shop/first"}
    assert left == kept | {store.below(row.models["als/shop"].path)}


@pytest.mark.trial
def test_withdrawing_and_retiring_leave_nothing_in_force_and_old_files_are_told_until_they_go(made, capfd):
    place = made.copy("withdrawn")
    policy = ("--set", "erasure.releases=withdraw", "--set", "erasure.models=retire")
    assert place.erase(*policy, hours=168) == 0
    told = "".join(capfd.readouterr())
    row = releases.newest(place.warehouse)
    assert (row.action, row.tables, set(row.models)) == ("erase", {}, {"als/feed"})
    assert {path.parent.parent.name for path in (place.root / "models").rglob("manifest")} == {"feed"}
    assert "bronze.events" in place.traces(BOB), "in files that the table uses no more"
    assert not any(BOB in text or pseudonym(BOB) in text for text in [told])
    assert "run this job again after" in told
    audits = place.warehouse.read(ops.AUDITS).where("rule LIKE 'files that may hold erased people%'")
    assert {"bronze.events", "silver.interactions"} <= {one["table"] for one in audits.collect()}
    assert place.erase(*policy) == 0
    assert place.traces(BOB, ZED) == set()
    assert "no file is left that tables use no more" in "".join(capfd.readouterr())


class Dying(Warehouse):
    """A warehouse whose run dies behind one of its commits to tables."""

    def __init__(self, spark, root, commits: int) -> None:
        super().__init__(spark, root, f"dying {commits}")
        self.commits = commits

    def replace(self, *arguments, **more):
        return self._behind(super().replace(*arguments, **more))

    def replace_by_staged(self, *arguments, **more):
        return self._behind(super().replace_by_staged(*arguments, **more))

    def append(self, *arguments, **more):
        return self._behind(super().append(*arguments, **more))

    def insert_missing(self, *arguments, **more):
        return self._behind(super().insert_missing(*arguments, **more))

    def merge(self, *arguments, **more):
        return self._behind(super().merge(*arguments, **more))

    def _behind(self, commit):
        self.commits -= 1
        if not self.commits:
            raise CrashError
        return commit


@pytest.mark.trial
def test_a_run_that_dies_behind_any_of_its_commits_is_healed_by_the_next(made, erased):
    place, key = made.copy("dying"), find_key("shop", "local", KEYS)
    settings = load_settings(CONF, "local", {}, ["erasure.vacuum_retention_hours=0"])
    deaths = 0
    for deaths in range(1, 40):
        warehouse = Dying(place.spark, str(place.root), deaths)
        store = ModelStore(place.spark, f"{warehouse.root}/models", f"dying {deaths}")
        asked = read_list(warehouse, str(place.list), key, settings.clean)
        try:
            erase(warehouse, store, key, asked, settings, quiet, quiet)
            break
        except CrashError:
            continue
    assert deaths > 3
    assert place.traces(BOB, ZED) == set()
    assert in_order(rows_of(place)) == in_order(erased.erased_rows)


def test_a_list_that_cannot_be_used_changes_nothing_and_is_told_without_its_ids(feed, capfd):
    feed.deliver(FEED_DAYS[0], event("e1", "02T10:00:00", uid="bob"), event("e2", "02T11:00:00", uid="ann"))
    feed.clean(FEED_DAYS[0], datasets=EVENTS_ONLY)
    place, before = Place(feed.spark, feed.folder, "warehouse"), feed.rows()
    unknown = "2 lines (2, 4) hold an id of which feed holds nothing; correct the list"
    malformed = "2 lines (2, 3) hold no id: empty, with blanks around it or control characters"
    for text, told in (
        ("bob\nhugo\nann\nida\n", unknown),
        ("bob\n\n ann\r\n", malformed),
        ("", "names nobody; write one id a line"),
        (None, "no such file; --list names a text file with one id a line"),
    ):
        place.list.unlink() if text is None else place.list.write_text(text, encoding="utf-8", newline="")
        capfd.readouterr()
        assert place.erase(platform="feed") == 2
        (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("erase_users: /")]
        assert line.startswith(f"erase_users: {place.list}: {told}")
        assert not any(raw in line.replace(str(place.list), "") for raw in ("bob", "hugo", "ida"))
    assert feed.rows() == before and not feed.warehouse.exists(silver.ERASURES)


def test_people_who_are_erased_while_their_delivery_is_taken_are_redacted_by_the_same_run(feed):
    feed.deliver(FEED_DAYS[0], event("e1", "02T10:00:00", uid="bob"), event("e2", "02T11:00:00"))
    gone = {"platform": "feed", "user_id": pseudonym("bob", "feed"), "erased_at": datetime.now(UTC)}
    into = feed.hooked(ahead=(bronze.EVENTS, lambda: feed.warehouse.append_rows(silver.ERASURES, [gone])))
    feed.clean(FEED_DAYS[0], into=into, datasets=EVENTS_ONLY)
    rows = feed.warehouse.read(bronze.EVENTS).select("event_id", "raw_user_id", "violations").collect()
    assert sorted(map(tuple, rows), key=str) == [("e2", "u-ann", []), (None, None, ["erased"])]
    assert feed.accepted() == {("e2", FEED_DAYS[0])} and feed.excluded() == set()


def test_ids_that_nobody_knows_yet_are_recorded_where_that_is_asked_for(feed):
    place = Place(feed.spark, feed.folder, "warehouse")
    place.list.write_text("later\nbob", encoding="utf-8")
    feed.deliver(FEED_DAYS[0], event("e1", "02T10:00:00", uid=" later "), event("e2", "02T11:00:00"))
    assert place.erase(platform="feed") == 2
    assert place.erase("--allow-unknown", platform="feed") == 0
    feed.clean(FEED_DAYS[0], datasets=EVENTS_ONLY)
    assert feed.accepted() == {("e2", FEED_DAYS[0])}
    assert not found(feed.root, ["later"])
    assert place.erase(platform="feed") == 0, "they were erased before"
    assert feed.warehouse.read(silver.ERASURES).count() == 2


def test_a_rollback_does_without_a_model_that_was_deleted_and_says_so(erased, capfd):
    # The last test: the copies of a warehouse share what their rows of releases name.
    place = erased.place
    shutil.rmtree(place.folder / "made" / "models" / RELEASE / "als" / "shop", ignore_errors=True)
    assert place.run(rollback_release, "--to-seq", "1", interval=False) == 0
    assert "als/shop is left out: that model was deleted" in "".join(capfd.readouterr())
    assert set(releases.newest(place.warehouse).models) == {"als/feed", "engagement/shop"}
