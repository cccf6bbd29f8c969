import re

import pytest

from salience.errors import InputError
from salience.recommend.public import checked_rows, newest, random_folds, split, time_folds

ROWS = "user_id string, content_id string, weight double, at double"
DAY = 86_400.0
NO_TIME = "a timestamp that is neither unix seconds (not milliseconds) nor a time"
NO_WEIGHT = "a weight that is neither 0 nor from 1e-9 to 1e9 (if need be, scale all weights alike)"


def rows(spark, *given):
    """Rows are (user, content) and, if need be, weight and day."""
    filled = [
        (user, item, *(more or (1.0,))[:1], more[1] * DAY if len(more) > 1 else None) for user, item, *more in given
    ]
    return spark.createDataFrame(filled, ROWS)


def people(made):
    return {r["user_id"]: (r["seen"], r["relevant"]) for r in made.people.collect()}


def test_ids_of_any_type_become_text_and_times_seconds(spark):
    frame = spark.createDataFrame(
        [(1 << 40, 2.5, 3, "1970-01-02")], "user bigint, item double, weight int, timestamp string"
    )
    assert tuple(checked_rows(frame, "--train").head()) == (str(1 << 40), "2.5", 3.0, DAY)
    frame = spark.sql("SELECT 'u' AS user, 7Y AS item, TIMESTAMP '1970-01-01 00:00:01.5' AS timestamp")
    assert tuple(checked_rows(frame, "--train").head()) == ("u", "7", 1.0, 1.5)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ((None, "a", 1.0, 1), "1 of 2 rows have an empty user"),
        (("u", " ", 1.0, 1), "1 of 2 rows have an empty item"),
        (("u", "a", float("nan"), 1), f"1 of 2 rows have {NO_WEIGHT}"),
        (("u", "a", -1.0, 1), f"1 of 2 rows have {NO_WEIGHT}"),
        (("u", "a", float("inf"), 1), f"1 of 2 rows have {NO_WEIGHT}"),
        (("u", "a", 1.1e9, 1), f"1 of 2 rows have {NO_WEIGHT}"),
        (("u", "a", 0.9e-9, 1), f"1 of 2 rows have {NO_WEIGHT}"),
        (("u", "a", 1.0, None), f"1 of 2 rows have {NO_TIME}"),
        (("u", "a", 1.0, 1_700_000_000_000), f"1 of 2 rows have {NO_TIME}"),
    ],
)
def test_rows_that_cannot_be_used_are_counted_and_named(spark, row, told):
    frame = spark.createDataFrame(
        [("v", "b", 1.0, 1), row], "user string, item string, weight double, timestamp bigint"
    )
    with pytest.raises(InputError, match=re.escape(f"--test: {told}; correct or remove them")):
        checked_rows(frame, "--test")


def test_the_smallest_and_the_largest_weights_add_up(spark):
    given = [("u", "a", 1e9), ("u", "a", 1e9), ("u", "b", 1e-9), ("u", "b", 1e-9), ("u", "c", 0.0)]
    train = checked_rows(spark.createDataFrame(given, "user string, item string, weight double"), "--train")
    made = split(train, rows(spark, ("u", "d")), 0.0, None)
    assert {r["content_id"]: r["weight"] for r in made.pairs.collect()} == {"a": 2e9, "b": 2e-9}


def test_missing_columns_composite_ids_and_no_rows_are_refused(spark):
    with pytest.raises(InputError, match="column item is missing, there are: user, film"):
        checked_rows(spark.sql("SELECT 1 AS user, 2 AS film"), "--train")
    with pytest.raises(InputError, match=r"column user is array<int>; ids are numbers or text"):
        checked_rows(spark.sql("SELECT array(1) AS user, 2 AS item"), "--train")
    with pytest.raises(InputError, match="--train: there are no rows"):
        checked_rows(spark.sql("SELECT 1 AS user, 2 AS item").limit(0), "--train")


def test_a_pair_adds_up_its_rows_and_ages_from_its_last(spark):
    train = rows(spark, ("u", "a", 1.0, 1), ("u", "a", 2.5, 3), ("v", "a", 1.0, 5), ("u", "zero", 0.0, 4))
    made = split(train, rows(spark, ("u", "b", 1.0, 6)), 0.0, newest(train))
    found = {(r["user_id"], r["content_id"]): (r["weight"], r["age_days"]) for r in made.pairs.collect()}
    assert found == {("u", "a"): (3.5, 2.0), ("v", "a"): (1.0, 0.0)}
    # What weighs nothing says nothing, and is seen all the same.
    assert people(made) == {"u": (["a", "zero"], ["b"])}


def test_people_are_judged_on_what_is_relevant_and_new_to_them_if_something_is_known_of_them(spark):
    train = rows(spark, ("u", "a"), ("v", "a"), ("w", "a", 0.0))
    test = rows(
        spark,
        ("u", "a", 9.0),
        ("u", "b", 7.0),
        ("u", "b", 8.0),
        ("u", "c", 6.9),
        ("v", "a", 9.0),
        ("w", "b", 9.0),
        ("stranger", "b", 9.0),
    )
    assert people(split(train, test, 7.0, None)) == {"u": (["a"], ["b"])}


def test_random_folds_hide_other_pairs_each_time_the_same_whatever_the_order(spark):
    given = [(f"u{n % 20}", f"c{n // 20}") for n in range(400)]
    folds = random_folds(rows(spark, *given), 0.0, 0.25, 2, seed=1)
    again = random_folds(rows(spark, *reversed(given)).repartition(3), 0.0, 0.25, 2, seed=1)
    hidden = [{(user, c) for user, (_, relevant) in people(fold).items() for c in relevant} for fold in folds]
    assert [people(fold) for fold in folds] == [people(fold) for fold in again]
    assert hidden[0] != hidden[1]
    for fold, pairs in zip(folds, hidden, strict=True):
        assert len(pairs) == pytest.approx(100, abs=30)
        assert {(r["user_id"], r["content_id"]) for r in fold.pairs.collect()} == set(given) - pairs


def test_time_folds_know_nothing_of_what_comes_later(spark):
    train = rows(spark, *[("u", f"c{day:02d}", 1.0, day) for day in range(11)])
    newer, older = time_folds(train, 0.0, 0.2, 2)
    assert people(newer) == {"u": ([f"c{n:02d}" for n in range(8)], ["c08", "c09", "c10"])}
    assert people(older) == {"u": ([f"c{n:02d}" for n in range(6)], ["c06", "c07"])}
    ages = {r["content_id"]: r["age_days"] for r in newer.pairs.collect()}
    assert (ages["c07"], ages["c00"]) == (1.0, 8.0)


def test_a_split_by_time_is_cut_at_a_time_at_which_something_happened(spark):
    """A percentile between two times would have to keep all of them until the last one is known."""
    (fold,) = time_folds(rows(spark, ("u", "a", 1.0, 0), ("u", "b", 1.0, 10)), 0.0, 0.25, 1)
    assert [(r["content_id"], r["age_days"]) for r in fold.pairs.collect()] == [("a", 10.0)]


def test_a_split_by_time_without_times_is_refused(spark):
    with pytest.raises(InputError, match="--inner time asks for a column timestamp in --train"):
        time_folds(rows(spark, ("u", "a")), 0.0, 0.2, 2)
