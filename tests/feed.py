"""A feed whose deliveries are cleaned into tables, for tests of what cleaning ends in, whatever came before."""

import shutil
from datetime import date
from pathlib import Path

from pyspark.sql import functions as F

from salience.interactions.cleaning import Source, clean_dataset
from salience.interactions.keys import find_key
from salience.settings import load_settings
from salience.sources.mapping import SourceMapping, load_mapping
from salience.tables import silver
from salience.tables.warehouse import Warehouse
from tests.conftest import CONF
from tests.hashes import canonical_hashes, canonical_rows
from tests.logs import deliver, feed_event

EVENTS_ONLY = ("interactions",)
EVENTS_OF_PEOPLE = ("users", "interactions")
DAYS = ("2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05")


class CrashError(Exception):
    """The run dies."""


class Hooked(Warehouse):
    """A warehouse that calls a function ahead of or behind the first change of a table by days: (table, function)."""

    def __init__(self, spark, root, run_id, *, ahead=None, behind=None):
        super().__init__(spark, root, run_id)
        self.left = {"ahead": ahead, "behind": behind}

    def replace(self, table, frame, where, note=None):
        self._call("ahead", table)
        commit = super().replace(table, frame, where, note)
        self._call("behind", table)
        return commit

    def replace_by_staged(self, files, where, note=None):
        self._call("ahead", files.table)
        commit = super().replace_by_staged(files, where, note)
        self._call("behind", files.table)
        return commit

    def insert_missing(self, table, *arguments, **more):
        self._call("ahead", table)
        commit = super().insert_missing(table, *arguments, **more)
        self._call("behind", table)
        return commit

    def _call(self, when, table):
        hook = self.left[when]
        if hook and hook[0] is table:
            self.left[when] = None
            hook[1]()


def crash():
    raise CrashError


class Platform:
    """A feed, or what another mapping says, that delivers below one folder and is cleaned into another."""

    def __init__(
        self,
        spark,
        folder: Path,
        warehouse: str = "warehouse",
        platform: str = "feed",
        mapping: SourceMapping | None = None,
    ):
        self.spark, self.folder, self.logs = spark, folder, folder / "logs"
        self.root = folder / warehouse
        self.mapping = mapping or load_mapping(CONF, "feed").model_copy(update={"platform": platform})
        self.key = find_key(self.mapping.platform, "local", {})
        self.settings = load_settings(CONF, "local", {}, []).clean

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.spark, str(self.root), "test")

    def at(self, warehouse: str) -> "Platform":
        """Return the platform with the same logs and another warehouse."""
        return Platform(self.spark, self.folder, warehouse, mapping=self.mapping)

    def copy(self, warehouse: str) -> "Platform":
        shutil.copytree(self.root, self.folder / warehouse)
        return self.at(warehouse)

    def deliver(self, day: str, *rows, dataset: str = "interactions") -> None:
        deliver(self.logs, day, rows, dataset=dataset, platform=self.mapping.platform)

    def clean(self, *days: str, into: Warehouse | None = None, logs="logs", datasets=None, say=None, **settings):
        """Clean one dataset after another; return what became of the last one."""
        source = Source(str(self.folder / logs), self.mapping, self.key)
        changed = self.settings.model_copy(update=settings)
        into = into or self.warehouse
        for dataset in datasets or self.mapping.datasets:
            found = clean_dataset(
                into, source, dataset, [date.fromisoformat(day) for day in days], changed, say or quiet, quiet
            )
        return found

    def hooked(self, **hooks) -> Hooked:
        return Hooked(self.spark, str(self.root), "hooked", **hooks)

    def rows(self):
        return canonical_rows(self.warehouse)

    def hashes(self):
        return canonical_hashes(self.warehouse)

    def rebuilt(self, *days: str, **how):
        """Return the rows of a new warehouse, made of all days at once."""
        fresh = self.at(f"rebuilt-{len(list(self.folder.iterdir()))}")
        fresh.clean(*days, **how)
        return fresh.rows()

    def accepted(self) -> set[tuple[str, str]]:
        rows = self.warehouse.read(silver.INTERACTIONS).select("event_id", F.col("delivery_date").cast("string"))
        return {tuple(row) for row in rows.collect()}

    def excluded(self) -> set[tuple[str, str]]:
        return {tuple(r) for r in self.warehouse.read(silver.EXCLUDED_EVENTS).select("event_id", "reason").collect()}


def quiet(*_):
    return None


def user(uid: str, analysed: bool | None = True) -> dict:
    about = {"region": "north", "age_band": "18-24", "registered_at": "2025-01-01", "personalised": True}
    return {"uid": uid, **about, "analysed": analysed}


def content(post_id: str | None, topics: str = "a,b") -> dict:
    about = {"author_uid": "zoe", "kind": "text", "lang": "en", "posted_at": "2026-11-01T00:00:00Z"}
    return {"post_id": post_id, "topics": topics, **about}


def event(log_id: str, ts: str, **more) -> dict:
    """Return an event at `ts`, UTC, of November 2026, like 02T10:00:00."""
    return feed_event(log_id=log_id, ts=f"2026-11-{ts}Z", **more)


def machine(uid: str, first: int, last: int) -> list[dict]:
    """Return events of a machine on 11-04, one every ten seconds."""
    times = [(n, f"04T12:{n // 6:02}:{n % 6}0") for n in range(first, last)]
    return [event(f"{uid}-{n}", ts, uid=uid, post_id=f"p{n}", act="show") for n, ts in times]


def deliver_four_days(feed: Platform) -> None:
    """Deliver days that bear on one another: copies, taps over midnight, late rows, machines, refused consent."""
    feed.deliver(
        DAYS[0],
        event("e1", "02T10:00:00"),
        event("e1", "02T10:00:00"),
        event("e2", "02T11:00:00", uid="bob"),
        event("e3", "02T12:00:00", uid=None, act="dance"),
        event("t1", "02T23:59:59.700", post_id="p9"),
    )
    feed.deliver(
        DAYS[1],
        event("e1", "02T10:00:00"),
        event("e2", "02T11:00:00", uid="bob", post_id="p7"),
        event("t2", "03T00:00:00.200", post_id="p9"),
        event("l1", "02T13:00:00", uid="cat"),
        event("t4", "03T00:00:00.500", uid="bob", post_id="p8"),
        event("e5", "05T00:00:00"),
    )
    feed.deliver(
        DAYS[2],
        event("t3", "02T23:59:59.900", uid="bob", post_id="p8"),
        event("l1", "02T13:00:00", uid="cat"),
        event("e6", "31T10:00:00") | {"ts": "2026-10-31T10:00:00Z"},
        event("e7", "04T10:00:00", uid="bob"),
        event("e8", "04T10:00:00", uid="cat"),
        *machine("droid", 0, 40),
        *machine("robot", 0, 40),
    )
    feed.deliver(
        DAYS[3],
        event("l2", "03T09:00:00", uid="cat"),
        event("e1", "05T10:00:00"),
        event("e9", "05T10:00:00", uid="bob"),
        *machine("droid", 30, 70),
        *machine("robot", 30, 70),
    )
    feed.deliver(DAYS[0], *(user(uid) for uid in ("u-ann", "bob", "cat", "droid")), dataset="users")
    feed.deliver(DAYS[1], user("cat", analysed=False), user("bob", analysed=None), dataset="users")
    feed.deliver(DAYS[2], user("cat"), user("droid", analysed=False), dataset="users")
    feed.deliver(DAYS[3], user("bob", analysed=False), user(None), dataset="users")
    feed.deliver(DAYS[0], content("p1"), content("p9"), dataset="contents")
    feed.deliver(DAYS[1], content("p1"), content("p9", "c"), dataset="contents")
    feed.deliver(DAYS[3], content("p1", "d"), content(None), dataset="contents")
