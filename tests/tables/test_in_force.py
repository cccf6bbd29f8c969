from datetime import UTC, date, datetime

import pytest
from tests.snapshots import LISTS

from salience.tables import ops
from salience.tables.in_force import InForce, in_force_by_day

pytestmark = pytest.mark.integration


def test_a_table_is_in_force_until_others_are_or_a_day_has_gone_by_and_the_last_of_a_day_counts(warehouse):
    def at(day, hour):
        return datetime(2026, 11, day, hour, tzinfo=UTC)

    def row(seq, published_at, tables):
        named = {"release_seq": seq, "release_id": tables.get("gold.recommendations", "other"), "tables": tables}
        filled = {"models": {}, "inputs": {}, "action": "publish", "run_id": "a run", "published_at": published_at}
        return named | filled

    lists = "gold.recommendations"
    published = [
        (at(2, 5), {"gold.user_profiles": "p"}),
        (at(3, 5), {lists: "a"}),
        (at(3, 9), {lists: "b"}),
        (at(4, 4), {lists: "c"}),
        (at(4, 12), {lists: "c", "gold.user_profiles": "p"}),
        (at(7, 5), {lists: "b"}),
        (at(7, 20), {"gold.user_profiles": "p"}),
        (at(9, 0), {lists: "d"}),
    ]
    assert in_force_by_day(warehouse, LISTS) == {}
    warehouse.append_rows(ops.RELEASES, [row(n, *told) for n, told in enumerate(published, 1)])
    assert in_force_by_day(warehouse, LISTS) == {
        date(2026, 11, 4): InForce("b", at(3, 9), at(4, 4)),
        date(2026, 11, 5): InForce("c", at(4, 4), at(5, 4)),
        date(2026, 11, 8): InForce("b", at(7, 5), at(7, 20)),
        date(2026, 11, 10): InForce("d", at(9, 0), at(10, 0)),
    }
