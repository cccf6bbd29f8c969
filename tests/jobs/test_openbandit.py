"""The README's second example on real data: 40,000 impressions of a shop's recommender, checked against the files."""

import csv
import re
from collections import Counter, defaultdict
from datetime import datetime
from math import fsum
from pathlib import Path

import pytest
from pyspark.sql import functions as F

import clean_interactions
from salience.job import run_job
from salience.tables import ops, silver
from salience.tables.warehouse import Warehouse

ROOT = Path(__file__).parents[2]
SOURCE = ROOT.parent / "shared" / "data" / "openbandit"
FIRST, LAST = "2019-11-24", "2019-11-30"
FILES = ("bts/men", "bts/women", "random/men", "random/women")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not SOURCE.is_dir(), reason=f"Open Bandit is not at {SOURCE}"),
]


@pytest.fixture(scope="module")
def raw():
    """File -> its rows, read without pandas or Spark."""
    rows = {}
    for file in FILES:
        with (SOURCE / file / f"{file.split('/')[1]}.csv").open(encoding="utf-8", newline="") as text:
            rows[file] = list(csv.DictReader(text))
    return rows


@pytest.fixture(scope="module")
def tables(spark, tmp_path_factory):
    """The warehouse after the README's snippet and a cleaning run."""
    folder = tmp_path_factory.mktemp("openbandit")
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (recipe,) = (snippet for snippet in snippets if '"openbandit"' in snippet)
    exec(compile(recipe, "README.md", "exec"), {"source": SOURCE, "logs": folder / "logs"})
    argv = ["--env", "local", "--from", FIRST, "--to", LAST, "--set", "platforms=[openbandit]"]
    argv += ["--set", f"logs={folder / 'logs'}", "--set", f"warehouse={folder / 'tables'}"]
    assert run_job(clean_interactions.main, argv) == 0
    return Warehouse(spark, str(folder / "tables"))


@pytest.fixture(scope="module")
def events(tables):
    columns = ("event_id", "action", "campaign_id", "position", "propensity", "content_id", "user_id", "event_time")
    return tables.read(silver.INTERACTIONS).select(*columns, F.col("event_date").cast("string")).collect()


def test_every_impression_is_an_event_and_every_click_another_one(tables, raw, events):
    clicks = {file: sum(row["click"] == "1" for row in rows) for file, rows in raw.items()}
    assert sorted(clicks.values()) == [46, 46, 46, 69]
    shown = Counter((file, row["timestamp"][:10]) for file, rows in raw.items() for row in rows)
    assert Counter((e["campaign_id"], e["event_date"]) for e in events if e["action"] == "impression") == shown
    assert Counter(e["campaign_id"] for e in events if e["action"] == "click") == clicks
    assert len(events) == 40_000 + sum(clicks.values())
    interactions = tables.read(ops.DELIVERIES).where("dataset = 'interactions'")
    (total,) = interactions.agg(*(F.sum(name) for name in ("rows", "emitted", "rejected", "excluded"))).collect()
    assert tuple(total) == (40_000, 40_207, 0, 0)


def test_ids_times_places_and_propensities_are_those_of_the_files(raw, events):
    given = {}
    for file, rows in raw.items():
        for row in rows:
            about = (file, f"{file.split('/')[1]}/{row['item_id']}", int(row["position"]))
            one = (
                *about,
                float(row["propensity_score"]),
                datetime.fromisoformat(row["timestamp"]).replace(tzinfo=None),
            )
            given[f"{file}/{row['']}#impression"] = ("impression", *one)
            if row["click"] == "1":
                given[f"{file}/{row['']}#click"] = ("click", *one)
    names = ("action", "campaign_id", "content_id", "position", "propensity", "event_time")
    assert {e["event_id"]: tuple(e[name] for name in names) for e in events} == given
    for file, rows in raw.items():
        own = [e["propensity"] for e in events if e["campaign_id"] == file and e["action"] == "impression"]
        assert fsum(own) == fsum(float(row["propensity_score"]) for row in rows)


def test_a_person_is_a_combination_of_the_four_features(raw, events):
    of_event = {
        f"{file}/{row['']}#impression": tuple(row[f"user_feature_{n}"] for n in range(4))
        for file, rows in raw.items()
        for row in rows
    }
    people = defaultdict(set)
    for event in events:
        if event["action"] == "impression":
            people[event["user_id"]].add(of_event[event["event_id"]])
    assert all(len(features) == 1 for features in people.values())
    assert len(people) == len(set(of_event.values()))


def test_contents_are_the_items_of_both_campaigns_with_their_features_as_tags(tables):
    given = {}
    for campaign in ("men", "women"):
        with (SOURCE / "random" / campaign / "item_context.csv").open(encoding="utf-8", newline="") as text:
            for row in csv.DictReader(text):
                given[f"{campaign}/{row['item_id']}"] = [row[f"item_feature_{n}"] for n in (1, 2, 3)]
    stored = tables.read(silver.CONTENTS).select("content_id", "tags", "media_type").collect()
    assert {row["content_id"]: row["tags"] for row in stored} == given
    assert len(stored) == len(given) == 34 + 46 and {row["media_type"] for row in stored} == {"product"}
