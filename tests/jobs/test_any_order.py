"""The tables end the same, in whatever order deliveries are cleaned."""

from datetime import date
from decimal import Decimal
from functools import partial
from itertools import pairwise

import pytest
from tests.conftest import CONF
from tests.feed import DAYS, EVENTS_OF_PEOPLE, Platform, deliver_four_days
from tests.logs import deliver_as_mapped

from salience.sources.mapping import load_mapping
from salience.tables import bronze, silver
from salience.threads import side_by_side

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.trial]


def orders(days: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return one order a day, first the given one: each day comes once at every place, once right after every other.

    A balanced Latin square of an even number of days: Williams (1949), Experimental designs balanced for the
    estimation of residual effects of treatments.
    """
    first = [place // 2 if place % 2 == 0 else len(days) - 1 - place // 2 for place in range(len(days))]
    named = {at: days[place] for place, at in enumerate(first)}
    return [tuple(named[(at + shift) % len(days)] for at in first) for shift in range(len(days))]


@pytest.mark.timeout(1800)
def test_four_days_in_any_order_end_as_one_run_over_all_of_them_and_as_a_run_day_by_day(feed):
    deliver_four_days(feed)
    feed.clean(*DAYS, datasets=EVENTS_OF_PEOPLE)
    whole = feed.rows()
    reasons = {reason for _, reason in feed.excluded()}
    assert reasons == {"consent", "duplicate", "bot", "double_tap"}
    filled = (bronze.EVENTS, bronze.USERS, silver.INTERACTIONS, silver.USERS)
    filled += (silver.REJECTED_EVENTS, silver.EXCLUDED_EVENTS)
    assert {name for name, rows in whole.items() if rows} == {str(table) for table in filled}
    balanced = orders(DAYS)
    assert balanced[0] == DAYS and len({pair for order in balanced for pair in pairwise(order)}) == 12

    def clean(order: tuple[str, ...]) -> None:
        node = feed.at("-".join(order))
        for day in order:
            node.clean(day, datasets=EVENTS_OF_PEOPLE)
        assert node.rows() == whole, order

    side_by_side(*(partial(clean, order) for order in balanced))


def shop_deliveries() -> dict[str, dict[str, list[dict]]]:
    """Return day -> dataset -> rows, with copies, contradictions, what a later day says otherwise, and bad ones."""
    campaign = {"campaign": "c1", "title": "spring", "medium": "search", "begins": date(2026, 11, 1)}
    spent = {"campaign": "c1", "medium": "search", "day": date(2026, 11, 1), "spent": Decimal("10.00")}
    item = {"item_id": 1, "seller_id": 9, "category_path": "a/b", "banned": False}
    test = {"test": "x", "user_id": 7, "group": "a", "assigned_ts": 1_793_500_000, "share": 0.5}
    return {
        DAYS[0]: {
            "contents": [item, item, item | {"item_id": None}],
            "users": [{"user_id": 7, "city_tier": "1", "analysed": True}],
            "assignments": [test, test | {"user_id": 8, "group": "b"}],
            "campaigns": [campaign],
            "costs": [spent, spent | {"spent": Decimal("5.00")}, spent],
            "blocklist": [{"item_id": 1, "why": "law", "since": 1_793_500_000}],
        },
        DAYS[1]: {
            "contents": [item | {"banned": True}, item | {"category_path": "c"}],
            "users": [{"user_id": 7, "city_tier": "2", "analysed": False}, {"user_id": 7, "analysed": True}],
            "assignments": [test | {"group": "b"}, test | {"share": 2.0}],
            "campaigns": [campaign | {"budget": Decimal("-1")}, campaign | {"title": "summer"}],
            "costs": [spent | {"spent": Decimal("11.00")}, spent | {"day": None}],
            "blocklist": [{"item_id": 1, "why": "law", "since": 1_793_500_000, "until": 1_793_600_000}],
        },
        DAYS[2]: {
            "contents": [item],
            "users": [{"user_id": 7, "city_tier": "1", "analysed": True}],
            "assignments": [test],
            "campaigns": [campaign],
            "costs": [spent],
            "blocklist": [{"seller_id": 9, "why": "fraud"}],
        },
    }


def test_every_other_dataset_ends_the_same_in_any_order_too(spark, tmp_path):
    shop = Platform(spark, tmp_path, mapping=load_mapping(CONF, "shop"))
    delivered = shop_deliveries()
    datasets = tuple(delivered[DAYS[0]])
    for day, by_dataset in delivered.items():
        for dataset, rows in by_dataset.items():
            folder = deliver_as_mapped(shop.logs, shop.mapping, dataset, day, rows)
            assert folder.name == f"p_date={day.replace('-', '')}"
    shop.clean(*delivered, datasets=datasets)
    expected = shop.hashes()
    tables = (silver.CONTENTS, silver.USERS, silver.ASSIGNMENTS, silver.CAMPAIGNS, silver.COSTS, silver.BLOCKLIST)
    versions = {table.name: shop.warehouse.read(table).count() for table in tables}
    assert versions == {"contents": 3, "users": 3, "assignments": 4, "campaigns": 3, "costs": 3, "blocklist": 3}

    def clean(order: tuple[str, ...]) -> None:
        node = shop.at("-".join(order))
        for day in order:
            node.clean(day, datasets=datasets)
        assert node.hashes() == expected, order

    first, second, third = delivered
    odd = ((first, third, second), (second, first, third), (third, second, first))  # each day at each place
    side_by_side(*(partial(clean, order) for order in odd))
