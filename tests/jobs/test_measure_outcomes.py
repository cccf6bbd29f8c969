from datetime import timedelta

import pytest
from tests import silver_rows
from tests.silver_rows import user
from tests.snapshots import AS_OF, FIRST, LISTS, SECOND, record, run, write

import measure_outcomes
from salience.job import run_job
from salience.tables import ops, releases, silver
from salience.tables.outcomes import OUTCOMES

pytestmark = pytest.mark.integration

PEOPLE = [f"{arm}{n}" for arm in "ph" for n in range(4)]
DAY = AS_OF + timedelta(days=1)


def entry(name, rank, content, arm):
    return {"user_id": user(name), "rank": rank, "content_id": content, "arm": arm}


def lists(content):
    """Ranks 1 and 2 for eight people, half of them held out, of `content` and of what nobody touches."""
    arms = {"p": "personalised", "h": "held_out"}
    return [entry(name, rank, c, arms[name[0]]) for name in PEOPLE for rank, c in ((1, content), (2, "untouched"))]


def liked(name, content, day):
    return {"user": name, "content_id": content, "action": "like", "at": f"{day} 10:00"}


def settle(spark, warehouse, day, *events):
    frame = silver_rows.interactions(spark, events)
    where = {"event_date": [day], "platform": ["feed"]}
    warehouse.replace(silver.INTERACTIONS, frame, where, {"platform": "feed", "event_days": [day.isoformat()]})


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


def test_a_day_is_judged_by_the_release_of_the_day_before_and_again_once_its_events_change(act, spark, warehouse):
    settle(spark, warehouse, AS_OF, *[liked(name, "a", AS_OF.day) for name in PEOPLE])
    happened = [
        liked("p0", "a", DAY.day),
        liked("p1", "a", DAY.day),
        liked("p2", "b", DAY.day),
        liked("h0", "b", DAY.day),
    ]
    settle(spark, warehouse, DAY, *happened)
    for _ in range(2):
        releases.open_release(warehouse, AS_OF, 1)
    write(warehouse, FIRST, LISTS, *lists("a"))
    write(warehouse, SECOND, LISTS, *lists("b"), {"user_id": user("of old"), "rank": 1})
    record(warehouse, run(FIRST, LISTS), run(SECOND, LISTS))
    assert act(DAY) == (0, [])
    releases.publish(warehouse, FIRST, 1)
    by_first = [(DAY, FIRST, "held_out", 4, 0, 1, None), (DAY, FIRST, "personalised", 4, 2, 3, 0.5)]
    assert act(DAY) == (0, by_first)
    releases.publish(warehouse, SECOND, 1)
    by_second = [(DAY, SECOND, "held_out", 4, 1, 1, None), (DAY, SECOND, "personalised", 4, 1, 3, 0.5)]
    assert act(AS_OF) == (0, by_first)
    assert act(DAY) == (0, by_second)

    settle(spark, warehouse, DAY, *happened, liked("h1", "b", DAY.day))
    later = DAY + timedelta(days=1)
    settle(spark, warehouse, later, liked("p0", "b", later.day))
    corrected = [(DAY, SECOND, "held_out", 4, 2, 2, None), (DAY, SECOND, "personalised", 4, 1, 3, 0.25)]
    assert act(later) == (0, corrected)
    audited = warehouse.read(ops.AUDITS).where(f"table = '{OUTCOMES}' AND rule LIKE 'recommended lost%'")
    assert audited.where("observed <> 0").isEmpty() and not audited.isEmpty()


def test_figures_about_few_people_are_hidden_and_a_day_without_events_before_it_is_refused(
    act, spark, warehouse, capsys
):
    settle(spark, warehouse, DAY, *[liked(name, "a", DAY.day) for name in PEOPLE])
    releases.open_release(warehouse, AS_OF, 1)
    write(warehouse, FIRST, LISTS, *lists("a"))
    record(warehouse, run(FIRST, LISTS))
    releases.publish(warehouse, FIRST, 1)
    hidden = [(DAY, FIRST, arm, None, None, None, None) for arm in ("held_out", "personalised")]
    assert act(DAY, "privacy.min_cell_people=5") == (0, hidden)
    assert act(AS_OF)[0] == 2
    told = f"measure_outcomes: there are no interactions up to {AS_OF}: run jobs/clean_interactions.py for that time\n"
    assert capsys.readouterr().err.endswith(told)
