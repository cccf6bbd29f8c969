"""What measuring and publishing leave of figures about few people in real tables."""

from dataclasses import replace
from datetime import date

import pytest
from pyspark.sql import functions as F
from tests import silver_rows
from tests.snapshots import AS_OF, FIRST, SECOND, record, run, write

import measure_audience
import publish_release
import upgrade_warehouse
from salience.job import run_job
from salience.tables import activity, engagement, ops, profiles, publishing, recommendations, releases, silver
from salience.tables.suppression import hide_in_release
from salience.tables.warehouse import Warehouse

pytestmark = pytest.mark.integration

PROFILES, LISTS, QUALITY = profiles.CONTENT_PROFILES, recommendations.EVALUATION, engagement.EVALUATION
PUBLISHED = (PROFILES, LISTS, QUALITY)
DAY = date(2026, 11, 2)


def profile(content, reach, engagers, engaged_reach, **more):
    people = {"everyone": max(reach, engagers), "watchers": 0, "impression": reach, "like": engagers}
    people |= dict.fromkeys(("measured_players", "completers", "non_completers"), 0)
    return {
        "content_id": content,
        "actions": {"impression": 2 * reach, "like": engagers},
        "impressions": 2 * reach,
        "reach": reach,
        "engagers": engagers,
        "engaged_reach": engaged_reach,
        "engagement_rate_by_reach": engaged_reach / reach,
        "watch_time_s": 0.0,
        "people": people,
        **more,
    }


def quality(model, positives, **people):
    about = {"label": "engage_24h", "trained_at": silver_rows.instant("1 00:00"), "protocol": "p", "segment": "all"}
    figures = {"value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "rows": 90, "positives": positives}
    return {"model": model, "metric": "brier", **about, **figures, "people": people}


def ranking(model, users):
    about = {"settings": "{}", "protocol": "p", "segment": "all", "metric": "ndcg", "k": 10, "is_published": False}
    return {"model": model, **about, "value": 0.1, "ci_low": 0.0, "ci_high": 0.2, "users": users}


@pytest.fixture
def made(warehouse):
    """Two releases of the same exact figures, of which none is published."""
    for release in (FIRST, SECOND):
        publishing.open_release(warehouse, AS_OF, 1)
        write(
            warehouse, release, PROFILES, profile("many", 90, 40, 30), profile("few", 90, 7, 3), profile("4", 4, 1, 1)
        )
        write(warehouse, release, LISTS, ranking("als", 30), ranking("als - other", 4))
        write(
            warehouse,
            release,
            QUALITY,
            quality("logistic", 40, everyone=30, engaged=20, unengaged=30),
            quality("base_rate", 4, everyone=30, engaged=4, unengaged=30),
            quality("other", 4, everyone=4, engaged=4, unengaged=4),
        )
        record(warehouse, run(release, *PUBLISHED))
    return warehouse


def rows(warehouse, table, release):
    return warehouse.read(table).where(F.col("release_id") == release).drop("release_id")


def snapshot(warehouse, release):
    return {str(t): sorted(map(str, rows(warehouse, t, release).collect())) for t in PUBLISHED}


def publish(settings, release, *more):
    argv = ["--env", "local", "--set", f"warehouse={settings.warehouse}", *more, "--release", release]
    return run_job(publish_release.main, argv, interval=False)


def test_a_release_is_exact_until_it_is_published_and_then_tells_nothing_of_few_people(settings, made):
    before = snapshot(made, SECOND)
    assert publish(settings, FIRST) == 0
    assert snapshot(made, SECOND) == before

    figures = ("impressions", "reach", "engagers", "engaged_reach", "engagement_rate_by_reach", "watch_time_s")
    told = {r["content_id"]: r.asDict() for r in rows(made, PROFILES, FIRST).collect()}
    assert {name: [told[name][figure] for figure in figures] for name in told} == {
        "many": [180, 90, 40, 30, 30 / 90, 0.0],
        "few": [180, 90, 7, None, None, 0.0],
        "4": [None] * 6,
    }
    assert {name: (row["actions"], row["suppressed_cells"]) for name, row in told.items()} == {
        "many": ({"impression": 180, "like": 40}, 0),
        "few": ({"impression": 180, "like": 7}, 2),
        "4": (None, 7),
    }
    assert {row["people"] for row in told.values()} == {None}
    lists = {r["model"]: (r["users"], r["value"], r["ci_low"]) for r in rows(made, LISTS, FIRST).collect()}
    assert lists == {"als": (30, 0.1, 0.0), "als - other": (None, None, None)}
    models = {r["model"]: (r["rows"], r["positives"], r["value"]) for r in rows(made, QUALITY, FIRST).collect()}
    assert models == {"logistic": (90, 40, 0.5), "base_rate": (90, None, None), "other": (None, None, None)}

    hidden = made.read(ops.AUDITS).where("rule LIKE 'cells suppressed for being about fewer than 5 people'")
    counted = {(r["table"], r["place"]): (r["observed"], r["passed"]) for r in hidden.collect()}
    assert counted == {
        (str(PROFILES), FIRST): (9, True),
        (str(LISTS), FIRST): (4, True),
        (str(QUALITY), FIRST): (4 + 5, True),
    }


def test_a_run_that_died_before_the_release_row_is_published_by_the_next_one_as_it_was(settings, made):
    assert publish(settings, SECOND) == 0
    for table in PUBLISHED[:2]:
        hide_in_release(made, table, made.read(table).where(F.col("release_id") == FIRST), FIRST, 5)
    half_way = {str(table): made.version(table) for table in PUBLISHED}
    assert publish(settings, FIRST) == 0
    # What was hidden is not written again.
    assert [made.version(table) - half_way[str(table)] for table in PUBLISHED] == [0, 0, 1]
    assert snapshot(made, FIRST) == snapshot(made, SECOND)
    assert releases.newest(made).tables == {str(table): FIRST for table in PUBLISHED}


def test_with_one_person_enough_all_is_told(settings, made):
    exact = {str(t): rows(made, t, FIRST).drop("people", "suppressed_cells").collect() for t in PUBLISHED}
    assert publish(settings, FIRST, "--set", "privacy.min_cell_people=1") == 0
    for table in PUBLISHED:
        told = rows(made, table, FIRST)
        assert sorted(map(str, told.drop("people", "suppressed_cells").collect())) == sorted(
            map(str, exact[str(table)])
        )
        assert {row["suppressed_cells"] for row in told.select("suppressed_cells").collect()} == {0}


@pytest.fixture
def measured(spark, settings, warehouse):
    """Return a function: fewest people -> (reach by content, dau by segment, cells suppressed by table)."""
    seen = [("c1", n) for n in range(12)] + [("c2", n) for n in range(3)]
    events = [{"user": f"u{n}x", "content_id": content, "at": "2 10:00"} for content, n in seen]
    where = {"event_date": [DAY], "platform": ["feed"]}
    warehouse.replace(silver.INTERACTIONS, silver_rows.interactions(spark, events), where)
    people = [
        {"user": f"u{n}x", "attributes": {"region": "north" if n < 4 else "south"}, "valid_from": "1 00:00"}
        for n in range(12)
    ]
    warehouse.replace(silver.USERS, silver_rows.users(spark, people), {"platform": ["feed"]})

    def measure(fewest):
        argv = ["--env", "local", "--date", DAY.isoformat(), "--set", "platforms=[feed]"]
        argv += ["--set", f"warehouse={settings.warehouse}", "--set", f"privacy.min_cell_people={fewest}"]
        assert run_job(measure_audience.main, argv) == 0
        reach = {r["content_id"]: r["reach"] for r in warehouse.read(activity.CONTENT_DAILY).collect()}
        days = warehouse.read(activity.AUDIENCE_DAILY).where(F.col("event_date") == F.lit(DAY))
        audits = warehouse.read(ops.AUDITS).where(f"rule LIKE 'cells suppressed % fewer than {fewest} %'").collect()
        tables = {str(t): t for t in (activity.CONTENT_DAILY, activity.AUDIENCE_DAILY)}
        hidden = {r["table"]: r["observed"] for r in audits}
        for name, table in tables.items():
            stored = warehouse.read(table).agg(F.sum("suppressed_cells")).head()[0]
            assert hidden[name] == stored
        return reach, {r["segment"]: r["dau"] for r in days.collect()}, hidden

    return measure


@pytest.mark.slow
def test_a_day_is_audited_while_exact_and_stored_without_small_cells_and_anew_with_another_threshold(measured):
    reach, dau, hidden = measured(5)
    assert reach == {"c1": 12, "c2": None}
    # South has eight, but beside everybody's twelve that would tell the four of the north.
    assert dau == {"all": 12, "region=north": None, "region=south": None}
    assert all(count > 0 for count in hidden.values())
    reach, dau, hidden = measured(4)
    assert (reach, dau) == ({"c1": 12, "c2": None}, {"all": 12, "region=north": 4, "region=south": 8})
    reach, dau, hidden = measured(1)
    assert (reach["c2"], set(hidden.values())) == (3, {0.0})


WAS_REQUIRED = [
    (activity.CONTENT_DAILY, ("impressions", "reach", "engagers", "plays", "watch_time_s")),
    (activity.AUDIENCE_DAILY, ("dau", "wau_7d", "mau_28d")),
    (PROFILES, ("actions", "impressions", "reach", "watch_time_s")),
    (LISTS, ("value", "users")),
    (QUALITY, ("value", "rows", "positives")),
]


def test_tables_from_before_suppression_are_upgraded_in_place(spark, settings, warehouse):
    old = Warehouse(spark, settings.warehouse, "old")
    for table, names in WAS_REQUIRED:
        columns = [replace(c, nullable=False) if c.name in names else c for c in table.columns]
        kept = tuple(column for column in columns if column.name not in ("people", "suppressed_cells"))
        old.ensure(replace(table, columns=kept))
    argv = ["--env", "local", "--set", f"warehouse={settings.warehouse}"]
    assert run_job(upgrade_warehouse.main, argv, interval=False) == 0
    for table, row in zip(PUBLISHED, ({}, ranking("als", None), quality("logistic", None)), strict=True):
        write(warehouse, FIRST, table, {column.name: None for column in table.columns if column.nullable} | row)
        assert warehouse.read(table).count() == 1
    day = {"event_date": DAY, "platform": "feed", "content_id": "c1", "segment": "all", "is_complete": False}
    for table in (activity.CONTENT_DAILY, activity.AUDIENCE_DAILY):
        warehouse.replace(table, warehouse.frame(table, [day]), {"event_date": [DAY], "platform": ["feed"]})
        assert warehouse.read(table).where("suppressed_cells IS NULL").count() == 1
