from datetime import UTC, datetime, timedelta

import pytest
from tests import silver_rows
from tests.silver_rows import user
from tests.snapshots import AS_OF, FIRST, LISTS, record, run, write

import measure_outcomes
from salience.job import run_job
from salience.tables import ops, publishing, silver
from salience.tables.in_force import in_force_by_day
from salience.tables.outcomes import OUTCOMES

pytestmark = pytest.mark.integration

PEOPLE = [f"{arm}{n}" for arm in "ph" for n in range(4)]


def entry(name, rank, content):
    arm = {"p": "personalised", "h": "held_out"}[name[0]]
    return {"user_id": user(name), "rank": rank, "content_id": content, "arm": arm}


def liked(name, content, at):
    return {"user": name, "content_id": content, "action": "like", "at": at}


def settle(spark, warehouse, *events):
    frame = silver_rows.interactions(spark, events)
    days = sorted({event["at"].date() for event in events})
    note = {"platform": "feed", "event_days": [day.isoformat() for day in days]}
    warehouse.replace(silver.INTERACTIONS, frame, {"event_date": days, "platform": ["feed"]}, note)


@pytest.fixture
def act(settings, warehouse):
    """Measure a day; return the exit code and, by day, release and arm, what segment `all` says."""

    def job(day, *more):
        argv = ["--env", "local", "--set", f"warehouse={settings.warehouse}", "--set", "platforms=[feed]"]
        asked = ("privacy.min_cell_people=1", "recommend.holdout.min_people=4", *more)
        code = run_job(measure_outcomes.main, [*argv, "--date", str(day), *(x for s in asked for x in ("--set", s))])
        columns = ("event_date", "release_id", "arm", "served", "engaged", "engagers", "engager_rate_less_held_out")
        rows = warehouse.read(OUTCOMES).where("segment = 'all'").select(*columns).orderBy("event_date", "arm")
        return code, [tuple(row) for row in rows.collect()]

    return job


@pytest.fixture
def published(warehouse):
    """When lists of `a`, and of what nobody touches, were published for eight people, half of them held out."""
    publishing.open_release(warehouse, AS_OF, 1)
    old = {"user_id": user("of an earlier version"), "rank": 1}
    lists = [entry(name, rank, content) for name in PEOPLE for rank, content in ((1, "a"), (2, "untouched"))]
    write(warehouse, FIRST, LISTS, *lists, old)
    record(warehouse, run(FIRST, LISTS))
    publishing.publish(warehouse, FIRST, 1)
    (in_force,) = in_force_by_day(warehouse, LISTS).values()
    assert in_force.since <= datetime.now(UTC) < in_force.until == in_force.since + timedelta(days=1)
    return in_force.since


def test_the_day_after_lists_came_into_force_tells_what_they_met_and_again_once_its_events_change(
    act, spark, warehouse, published
):
    def after(hours):
        return published + timedelta(hours=hours)

    day = after(24).date()
    before = [liked(name, "a", after(-1)) for name in PEOPLE]
    happened = [
        liked("p0", "a", after(1)),
        liked("p1", "a", after(23)),
        liked("p2", "b", after(2)),
        liked("h0", "b", after(3)),
    ]
    settle(spark, warehouse, *before, *happened, liked("h3", "a", after(25)))
    assert act(published.date()) == (0, [])
    found = [(day, FIRST, "held_out", 4, 0, 1, None), (day, FIRST, "personalised", 4, 2, 3, 0.5)]
    assert act(day) == (0, found)

    settle(spark, warehouse, *before, *happened, liked("h1", "a", after(2)))
    corrected = [(day, FIRST, "held_out", 4, 1, 2, None), (day, FIRST, "personalised", 4, 2, 3, 0.25)]
    assert act(day + timedelta(days=1)) == (0, corrected)
    audited = warehouse.read(ops.AUDITS).where(f"table = '{OUTCOMES}' AND rule LIKE 'recommended lost%'")
    assert audited.where("observed <> 0").isEmpty() and not audited.isEmpty()


def test_figures_about_few_people_are_hidden_and_a_day_without_events_before_it_is_refused(
    act, spark, warehouse, published, capsys
):
    settle(spark, warehouse, *[liked(name, "a", published + timedelta(hours=1)) for name in PEOPLE])
    day = (published + timedelta(days=1)).date()
    hidden = [(day, FIRST, arm, None, None, None, None) for arm in ("held_out", "personalised")]
    assert act(day, "privacy.min_cell_people=5") == (0, hidden)
    assert act(AS_OF)[0] == 2
    told = f"measure_outcomes: there are no interactions up to {AS_OF}: run jobs/clean_interactions.py for that time\n"
    assert capsys.readouterr().err.endswith(told)
