"""Deliveries and typed rows that several files of tests start from."""

from datetime import date

import pytest
from pyspark.sql import DataFrame
from tests.logs import deliver, deliver_as_mapped, feed_event
from tests.sources.feed_days import DAYS, FEED
from tests.sources.rows import DAY

from salience.sources.deliveries import find_deliveries
from salience.sources.fit import require_fitting
from salience.sources.mapping import SourceMapping
from salience.sources.typed import typed_rows


@pytest.fixture
def logs(tmp_path):
    """Three good deliveries of one event each, e1 to e3; a test spoils the one in the middle."""
    for n, day in enumerate(DAYS, 1):
        deliver(tmp_path, day.isoformat(), [feed_event(log_id=f"e{n}", ts=f"{day}T10:00:00Z")])
    return tmp_path


@pytest.fixture
def look(spark, logs):
    def at(mapping=FEED, days=DAYS, dataset="interactions"):
        return find_deliveries(spark, str(logs), mapping, dataset, days)

    return at


@pytest.fixture
def typed(spark, tmp_path):
    def read(mapping: SourceMapping, rows: list) -> DataFrame:
        require_fitting(spark, mapping)
        deliver_as_mapped(tmp_path, mapping, "interactions", DAY, rows)
        found = find_deliveries(spark, str(tmp_path), mapping, "interactions", [date.fromisoformat(DAY)])
        assert [delivery.problem for delivery in found] == [None]
        return typed_rows(spark, mapping, "interactions", found)

    return read
