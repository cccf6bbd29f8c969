import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salience.errors import InputError
from salience.recommend.best import Factors, best, best_products
from salience.recommend.topk import in_blocks, top_k

USERS = "user_id string, features array<float>, seen array<string>"
ITEMS = "content_id string, features array<float>"


def ranked(spark, users, items, k, block_mb=1):
    lists = top_k(spark.createDataFrame(users, USERS), in_blocks(spark.createDataFrame(items, ITEMS), block_mb), k)
    return {r["user_id"]: [tuple(item) for item in r["top"]] for r in lists.collect()}


def by_hand(scores, seen, k):
    """The same by sorting everything."""
    single = scores.astype(np.float32)
    rows = []
    for row, masked in zip(single, seen, strict=True):
        order = sorted((-value, column) for column, value in enumerate(row) if column not in masked)
        rows.append([(column, -value) for value, column in order[:k]])
    return rows


def test_the_best_unseen_items_come_first_and_ties_by_content_id(spark):
    items = [("c", [1.0, 0.0]), ("a", [0.0, 1.0]), ("b", [1.0, 0.0]), ("d", [2.0, 0.0])]
    users = [("u", [1.0, 0.5], []), ("v", [1.0, 0.5], ["d", "b", "unheard of"]), ("w", [-1.0, 0.0], [])]
    assert ranked(spark, users, items, 3) == {
        "u": [("d", 2.0), ("b", 1.0), ("c", 1.0)],
        "v": [("c", 1.0), ("a", 0.5)],
        "w": [("a", 0.0), ("b", -1.0), ("c", -1.0)],
    }


def test_a_person_who_saw_everything_gets_an_empty_list(spark):
    assert ranked(spark, [("u", [1.0], ["a", "b"])], [("a", [1.0]), ("b", [2.0])], 5) == {"u": []}


def test_without_items_everyone_gets_an_empty_list(spark):
    assert ranked(spark, [("u", [1.0], ["a"])], [], 5) == {"u": []}


@pytest.mark.parametrize("block_mb", [1, 0.006])
def test_thousands_of_scores_in_one_block_and_in_many_equal_a_full_sort_in_double_precision(spark, block_mb):
    random = np.random.default_rng(7)
    users = np.round(random.normal(size=(60, 8)), 1).astype(np.float32)  # rounded, so that there are ties
    items = np.round(random.normal(size=(300, 8)), 1).astype(np.float32)
    items[150:] = items[:150]
    seen = [set(random.choice(300, random.integers(0, 40), replace=False)) for _ in users]
    names = [f"c{n:03d}" for n in range(300)]
    found = ranked(
        spark,
        [(f"u{n:02d}", row.tolist(), [names[c] for c in seen[n]]) for n, row in enumerate(users)],
        [(names[n], row.tolist()) for n, row in enumerate(items)],
        20,
        block_mb,
    )
    expected = by_hand(users.astype(np.float64) @ items.astype(np.float64).T, seen, 20)
    for n, row in enumerate(expected):
        assert found[f"u{n:02d}"] == [(names[column], value) for column, value in row]


def test_factors_that_hold_no_numbers_are_refused_by_name(spark):
    with pytest.raises(InputError, match=r"1 of 2 factors hold NaN or infinite numbers, the first those of b: .*train"):
        ranked(spark, [("u", [1.0], [])], [("a", [1.0]), ("b", [float("nan")])], 1)


def picked(scores, seen, k):
    """Return (column, value) of each row's picks."""
    return by_row(best(scores, *masked(seen), k))


def masked(seen):
    places = [(row, column) for row, masked in enumerate(seen) for column in masked]
    return [np.array(part, np.int64) for part in (zip(*places, strict=True) if places else ([], []))]


def by_row(found):
    columns, values, lengths = found
    ends = np.cumsum(lengths)[:-1]
    return [list(zip(c, v, strict=True)) for c, v in zip(np.split(columns, ends), np.split(values, ends), strict=True)]


@given(st.data())
def test_any_scores_equal_a_full_sort(data):
    rows, items = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 9))
    value = st.sampled_from([-1e30, -2.5, -1e-30, -0.0, 0.0, 1e-30, 1.0, 1.0 + 1e-9, 3e7]) | st.floats(-10, 10)
    scores = np.array([[data.draw(value) for _ in range(items)] for _ in range(rows)])
    seen = [data.draw(st.sets(st.integers(0, items - 1))) for _ in range(rows)]
    k = data.draw(st.integers(1, 12))
    assert picked(scores, seen, k) == by_hand(scores, seen, k)


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(30, 900), st.sampled_from([1, 3, 300]))
def test_long_rows_with_and_without_many_equal_scores_equal_a_full_sort(seed, k, items, steps):
    random = np.random.default_rng(seed)
    scores = random.integers(-steps, steps, (3, items)) / steps
    seen = [set(random.choice(items, random.integers(0, items + 1), replace=False)) for _ in range(3)]
    assert picked(scores, seen, k) == by_hand(scores, seen, k)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
    st.sampled_from([1, 30, 700, 4000]),
    st.sampled_from([1, 3, 40]),
    st.sampled_from([1e-41, 1e-20, 1.0, 3e18, 1e25]),
    st.sampled_from([None, 1, 0.01]),
)
def test_products_equal_a_full_sort_whatever_single_precision_makes_of_them(seed, k, items, rank, scale, step):
    random = np.random.default_rng(seed)
    queries, factors = random.normal(size=(3, rank)), random.normal(size=(items, rank))
    if step:  # many are equal, or differ by less than single precision tells
        factors = np.round(factors / step) * step + random.choice([0, 1e-9], size=factors.shape)
    queries *= scale
    seen = [set(random.choice(items, random.integers(0, items + 1), replace=False)) for _ in range(3)]
    exact = np.array([[query @ factor for factor in factors] for query in queries])
    found = by_row(best_products(queries, Factors.of(factors), *masked(seen), k))
    for row, expected, scores in zip(found, by_hand(exact, seen, k), exact, strict=True):
        # The order of a sum's terms may tip a number over to the next one of single precision.
        assert [value for _, value in row] == pytest.approx([value for _, value in expected], rel=2e-7, abs=1e-44)
        tipped = np.spacing(np.float32(np.abs(scores).max()))
        for (column, _), (other, _) in zip(row, expected, strict=True):
            assert column == other or abs(scores[column] - scores[other]) <= tipped
