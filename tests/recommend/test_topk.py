import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from salience.recommend.topk import best, collect_items, top_k

USERS = "user_id string, features array<float>, seen array<string>"
ITEMS = "content_id string, features array<float>"


def ranked(spark, users, items, k):
    lists = top_k(spark.createDataFrame(users, USERS), collect_items(spark.createDataFrame(items, ITEMS)), k)
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


def test_thousands_of_scores_equal_a_full_sort_in_double_precision(spark):
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
    )
    expected = by_hand(users.astype(np.float64) @ items.astype(np.float64).T, seen, 20)
    for n, row in enumerate(expected):
        assert found[f"u{n:02d}"] == [(names[column], value) for column, value in row]


def picked(scores, seen, k):
    """Return (column, value) of each row's picks."""
    places = [(row, column) for row, masked in enumerate(seen) for column in masked]
    rows, columns = (np.array(part, np.int64) for part in (zip(*places, strict=True) if places else ([], [])))
    columns, values, lengths = best(scores, rows, columns, k)
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
