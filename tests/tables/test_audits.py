import math

import pytest
from tests.silver_rows import user
from tests.snapshots import AS_OF, CANDIDATES, FIRST, LISTS, SHORTFALLS, as_frame

from salience.errors import AuditError
from salience.tables import ops
from salience.tables.activity import CONTENT_DAILY
from salience.tables.audits import Audit, audit_days, audit_everyone_served, audit_full_lists, audit_snapshot, enforce

pytestmark = pytest.mark.integration

GOOD = Audit("gold.x", "rows too many", "here", 2, threshold=2)
BAD = Audit("gold.x", "rows lost", "feed/2026-11-02", 3)
WORSE = Audit("gold.y", "is empty", "there", 1)


@pytest.mark.parametrize(("observed", "passed"), [(1.9, True), (2, True), (2.1, False), (math.nan, False)])
def test_an_audit_passes_up_to_its_threshold(observed, passed):
    assert Audit("gold.x", "rule", "here", observed, threshold=2).passed is passed


def test_a_failed_audit_stops_the_job_with_rule_amount_and_place_of_each_failure(warehouse):
    with pytest.raises(AuditError) as caught:
        enforce(warehouse, [GOOD, BAD, WORSE])
    assert str(caught.value) == (
        "nothing was published: gold.x: rows lost: 3 (at most 0) in feed/2026-11-02; "
        "gold.y: is empty: 1 (at most 0) in there"
    )
    assert caught.value.exit_code == 3
    kept = warehouse.read(ops.AUDITS).select("run_id", "table", "rule", "observed", "threshold", "passed")
    assert sorted(map(tuple, kept.collect())) == [
        ("test", "gold.x", "rows lost", 3.0, 0.0, False),
        ("test", "gold.x", "rows too many", 2.0, 2.0, True),
        ("test", "gold.y", "is empty", 1.0, 0.0, False),
    ]


def test_audits_that_pass_are_recorded_and_stop_nothing(warehouse):
    enforce(warehouse, [GOOD])
    assert [row["passed"] for row in warehouse.read(ops.AUDITS).collect()] == [True]
    enforce(warehouse, [])


def failed(audits):
    return [(audit.rule, audit.observed) for audit in audits if not audit.passed]


def test_a_snapshot_with_a_key_twice_fails_and_says_how_many_rows_are_too_many(spark):
    once = as_frame(spark, LISTS, {"rank": 1}, {"rank": 2})
    assert failed(audit_snapshot(LISTS, once, FIRST)) == []
    twice = as_frame(spark, LISTS, {"rank": 1}, {"rank": 2}, {"rank": 2, "content_id": "c2"}, {"rank": 2})
    assert failed(audit_snapshot(LISTS, twice, FIRST)) == [("rows beyond one per platform, user_id, rank", 2)]


def test_days_with_a_key_twice_or_sums_that_differ_from_the_input_fail(spark):
    schema = "event_date date, platform string, content_id string, impressions long, plays long"
    rows = [(AS_OF, "feed", "c1", 3, 0), (AS_OF, "feed", "c2", 4, 1)]
    made = spark.createDataFrame(rows, schema)
    sums = {"impressions": 7, "plays": 1}
    assert failed(audit_days(CONTENT_DAILY, made, "here", sums)) == []
    lost = failed(audit_days(CONTENT_DAILY, made, "here", {"impressions": 9, "plays": 1}))
    assert lost == [("impressions lost or made: |sum - 9 in the input|", 2)]
    twice = spark.createDataFrame([*rows, (AS_OF, "feed", "c2", 0, 0)], schema)
    found = failed(audit_days(CONTENT_DAILY, twice, "here", sums))
    assert found == [("rows beyond one per event_date, platform, content_id", 1)]
    assert failed(audit_days(CONTENT_DAILY, made.limit(0), "here", {"impressions": 0})) == []


def test_an_empty_snapshot_fails_unless_its_contract_allows_none(spark):
    assert failed(audit_snapshot(LISTS, as_frame(spark, LISTS), FIRST)) == [("is empty", 1)]
    assert failed(audit_snapshot(SHORTFALLS, as_frame(spark, SHORTFALLS), FIRST)) == []


def listed(person, *ranks):
    return [{"user_id": user(person), "rank": rank, "content_id": f"c{rank}"} for rank in ranks]


GAP, LENGTHS = "lists with a gap in their ranks", "people whose list and shortfall are not 3 long together"


@pytest.mark.parametrize(
    ("lists", "missing", "problems"),
    [
        (listed("ann", 1, 2, 3) + listed("bob", 3, 1, 2), {}, []),
        (listed("ann", 1, 2, 3) + listed("bob", 1), {"bob": 2}, []),
        (listed("ann", 1, 2, 3), {"bob": 3}, []),
        (listed("ann", 1, 2, 3) + listed("bob", 1, 2), {}, [(LENGTHS, 1)]),
        (listed("ann", 1, 2, 3) + listed("bob", 1, 2) + listed("eve", 1), {"eve": 1}, [(LENGTHS, 2)]),
        (listed("ann", 1, 2, 3), {"bob": 2}, [(LENGTHS, 1)]),
        (listed("ann", 1, 2, 3), {"ann": 1, "bob": 1, "eve": 3}, [(LENGTHS, 2)]),
        (listed("ann", 1, 3, 4) + listed("bob", 2, 3, 4) + listed("eve", 1, 2, 3), {}, [(GAP, 2)]),
        (listed("ann", 1, 2) + listed("bob", 1, 2), {}, [(LENGTHS, 2)]),
        ([], {}, []),
    ],
)
def test_lists_without_gaps_that_reach_k_pass(spark, lists, missing, problems):
    shortfalls = [{"user_id": user(person), "missing": n} for person, n in missing.items()]
    audits = audit_full_lists(as_frame(spark, LISTS, *lists), as_frame(spark, SHORTFALLS, *shortfalls), 3, FIRST)
    assert failed(audits) == problems


def test_whoever_has_candidates_but_neither_list_nor_shortfall_is_counted(spark):
    candidates = as_frame(spark, CANDIDATES, *(row for person in ("ann", "bob", "eve") for row in listed(person, 1, 2)))
    lists, shortfalls = as_frame(spark, LISTS, *listed("ann", 1)), as_frame(spark, SHORTFALLS, {"user_id": user("bob")})
    (audit,) = audit_everyone_served(candidates, lists, shortfalls, FIRST)
    assert (audit.observed, audit.passed) == (1, False)
