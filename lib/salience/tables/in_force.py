"""When readers saw which release's rows of a snapshot table, as ops.releases tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import inf

from pyspark.sql import functions as F

from salience.tables import ops
from salience.tables.contract import Table
from salience.tables.releases import deleted
from salience.tables.warehouse import Warehouse

_EPOCH, _DAY_US = datetime(1970, 1, 1, tzinfo=UTC), 86_400_000_000


@dataclass(frozen=True)
class InForce:
    """Which release's rows readers saw in [since, until), UTC."""

    release_id: str
    since: datetime
    until: datetime


def first_kept_day(warehouse: Warehouse, in_force: Mapping[date, InForce]) -> date:
    """Return the day after the last one of `in_force_by_day` whose rows are gone, as their release was old."""
    gone = deleted(warehouse)
    return max((day + timedelta(days=1) for day, one in in_force.items() if one.release_id in gone), default=date.min)


def in_force_by_day(warehouse: Warehouse, table: Table) -> dict[date, InForce]:
    """Return which rows of a snapshot table readers saw for the 24 hours, or less, that end on each UTC day.

    That is the day after they came into force: by publishing, or by a rollback. Days on which nothing new came into
    force, or nothing that lasted, have none; of several on one day it is the last.
    """
    if not warehouse.exists(ops.RELEASES):
        return {}
    shown, at = F.try_element_at("tables", F.lit(str(table))), F.unix_micros("published_at")
    rows = warehouse.read(ops.RELEASES).orderBy("release_seq").select(shown, at).collect()
    changes = [row for before, row in pairwise([(None, 0), *map(tuple, rows)]) if row[0] != before[0]]
    found = {}
    for (release_id, since), (_, until) in pairwise([*changes, (None, inf)]):
        if release_id is not None:
            first, last = (_EPOCH + timedelta(microseconds=us) for us in (since, min(until, since + _DAY_US)))
            found[first.date() + timedelta(days=1)] = InForce(release_id, first, last)
    return found
