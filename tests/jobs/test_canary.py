"""Real runs on logs full of words that no log has: nothing that they leave outside of bronze's data may hold one."""

import base64
import json
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from delta.tables import DeltaTable
from tests.canary import Canary, canary
from tests.conftest import CONF
from tests.logs import deliver_as_mapped
from tests.processes import run

from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms
from salience.sources.mapping import load_mapping
from salience.tables import bronze, catalog, engagement, ops, recommendations, releases, silver
from salience.tables.warehouse import Warehouse

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.trial, pytest.mark.timeout(3600)]

WORD = "Qx7Canary"
"""In every raw id and text."""
SECRET = "the feed's key, nobody's business: 0a1b2c3d"
NEXT_SECRET = "a key that is not the tables': 9f8e7d6c5b"
DAYS = [date(2026, 11, 1) + timedelta(days=n) for n in range(10)]
PEOPLE = [f"{WORD}-person-{n}" for n in range(60)]
CREATORS = [f"{WORD}-creator-{n}" for n in range(5)]
IDENTIFIERS = {f"{WORD}-identifier-{n}": sha256(f"{WORD}{n}@example.com".encode()).hexdigest() for n in range(3)}
TEXT = f"{WORD} said: see you at eight, Ann!"
# What a person's row may hold instead of what belongs there; each breaks another rule.
SPOILT = {
    "log_id": [TEXT + "\n", f"{WORD}\0", f" {WORD}", WORD * 60],
    "uid": [f"{PEOPLE[0]}\n", f" {PEOPLE[1]}", WORD * 60],
    "post_id": [f"{TEXT}\n", None],
    "author_uid": [f"{CREATORS[0]}\r"],
    "act": [TEXT, PEOPLE[2], None],
    "ts": [TEXT, PEOPLE[3], f"2026-11-08T10:00:00Z {WORD}", None],
    "req": [f"{TEXT}\t"],
}
EXTRA = {
    "accounts": {"raw": {"author_uid": "string", "name": "string"}, "columns": {"raw_creator_id": "author_uid"}},
    "identifiers": {
        "raw": {"uid": "string", "kind": "string", "value": "string"},
        "columns": {"raw_user_id": "uid", "kind": "kind", "identifier": "value"},
    },
    "assignments": {
        "raw": {"test": "string", "uid": "string", "arm": "string"},
        "columns": {"experiment_id": "test", "raw_user_id": "uid", "arm": "arm"},
    },
    "blocklist": {"raw": {"author_uid": "string"}, "columns": {"raw_creator_id": "author_uid"}},
}
PLANS = ("simple", "extended", "codegen", "cost", "formatted")


def events(draw: Random, day: date) -> list[dict]:
    """Return what people were shown on a day, and what they liked: mostly posts of their own taste."""
    rows = []
    for n, uid in enumerate(PEOPLE):
        for post in draw.sample(range(40), 8):
            at = datetime(day.year, day.month, day.day, draw.randrange(1, 22), draw.randrange(60), tzinfo=UTC)
            about = {"uid": uid, "post_id": f"p{post}", "author_uid": CREATORS[post % 5], "device": "phone", "slot": 1}
            acts = ["show", "like"] if draw.random() < (0.5 if post % 2 == n % 2 else 0.1) else ["show"]
            for act in acts:
                at += timedelta(seconds=draw.randrange(2, 600))
                note = f"{TEXT} {len(rows)}" if act == "like" else None
                log_id = f"{day:%d}-{len(rows)}"
                rows.append({"log_id": log_id, "act": act, "ts": at.isoformat(), "note": note, "req": "r", **about})
    return rows


def spoilt(day: date) -> list[dict]:
    good = {"uid": PEOPLE[5], "post_id": "p1", "author_uid": CREATORS[1], "act": "like", "req": "r", "note": TEXT}
    good["ts"] = f"{day}T12:00:00Z"
    rows = [good | {"log_id": f"s{n}-{name}", name: v} for name, values in SPOILT.items() for n, v in enumerate(values)]
    return [*rows, good | {"log_id": "twice"}, good | {"log_id": "twice"}]


@dataclass(frozen=True)
class Lab:
    """Settings, logs, tables, and what runs printed, below one folder."""

    root: Path
    conf: Path
    failing_conf: Path

    def run(self, job: str, *arguments: str, conf: Path | None = None, **variables: str) -> int:
        """Run a job in a process of its own, keep what it prints, and return its exit code."""
        chosen = {"platforms": '["feed"]', "logs": self.root / "logs", "warehouse": self.root / "warehouse"}
        named = {f"SALIENCE_{name.upper()}": str(value) for name, value in chosen.items()}
        named |= {"SALIENCE_CONF_DIR": str(conf or self.conf), "SALIENCE_PSEUDONYM_KEY_FEED": SECRET}
        code, out, err = run(job, *arguments, **(named | variables))
        printed = self.root / "left" / "printed"
        printed.mkdir(parents=True, exist_ok=True)
        (printed / f"{len(list(printed.iterdir()))}-{job}.txt").write_text(out + err, encoding="utf-8")
        return code

    def printed(self) -> dict[str, str]:
        files = sorted((self.root / "left" / "printed").iterdir(), key=lambda file: int(file.name.split("-")[0]))
        return {file.name: file.read_text(encoding="utf-8", errors="replace") for file in files}


def settings(lab: Path, name: str, expression: str | None = None) -> Path:
    """Return a folder of settings whose runs log all there is, below `left`."""
    conf = lab / name
    shutil.copytree(CONF, conf)
    left = lab / "left"
    (left / "events").mkdir(parents=True, exist_ok=True)
    more = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "true",
        "spark.eventLog.compression.codec": "zstd",
        "spark.eventLog.dir": f"file://{left / 'events'}",
        "spark.local.dir": left / "local",
        "spark.sql.warehouse.dir": left / "spark-warehouse",
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={left / 'metastore'};create=true",
        "spark.sql.ui.explainMode": "extended",
        "spark.sql.maxPlanStringLength": "10000000",
        "spark.sql.debug.maxToStringFields": "1000",
    }
    with (conf / "spark" / "local.conf").open("a", encoding="utf-8") as file:
        file.writelines(f"{key} {value}\n" for key, value in more.items())
    log4j = conf / "log4j2.properties"
    told = log4j.read_text(encoding="utf-8").replace("rootLogger.level = warn", "rootLogger.level = info")
    told = re.sub(r"(logger\.\w+\.level) = error", r"\1 = debug", told)
    # Compiled code too, of the run where it matters the most: it is long.
    for n, chatty in enumerate(
        ("catalyst.expressions.codegen", "execution.WholeStageCodegenExec") if expression else ()
    ):
        told += f"logger.c{n}.name = org.apache.spark.sql.{chatty}\nlogger.c{n}.level = debug\n"
    log4j.write_text(told, encoding="utf-8")
    mapping = yaml.safe_load((conf / "sources" / "feed.yaml").read_text(encoding="utf-8"))
    mapping["interactions"]["raw"]["note"] = "string"
    mapping["interactions"]["columns"]["video_length_s"] = "length(note)"
    if expression:
        mapping["interactions"]["columns"]["position"] = expression
    (conf / "sources" / "feed.yaml").write_text(yaml.safe_dump(mapping | EXTRA), encoding="utf-8")
    return conf


def deliver(lab: Path, conf: Path) -> None:
    """Deliver ten days of a feed: eight that are good, one with spoilt rows beside them, one that is refused."""
    logs, mapping, draw = lab / "logs", load_mapping(conf, "feed"), Random(1)
    for day in DAYS[:8]:
        rows = events(draw, day) + (spoilt(day) if day == DAYS[7] else [])
        deliver_as_mapped(logs, mapping, "interactions", str(day), rows)
    first = str(DAYS[0])
    posts = [
        {"post_id": f"p{n}", "author_uid": CREATORS[n % 5], "topics": "even,odd", "kind": "text"} for n in range(40)
    ]
    posts += [{"post_id": f"{TEXT}\n", "author_uid": CREATORS[0], "topics": "odd", "kind": "text"}]
    deliver_as_mapped(logs, mapping, "contents", first, posts)
    people = [{"uid": uid, "region": "north", "analysed": n > 3, "personalised": n > 6} for n, uid in enumerate(PEOPLE)]
    deliver_as_mapped(logs, mapping, "users", first, [*people, {"uid": f"{PEOPLE[0]}\n", "region": "south"}])
    deliver_as_mapped(logs, mapping, "accounts", first, [{"author_uid": uid, "name": "n"} for uid in CREATORS])
    named = [
        {"uid": uid, "kind": "email_sha256", "value": IDENTIFIERS[key]}
        for uid, key in zip(PEOPLE[:3], IDENTIFIERS, strict=True)
    ]
    deliver_as_mapped(logs, mapping, "identifiers", first, [*named, {"uid": f"{PEOPLE[0]}\n", "kind": TEXT}])
    deliver_as_mapped(logs, mapping, "assignments", first, [{"test": "t", "uid": uid, "arm": "a"} for uid in PEOPLE])
    deliver_as_mapped(logs, mapping, "blocklist", first, [{"author_uid": CREATORS[4]}])
    # The file's statistics hold ids, and its footer is damaged where it tells of them.
    good = deliver_as_mapped(logs, mapping, "interactions", str(DAYS[8]), events(draw, DAYS[8])) / "part-0.parquet"
    content = good.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little")
    good.write_bytes(content[: len(content) // 2] + content[-8 - footer // 2 :])
    for day, device in ((DAYS[9], TEXT), (DAYS[9] + timedelta(days=1), f"[FAILED_READ_FILE] {PEOPLE[0]}")):
        rows = [row | {"device": device} for row in events(draw, day)[:20]]
        deliver_as_mapped(logs, mapping, "interactions", str(day), rows)


@pytest.fixture(scope="module")
def lab(spark, tmp_path_factory):
    """Every step up to a release, a refused delivery, a run with another key, and one that an expression fails in."""
    root = tmp_path_factory.mktemp("lab")
    lab = Lab(root, settings(root, "conf"), settings(root, "failing", "cast(device as int)"))
    deliver(root, lab.conf)
    cheap = {"recommend.als.rank": 4, "recommend.als.iterations": 3, "clean.thresholds.max_shares.consent": 1}
    cheap |= {f"{part}.bootstrap_replicates": 100 for part in ("recommend", "engagement")}
    cheap |= {"engagement.test_days": 1, "engagement.validation_days": 1}
    few = [word for key, value in cheap.items() for word in ("--set", f"{key}={value}")]
    good = ("--from", str(DAYS[0]), "--to", str(DAYS[7]))
    codes = [
        lab.run("run_all", *good, *few),
        lab.run("clean_interactions", "--from", str(DAYS[7]), "--to", str(DAYS[8])),
        lab.run("clean_interactions", *good, SALIENCE_PSEUDONYM_KEY_FEED=NEXT_SECRET),
        lab.run(
            "clean_interactions",
            *("--from", str(DAYS[9]), "--to", str(DAYS[9] + timedelta(days=1))),
            conf=lab.failing_conf,
        ),
        lab.run("explain_event", "--platform", "feed", "--event-id", "s0-uid"),
    ]
    tails = {name: text[-2000:] for name, text in lab.printed().items()}
    assert codes == [0, 2, 2, 2, 0], tails
    return lab


@pytest.fixture(scope="module")
def search() -> Canary:
    words = {"raw id or text": WORD, **IDENTIFIERS}
    keys = {"feed": SECRET.encode(), "the next run": NEXT_SECRET.encode()}
    return canary(words, keys, [*PEOPLE, *CREATORS, *SPOILT["uid"]])


@pytest.fixture(scope="module")
def warehouse(spark, lab) -> Warehouse:
    return Warehouse(spark, str(lab.root / "warehouse"), "test")


def data_of_bronze(lab: Lab) -> list[Path]:
    files = (lab.root / "warehouse" / "bronze").rglob("*.parquet")
    return [file for file in files if "_delta_log" not in file.parts]


def test_the_runs_did_all_that_might_leave_something(lab, warehouse):
    release = releases.newest(warehouse)
    assert {"als/feed"} <= release.models.keys() and any(name.startswith("engagement") for name in release.models)
    assert {str(recommendations.RECOMMENDATIONS), str(engagement.SCORES)} <= release.tables.keys()
    states = {
        (row["delivery_date"], row["state"]): row["problem"]
        for row in warehouse.read(ops.DELIVERIES).where("dataset = 'interactions'").collect()
    }
    assert "footer" in states[DAYS[8], "refused"]
    assert "(cast(device as int))" in states[DAYS[9], "refused"]
    reasons = {name for row in warehouse.read(silver.REJECTED_EVENTS).collect() for name in row["reasons"]}
    assert {"malformed_id", "unknown_action", "unparseable_time", "missing_time", "missing_content_id"} <= reasons
    assert not warehouse.read(silver.EXCLUDED_EVENTS).where("reason = 'consent'").isEmpty()
    errors = [row["error"] for row in warehouse.read(ops.RUNS).where("status = 'failed'").collect()]
    assert len(errors) == 3 and any("kept under the key" in error for error in errors)
    told = "".join(lab.printed().values())
    assert " INFO " in told and "GeneratedIterator" in told


def test_nothing_outside_of_bronzes_data_holds_a_raw_id_a_text_or_a_key(lab, search):
    found = search.found_below(lab.root / "left", lab.root / "warehouse", but=data_of_bronze(lab))
    assert found == {}


def test_no_history_of_a_table_tells_any(warehouse, search):
    for table in filter(warehouse.exists, catalog.TABLES):
        history = DeltaTable.forPath(warehouse.spark, warehouse.path(table)).history().collect()
        assert history and search.found_in(str(history).encode()) == set(), table


def test_no_plan_of_pseudonyms_tells_any(spark, warehouse, search, capsys):
    rows = warehouse.read(bronze.EVENTS).where("platform = 'feed'")
    ids = {"raw_user_id": "user_id", "raw_creator_id": "creator_id"}
    named = with_pseudonyms(spark, rows, PseudonymKey("feed", SECRET.encode()), ids)
    named.select("user_id").distinct().collect()
    for mode in PLANS:
        named.explain(mode=mode)
    told = capsys.readouterr().out
    assert "sha2" in told.lower() and search.found_in(told.encode()) == set()


def test_the_search_finds_ids_and_texts_where_they_may_be(lab, search):
    found = search.found_below(lab.root / "warehouse" / "bronze")
    data = {str(file) for file in data_of_bronze(lab)}
    assert found.keys() <= data
    tables = {Path(file).relative_to(lab.root / "warehouse" / "bronze").parts[0] for file in found}
    assert tables == {"events", "users", "contents", "accounts", "identifiers", "assignments", "blocklist"}
    assert set().union(*found.values()) >= {"raw id or text", *IDENTIFIERS}


def test_the_search_finds_what_a_run_gives_away(lab, search, tmp_path):
    """A run that embeds secrets in its plan leaves them in its event log, in each coding."""
    given = tmp_path / "given"
    conf = given / "conf"
    given.mkdir()
    careless = Lab(given, settings(given, "conf"), conf)
    pad = bytes(byte ^ 0x36 for byte in SECRET.encode())
    numbers = ", ".join(f"{byte - 256 if byte > 127 else byte}Y" for byte in pad)
    quoted = SECRET.replace("'", "\\'")
    sql = f"SELECT '{PEOPLE[0]}' a, '{quoted}' b, X'{pad.hex()}' c, '{sha256(PEOPLE[1].encode()).hexdigest()}' d"
    (given / "warehouse").mkdir()
    assert careless.run("query_tables", sql + f", array({numbers}) e") == 0
    (events_log,) = (given / "left" / "events").rglob("events_*")
    found = search.found_below(events_log.parent)[str(events_log)]
    assert {"raw id or text", "key of feed", "inner pad of feed in hex", "bare hash of a raw id"} <= found


def test_the_search_knows_each_coding(search, tmp_path):
    key, pad = SECRET.encode(), bytes(byte ^ 0x5C for byte in SECRET.encode())
    told = {
        "UTF-16": (f"... {PEOPLE[0]}".encode("utf-16-le"), "raw id or text in UTF-16"),
        "hex": (b"X'" + pad.hex().upper().encode(), "outer pad of feed in hex"),
        "numbers": (json.dumps(list(pad)).encode(), "outer pad of feed as unsigned numbers, "),
        "bytes": (b"\0" + pad, "outer pad of feed"),
    }
    for shift in range(3):
        coded = base64.b64encode(b"xyz"[:shift] + key + b"tail")
        told[f"base64 {shift}"] = (coded, f"key of feed in base64 after {shift}")
    for name, (content, what) in told.items():
        assert what in search.found_in(content), name
    nested = pa.table({"a": [[{"b": {"c": PEOPLE[0]}}]], "bytes": [pad]})
    pq.write_table(nested, tmp_path / "a.parquet", compression="zstd", write_statistics=False)
    assert {"raw id or text", "outer pad of feed"} <= set().union(*search.found_below(tmp_path).values())
