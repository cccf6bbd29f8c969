"""Runs that clean at the same time end in the same tables as one after the other, and no older reading wins."""

import pytest
from tests.feed import DAYS, EVENTS_ONLY, CrashError, Platform, crash, event, user

from salience.tables import bronze, ops, silver
from salience.threads import side_by_side

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.trial
def test_two_platforms_on_the_same_day_and_two_days_of_one_platform_at_once_end_as_one_after_the_other(feed):
    other = Platform(feed.spark, feed.folder, platform="other")
    for platform in (feed, other):
        platform.deliver(DAYS[0], event("e1", "02T10:00:00"), event("e2", "02T11:00:00", uid="bob"))
        platform.deliver(DAYS[2], event("e3", "04T10:00:00", uid="bob"), event("e1", "02T10:00:00"))
        platform.deliver(DAYS[0], user("bob", analysed=False), dataset="users")
        platform.deliver(DAYS[2], user("u-ann"), user("bob"), dataset="users")
    side_by_side(lambda: feed.clean(DAYS[0]), lambda: other.clean(DAYS[0]))
    side_by_side(lambda: feed.clean(DAYS[2]), lambda: other.clean(DAYS[2]))
    one_by_one = feed.at("one-by-one")
    one_by_one.clean(DAYS[0], DAYS[2])
    alone = one_by_one.copy("alone")
    other.at("one-by-one").clean(DAYS[0], DAYS[2])
    assert feed.rows() == one_by_one.rows()
    days_at_once = feed.at("days-at-once")
    side_by_side(lambda: days_at_once.clean(DAYS[0]), lambda: days_at_once.clean(DAYS[2], logs="same-logs"))
    assert days_at_once.rows() == alone.rows()


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param({"ahead": bronze.EVENTS}, id="judged", marks=pytest.mark.trial),
        pytest.param({"behind": bronze.EVENTS}, id="in bronze", marks=pytest.mark.trial),
        pytest.param({"ahead": silver.INTERACTIONS}, id="about to settle"),
    ],
)
def test_a_run_overtaken_by_a_corrected_delivery_leaves_nothing_of_its_older_reading(feed, moment):
    feed.deliver(DAYS[0], event("e0", "02T09:00:00"))
    feed.deliver(DAYS[1], event("old", "03T10:00:00"), event("e1", "02T10:00:00"), event("x", "never"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)

    def overtake() -> None:
        feed.deliver(DAYS[1], event("new", "03T10:00:00"), event("e1", "02T11:00:00"), event("e0", "02T09:00:00"))
        feed.clean(DAYS[1], logs="same-logs", datasets=EVENTS_ONLY)

    ((when, table),) = moment.items()
    (delivery,), _ = feed.clean(DAYS[1], into=feed.hooked(**{when: (table, overtake)}), datasets=EVENTS_ONLY)
    assert delivery.state == "taken" and delivery.rows == 3
    assert feed.accepted() == {("e0", DAYS[0]), ("new", DAYS[1]), ("e1", DAYS[1])}
    assert feed.rows() == feed.rebuilt(*DAYS[:2], datasets=EVENTS_ONLY)


@pytest.mark.trial
def test_a_run_that_is_overtaken_and_then_dies_is_healed_by_the_next_one(feed):
    feed.deliver(DAYS[0], event("old", "02T10:00:00"))

    def overtake() -> None:
        feed.deliver(DAYS[1], event("late", "02T11:00:00"))
        feed.clean(DAYS[1], logs="same-logs", datasets=EVENTS_ONLY)

    hooked = feed.hooked(ahead=(silver.INTERACTIONS, overtake), behind=(silver.INTERACTIONS, crash))
    with pytest.raises(CrashError):
        feed.clean(DAYS[0], into=hooked, datasets=EVENTS_ONLY)
    feed.clean("2026-12-01", datasets=EVENTS_ONLY)
    assert feed.accepted() == {("old", DAYS[0]), ("late", DAYS[1])}


@pytest.mark.parametrize(
    "table", [pytest.param(silver.REJECTED_EVENTS, marks=pytest.mark.trial), silver.EXCLUDED_EVENTS], ids=str
)
def test_what_a_run_that_was_overtaken_left_before_it_died_is_healed_by_any_other_day(feed, table):
    feed.deliver(DAYS[0], event("e0", "02T10:00:00"))
    feed.deliver(DAYS[1], event("e0", "02T10:00:00"), event("x", "never"), event("e1", "03T10:00:00"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)

    def overtake() -> None:
        feed.deliver(DAYS[1], event("e2", "03T11:00:00"))
        feed.clean(DAYS[1], logs="same-logs", datasets=EVENTS_ONLY)

    with pytest.raises(CrashError):
        feed.clean(DAYS[1], into=feed.hooked(ahead=(table, overtake), behind=(table, crash)), datasets=EVENTS_ONLY)
    assert not feed.warehouse.read(table).isEmpty()
    feed.clean("2026-12-01", datasets=EVENTS_ONLY)
    healed = feed.rows()
    assert healed == feed.rebuilt(*DAYS[:2], datasets=EVENTS_ONLY)
    versions = [feed.warehouse.version(one) for one in (silver.INTERACTIONS, table)]
    feed.clean("2026-12-01", datasets=EVENTS_ONLY)
    assert [feed.warehouse.version(one) for one in (silver.INTERACTIONS, table)] == versions


@pytest.mark.trial
def test_an_emptied_delivery_that_changes_nothing_does_not_take_another_runs_commit_for_its_own(feed):
    """It settles a day for a refused consent, from a reading that the other run made old."""
    feed.deliver(DAYS[1], event("e1", "03T10:00:00"), event("e2", "03T11:00:00", uid="bob"))
    feed.clean(DAYS[1], datasets=EVENTS_ONLY)
    feed.deliver(DAYS[0], user("u-ann", analysed=False), dataset="users")
    feed.clean(DAYS[0], datasets=("users",))
    feed.deliver(DAYS[3])

    def overtake() -> None:
        feed.deliver(DAYS[2], event("late", "03T12:00:00", uid="bob"))
        feed.clean(DAYS[2], logs="same-logs", datasets=EVENTS_ONLY)

    feed.clean(DAYS[3], into=feed.hooked(ahead=(bronze.EVENTS, overtake)), datasets=EVENTS_ONLY)
    assert feed.accepted() == {("e2", DAYS[1]), ("late", DAYS[2])}


@pytest.mark.trial
def test_the_counts_of_a_run_that_was_overtaken_are_those_of_the_verdicts_that_stand(feed):
    """The other run takes the delivery that the copy's winner comes with."""
    feed.deliver(DAYS[1], event("e1", "02T10:00:00"), event("e2", "03T10:00:00"), event("x", "never"))

    def overtake() -> None:
        feed.deliver(DAYS[0], event("e1", "02T10:00:00"))
        feed.clean(DAYS[0], logs="same-logs", datasets=EVENTS_ONLY)

    into = feed.hooked(ahead=(silver.INTERACTIONS, overtake))
    ((delivery,), counts) = feed.clean(DAYS[1], into=into, datasets=EVENTS_ONLY)
    assert feed.excluded() == {("e1", "duplicate")}
    names = ("emitted", "rejected", "excluded", "accepted")
    assert tuple(counts[delivery.day][name] for name in names) == (3, 1, 1, 1)
    audits = feed.warehouse.read(ops.AUDITS).where("run_id = 'hooked'").groupBy("table", "rule", "place").count()
    assert not audits.isEmpty() and audits.where("count > 1").isEmpty()


def test_people_who_refuse_while_events_are_settled_are_excluded_and_no_older_reading_of_people_wins(feed):
    feed.deliver(DAYS[1], event("e1", "03T10:00:00"), event("e2", "03T11:00:00", uid="bob"))
    feed.deliver(DAYS[0], user("u-ann", analysed=False), dataset="users")
    feed.deliver(DAYS[1], user("bob", analysed=False), dataset="users")

    def clean_people(day: str, **hooks) -> None:
        feed.clean(day, into=feed.hooked(**hooks), datasets=("users",))

    def both() -> None:
        clean_people(DAYS[0], ahead=(silver.USERS, lambda: clean_people(DAYS[1])))

    feed.clean(DAYS[1], into=feed.hooked(ahead=(silver.INTERACTIONS, both)), datasets=EVENTS_ONLY)
    assert feed.excluded() == {("e1", "consent"), ("e2", "consent")}
    assert feed.rows() == feed.rebuilt(*DAYS[:2])


@pytest.mark.trial
def test_what_was_odd_by_a_reading_that_another_run_made_old_is_not_told(feed):
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"), event("e9", "02T12:00:00"))
    feed.deliver(DAYS[1], event("e1", "02T11:00:00"), event("e2", "03T10:00:00"))
    feed.clean(DAYS[0], datasets=EVENTS_ONLY)

    def overtake() -> None:
        feed.deliver(DAYS[0], event("e9", "02T12:00:00"))
        feed.clean(DAYS[0], logs="same-logs", datasets=EVENTS_ONLY)

    into = feed.hooked(ahead=(silver.INTERACTIONS, overtake))
    ((delivery,), counts) = feed.clean(DAYS[1], into=into, datasets=EVENTS_ONLY)
    assert counts[delivery.day]["reused"] == 0
    audits = feed.warehouse.read(ops.AUDITS).where("run_id = 'hooked'")
    assert {row["rule"].split(":")[0] for row in audits.select("rule").collect()} == {"rows lost or made"}
