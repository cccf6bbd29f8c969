"""A platform's datasets are cleaned at the same time, as far as they do not wait for one another."""

from datetime import date
from threading import Event

import pytest
from tests.feed import DAYS, CrashError, Platform, content, event, user

from salience.interactions.cleaning import Source
from salience.interactions.platform import clean_platform
from salience.tables import bronze, silver

DAY = DAYS[0]


@pytest.fixture
def feed(spark, tmp_path):
    feed = Platform(spark, tmp_path)
    feed.deliver(DAY, user("ann", analysed=False), user("bob"), dataset="users")
    feed.deliver(DAY, event("e1", "02T10:00:00", uid="ann"), event("e2", "02T10:00:00", uid="bob"))
    return feed


def clean(feed, say=lambda _: None, note=lambda *_: None):
    done = []
    source = Source(str(feed.logs), feed.mapping, feed.key)
    clean_platform(feed.warehouse, source, [date.fromisoformat(DAY)], feed.settings, say, note, done.append)
    return done


@pytest.mark.integration
def test_events_are_read_while_people_are_settled_and_judged_by_what_these_say(feed):
    said, events_are_read = [], Event()

    def say(line):
        said.append(line)
        if line == "taking feed/interactions into bronze":
            events_are_read.set()
        if line == "settling feed/users in silver":
            assert events_are_read.wait(60)

    assert len(clean(feed, say)) == 3
    assert said.index("settling feed/users in silver") < said.index("judging feed/interactions")
    assert feed.excluded() == {("e1", "consent")}
    assert feed.accepted() == {("e2", DAY)}


@pytest.mark.integration
def test_events_are_not_taken_where_it_cannot_be_settled_who_refuses_and_other_datasets_are(feed):
    def crash(table, commit):
        if table is silver.USERS:
            raise CrashError

    feed.deliver(DAY, content("p1"), dataset="contents")
    with pytest.raises(CrashError):
        clean(feed, note=crash)
    assert not feed.warehouse.exists(bronze.EVENTS) or feed.warehouse.read(bronze.EVENTS).isEmpty()
    assert feed.warehouse.read(silver.CONTENTS).count() == 1
    clean(feed)
    assert feed.excluded() == {("e1", "consent")}
