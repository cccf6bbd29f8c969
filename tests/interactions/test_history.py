"""Versions of people and contents."""

from datetime import date

import pytest

from salience.interactions.history import versions

pytestmark = pytest.mark.integration

COLUMNS = "platform string, who string, analysed boolean, region string, delivery_date date, row_hash bigint"
COLUMNS += ", violations array<string>"


def held(frame):
    rows = frame.orderBy("who", "valid_from").collect()
    return [(row["who"], row["analysed"], row["region"], row["valid_from"].day) for row in rows]


def test_of_contradicting_rows_of_one_day_the_refusal_counts_whatever_its_hash(spark):
    first, second = date(2026, 11, 2), date(2026, 11, 3)
    rows = [
        *(("feed", "ann", analysed, "n", first, n) for n, analysed in enumerate((True, None, False))),
        *(("feed", "bob", analysed, "n", first, n) for n, analysed in enumerate((False, True))),
        *(("feed", "cat", None, region, first, n) for n, region in enumerate("ns")),
        ("feed", "ann", True, "n", second, 0),
    ]
    rows = [(*row, []) for row in rows]
    found = versions(spark.createDataFrame(rows, COLUMNS), ["who"], ["analysed", "region"], ["analysed"])
    assert held(found) == [
        ("ann", False, "n", 2),
        ("ann", True, "n", 3),
        ("bob", False, "n", 2),
        ("cat", None, "n", 2),
    ]
    shuffled = spark.createDataFrame(rows[::-1], COLUMNS)
    assert held(versions(shuffled, ["who"], ["analysed", "region"], ["analysed"])) == held(found)
