"""What deliveries of contents, people, campaigns, costs, ... end in: their counts, their sums, and who refuses."""

from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.conftest import CONF
from tests.feed import DAYS, CrashError, Platform, content, crash, event, user
from tests.logs import deliver_as_mapped

from salience.sources.mapping import load_mapping
from salience.tables import bronze, ops, silver

pytestmark = pytest.mark.integration

NOT_UTF8 = b"nor\xffth"
CONTRADICT = "rows that contradict another of the same key in their delivery"


@pytest.fixture
def feed(spark, tmp_path) -> Platform:
    return Platform(spark, tmp_path)


@pytest.fixture
def shop(spark, tmp_path) -> Platform:
    return Platform(spark, tmp_path, mapping=load_mapping(CONF, "shop"))


def take(platform: Platform, dataset: str, day: str, *rows, **settings) -> tuple[int, ...]:
    """Deliver rows as mapped and take them; return how many were emitted, rejected, excluded, accepted."""
    deliver_as_mapped(platform.logs, platform.mapping, dataset, day, rows)
    (delivery,), counts = platform.clean(day, datasets=(dataset,), **settings)
    assert delivery.state == "taken", delivery.problem
    return tuple(counts[delivery.day][name] for name in ("emitted", "rejected", "excluded", "accepted"))


def told(platform: Platform, rule: str) -> list[tuple[str, float, bool]]:
    rows = platform.warehouse.read(ops.AUDITS).where(f"rule = '{rule}'").orderBy("audited_at")
    return [tuple(row) for row in rows.select("table", "observed", "passed").collect()]


def spent(amount: str, medium: str | None = "search", campaign: str | None = "c11") -> dict:
    return {"campaign": campaign, "medium": medium, "day": date(2026, 11, 1), "spent": Decimal(amount)}


def costs(platform: Platform) -> list[tuple]:
    columns = ("campaign_id", "channel", "currency", "cost", "valid_from", "valid_to")
    rows = platform.warehouse.read(silver.COSTS).orderBy("valid_from", "channel", "currency").collect()
    return [
        tuple(row[name].day if name[:5] == "valid" and row[name] else row[name] for name in columns) for row in rows
    ]


def test_costs_of_one_campaign_channel_and_day_add_up_within_a_delivery_and_copies_count_once(shop):
    lines = (spent("1.10"), spent("2.20"), spent("2.20"), spent("5.00", None), spent("6.00", None))
    assert take(shop, "costs", DAYS[0], *lines, spent("7", campaign=None)) == (6, 1, 1, 4)
    assert take(shop, "costs", DAYS[1], spent("3.30"), spent("1.00")) == (2, 0, 0, 2)
    assert costs(shop) == [
        ("c11", None, "CNY", Decimal("11.0000"), 2, None),
        ("c11", "search", "CNY", Decimal("3.3000"), 2, 3),
        ("c11", "search", "CNY", Decimal("4.3000"), 3, None),
    ]
    assert told(shop, CONTRADICT) == []


def test_costs_in_two_currencies_are_never_added_up(spark, tmp_path):
    mapping = load_mapping(CONF, "shop")
    part = mapping.datasets["costs"]
    columns = part.columns | {"currency": "CASE WHEN medium = 'abroad' THEN 'HKD' END", "channel": "'all'"}
    changed = mapping.model_copy(update={"costs": part.model_copy(update={"columns": columns})})
    shop = Platform(spark, tmp_path, mapping=changed)
    lines = (spent("1"), spent("2", "feed"), spent("4", "abroad"), spent("9", "abroad"))
    assert take(shop, "costs", DAYS[0], *lines) == (4, 0, 0, 4)
    assert costs(shop) == [
        ("c11", "all", "CNY", Decimal("3.0000"), 2, None),
        ("c11", "all", "HKD", Decimal("13.0000"), 2, None),
    ]


def test_costs_beyond_any_number_that_is_kept_are_null_and_stop_no_run(spark, tmp_path):
    mapping = load_mapping(CONF, "shop")
    part = mapping.datasets["costs"]
    columns = part.columns | {"cost": "CAST(spent AS decimal(18,4)) * 10000"}
    shop = Platform(
        spark, tmp_path, mapping=mapping.model_copy(update={"costs": part.model_copy(update={"columns": columns})})
    )
    assert take(shop, "costs", DAYS[0], spent("9999999999"), spent("9999999998")) == (2, 0, 0, 2)
    assert costs(shop) == [("c11", "search", "CNY", None, 2, None)]


def test_rows_that_lose_to_another_of_their_key_are_counted_as_excluded_and_contradictions_are_audited(feed):
    rows = (content("p1"), content("p1"), content("p1", "z"), content("p2"), content("p2", "z"), content(None))
    assert take(feed, "contents", DAYS[0], *rows) == (6, 1, 3, 2)
    assert told(feed, CONTRADICT) == [("bronze.contents", 2.0, True)]
    assert feed.warehouse.read(silver.CONTENTS).count() == 2
    assert take(feed, "contents", DAYS[1], content("p1"), content("p1")) == (2, 0, 1, 1)
    assert told(feed, CONTRADICT) == [("bronze.contents", 2.0, True)]


def test_copies_of_identifiers_are_counted_as_excluded_too(spark, tmp_path):
    articles = Platform(spark, tmp_path, mapping=load_mapping(CONF, "articles"))
    rows = [
        {"openid": who, "phone_sha256": text} for who, text in (("o1", "a"), ("o1", "a"), ("o1", "b"), ("o2", None))
    ]
    assert take(articles, "identifiers", DAYS[0], *rows) == (4, 1, 1, 2)
    assert told(articles, CONTRADICT) == []


def known(feed: Platform) -> list[tuple]:
    """Return person -> region, consents and the days of each version; people in the order of their first one."""
    rows = feed.warehouse.read(silver.USERS).orderBy("valid_from", "user_id").collect()
    return [
        (
            (row["attributes"] or {}).get("region"),
            row["consent_personalised"],
            row["consent_analysis"],
            row["valid_from"].day,
        )
        for row in rows
    ]


def deliver_users(feed: Platform, day: str, *rows) -> None:
    """Deliver people; a region may be bytes."""
    feed.deliver(day, *rows_as_bytes(rows), dataset="users")
    file = feed.logs / "feed" / "users" / f"dt={day}" / "part-0.parquet"
    table = pq.read_table(file)
    place = table.column_names.index("region")
    pq.write_table(table.set_column(place, "region", table["region"].combine_chunks().view(pa.string())), file)


def rows_as_bytes(rows) -> list[dict]:
    return [{**row, "region": r if isinstance(r := row["region"], bytes) else r.encode()} for row in rows]


def test_a_refusal_takes_effect_though_its_row_is_rejected_and_nothing_else_of_that_row_does(feed):
    deliver_users(feed, DAYS[0], user("u-ann"))
    deliver_users(feed, DAYS[1], user("u-ann", analysed=False) | {"region": NOT_UTF8})
    deliver_users(feed, DAYS[2], user("u-ann") | {"region": NOT_UTF8, "personalised": False})
    deliver_users(feed, DAYS[3], user("u-ann") | {"region": "south"})
    feed.deliver(DAYS[1], event("e1", "02T10:00:00"), event("e2", "03T10:00:00"))
    _, counts = feed.clean(*DAYS, datasets=("users",))
    names = ("emitted", "rejected", "excluded", "accepted")
    counted = [tuple(of_day[name] for name in names) for _, of_day in sorted(counts.items())]
    assert counted == [(1, 0, 0, 1), (1, 1, 0, 0), (1, 1, 0, 0), (1, 0, 0, 1)]
    feed.clean(*DAYS, datasets=("interactions",))
    assert known(feed) == [
        ("north", True, True, 2),
        ("north", True, False, 3),
        ("north", False, False, 4),
        ("south", True, True, 5),
    ]
    assert feed.excluded() == {("e2", "consent")}


def test_who_is_only_known_by_a_rejected_refusal_refuses_and_who_cannot_be_told_refuses_nothing(feed):
    nobody = user(None, analysed=False), user(" u-cat", analysed=False)
    deliver_users(feed, DAYS[0], user("bob", analysed=False) | {"region": NOT_UTF8}, *nobody)
    feed.clean(DAYS[0], datasets=("users",))
    assert known(feed) == [(None, None, False, 2)]


def test_a_rejected_refusal_beside_a_row_that_passes_counts_and_a_rejected_grant_does_not(feed):
    bad = {"region": NOT_UTF8}
    deliver_users(feed, DAYS[0], user("bob"), user("bob", analysed=False) | bad)
    deliver_users(feed, DAYS[1], user("bob") | bad)
    feed.clean(*DAYS[:2], datasets=("users",))
    assert known(feed) == [("north", True, False, 2)]


def test_two_refusals_in_two_rows_of_one_person_both_count(feed):
    deliver_users(feed, DAYS[0], user("bob", analysed=False), user("bob") | {"personalised": False})
    feed.clean(DAYS[0], datasets=("users",))
    assert known(feed) == [("north", False, False, 2)]


@pytest.mark.parametrize("state", ["held", "refused"])
def test_a_delivery_of_people_that_is_not_taken_says_that_refusals_in_it_have_no_effect_yet(feed, state):
    feed.deliver(DAYS[0], user("bob", analysed=False), *[user(None)] * 9, dataset="users")
    if state == "refused":
        (feed.logs / "feed" / "users" / f"dt={DAYS[0]}" / "part-1.parquet").touch()
    thresholds = feed.settings.thresholds.model_copy(update={"min_rows": 5})
    ((delivery,), _) = feed.clean(DAYS[0], datasets=("users",), thresholds=thresholds)
    assert delivery.state == state
    assert delivery.problem.endswith("; until it is taken, refusals of consent in it have no effect")


def test_people_whom_a_dead_run_left_in_bronze_are_settled_though_the_next_delivery_is_held(feed):
    feed.deliver(DAYS[0], user("u-ann", analysed=False), dataset="users")
    feed.deliver(DAYS[0], event("e1", "02T10:00:00"))
    with pytest.raises(CrashError):
        feed.clean(DAYS[0], into=feed.hooked(behind=(bronze.USERS, crash)), datasets=("users",))
    feed.deliver(DAYS[1], user(None), user("bob"), dataset="users")
    thresholds = feed.settings.thresholds.model_copy(update={"min_rows": 1})
    ((held,), _) = feed.clean(DAYS[1], datasets=("users",), thresholds=thresholds)
    assert held.state == "held"
    feed.clean(DAYS[0], datasets=("interactions",))
    assert feed.excluded() == {("e1", "consent")} and feed.accepted() == set()
