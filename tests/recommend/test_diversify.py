from math import sqrt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salience.recommend.diversify import NONE, Candidates, pick, tags_of, with_room
from salience.recommend.explore import explore
from salience.recommend.rerank import picked_lists, relevance
from salience.settings import load_settings
from tests.conftest import CONF

ONE = st.fixed_dictionaries(
    {
        "relevance": st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]),
        "is_last": st.booleans(),
        "creator": st.sampled_from([NONE, 0, 1, 2]),
        "tags": st.sets(st.integers(0, 4), max_size=4),
    }
)
PEOPLE = st.lists(st.lists(ONE, min_size=1, max_size=9), min_size=1, max_size=4)
CAPS = st.one_of(st.none(), st.integers(1, 3))
ANY = settings(deadline=None, max_examples=50, derandomize=True)
LAMBDAS = st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0])


@pytest.fixture(scope="module")
def rank_settings():
    return load_settings(CONF, "local", {}).recommend.rank


def candidates(people):
    shape = (len(people), max(map(len, people)))
    is_there = np.arange(shape[1]) < np.array([len(person) for person in people])[:, None]
    found = {
        name: np.full(shape, missing) for name, missing in (("relevance", 0.0), ("is_last", False), ("creator", NONE))
    }
    places, codes = [], []
    for row, person in enumerate(people):
        for column, one in enumerate(person):
            for name, values in found.items():
                values[row, column] = one[name]
            places += [row * shape[1] + column] * len(one["tags"])
            codes += one["tags"]
    tags = tags_of(np.array(places, np.int64), np.array(codes, np.int64), shape)
    return Candidates(is_there, found["relevance"], found["is_last"], found["creator"], tags)


def cosine(one, other):
    return len(one & other) / sqrt(len(one) * len(other)) if one and other else 0.0


def greedy(person, count, weight, cap):
    """Pick one after the other, in plain Python."""
    picked = []

    def order(place):
        one = person[place]
        others = [person[p] for p in picked]
        same = sum(other["creator"] == one["creator"] != NONE for other in others)
        nearest = max((cosine(one["tags"], other["tags"]) for other in others), default=0.0)
        worth = weight * one["relevance"] - (1 - weight) * nearest
        return cap is not None and same >= cap, one["is_last"], -worth, place

    while len(picked) < min(count, len(person)):
        picked.append(min(set(range(len(person))) - set(picked), key=order))
    return picked


@ANY
@given(PEOPLE, st.integers(1, 7), LAMBDAS, CAPS)
def test_lists_are_those_of_a_plain_greedy_search(people, count, weight, cap):
    picked = pick(candidates(people), count, weight, cap)
    assert picked.shape == (len(people), count)
    for row, person in zip(picked.tolist(), people, strict=True):
        expected = greedy(person, count, weight, cap)
        assert row == expected + [NONE] * (count - len(expected))


@ANY
@given(PEOPLE, st.integers(1, 7))
def test_relevance_alone_is_the_plain_order_and_no_list_is_shorter_than_it_need_be(people, count):
    for row, person in zip(pick(candidates(people), count, 1.0, None).tolist(), people, strict=True):
        plain = sorted(
            range(len(person)), key=lambda place: (person[place]["is_last"], -person[place]["relevance"], place)
        )
        assert [place for place in row if place != NONE] == plain[:count]


@ANY
@given(PEOPLE, st.integers(0, 4), st.integers(1, 3))
def test_what_has_room_keeps_the_cap_together_with_what_is_picked(people, count, cap):
    found = candidates(people)
    picked = pick(found, count, 1.0, cap)
    pools = with_room(found, picked, cap)
    for row, pool, person in zip(picked.tolist(), pools.tolist(), people, strict=True):
        held, expected = [person[place]["creator"] for place in row if place != NONE], []
        for place, one in enumerate(person):
            if place not in row and (one["creator"] == NONE or held.count(one["creator"]) < cap):
                expected.append(place)
                held.append(one["creator"])
        assert [place for place, is_in in enumerate(pool) if is_in] == expected
    assert (with_room(found, picked, None).sum(axis=1) == [len(p) - min(count, len(p)) for p in people]).all()


def test_the_example_by_hand():
    def one(worth, *tags):
        return {"relevance": worth, "is_last": False, "creator": 0, "tags": set(tags)}

    person = [one(1.0, 0), one(0.9, 0), one(0.8, 1)]
    assert pick(candidates([person]), 3, 0.5, None).tolist() == [[0, 2, 1]]
    assert pick(candidates([person]), 3, 0.95, None).tolist() == [[0, 1, 2]]
    # Of one creator there is nothing else, so the cap yields.
    assert pick(candidates([person]), 3, 1.0, 1).tolist() == [[0, 1, 2]]


def test_relevance_by_hand():
    nan = np.nan
    is_there = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 0]], bool)
    expected = np.array([[0.1, 0.4, nan], [nan, nan, nan], [0.0, 0.0, 0.0], [0.2, 0.1, nan]])
    boost = np.array([[2.0, 1.0, 1.0], [1.0, 1.5, 1.0], [1.0, 1.0, 1.0], [1.0, 3.0, 1.0]])
    # By place: 1 and 1/2, the latter x 1.5; and of what is not scored beside what is, 1/3 over itself.
    told = relevance(expected, boost, is_there)
    assert told == pytest.approx(np.array([[0.5, 1, 1], [1, 0.75, 0], [0, 0, 0], [2 / 3, 1, 0]]))


def test_the_smallest_lots_of_the_pool_win_and_small_pools_draw_nothing():
    picked = np.array([[0, 1, 2], [0, 1, 2], [0, NONE, NONE]])
    pools = np.array([[0, 0, 1, 1, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    lots = np.array([[0.0, 0.0, 0.5, 0.9, 0.1], [0.0] * 5, [np.nan] * 5])
    lists, propensity = explore(picked, pools, lots, 1)
    assert lists.tolist() == [[0, 1, 4], [0, 1, 2], [0, NONE, NONE]]
    assert propensity.tolist() == [[1, 1, 1 / 3], [1, 1, 1], [1, 1, 1]]
    lists, propensity = explore(picked[:1, [0, 1, 3 - 1]], pools[:1], lots[:1], 2)
    assert lists.tolist() == [[0, 4, 2]]
    assert propensity.tolist() == [[1, 2 / 3, 2 / 3]]


@ANY
@given(PEOPLE, st.integers(2, 5), LAMBDAS, CAPS, st.integers(0, 1), st.booleans())
def test_lists_from_arrow_hold_k_or_all_and_are_the_same_however_people_fall_into_batches(
    rank_settings, people, k, weight, cap, slots, is_personal
):
    changed = {"mmr_lambda": weight, "creator_cap": cap, "exploration_slots": slots}
    chosen = rank_settings.model_copy(update=changed)
    found = as_arrow(people, is_personal)
    made = picked_lists(found, k, chosen).to_pylist()
    assert made == [picked_lists(found.slice(n, 1), k, chosen).to_pylist()[0] for n in range(len(people))]
    for person, row in zip(people, made, strict=True):
        assert len({one["content_id"] for one in row}) == len(row) == min(k, len(person))
        drawn = [one["propensity"] for one in row if one["is_drawn"]]
        assert len(drawn) in (0, slots if is_personal else 0)
        assert all(one["propensity"] == 1 for one in row if not one["is_drawn"])
        creators = [person[int(one["content_id"])]["creator"] for one in row]
        if drawn and cap is not None and not over(person, row[: k - slots], cap):
            assert max(map(creators.count, set(creators) - {NONE}), default=0) <= cap


def over(person, row, cap):
    creators = [person[int(one["content_id"])]["creator"] for one in row]
    return any(creators.count(creator) > cap for creator in set(creators) - {NONE})


def as_arrow(people, is_personal):
    def entry(place, one):
        return {
            "place": place + 1,
            "arm": "personalised",
            "content_id": str(place),
            "score": 1.0,
            "p_engage_24h": None,
            "source": "als",
            "because": None,
            "expected": None if one["is_last"] else one["relevance"],
            "boost": 1.0,
            "creator_id": None if one["creator"] == NONE else str(one["creator"]),
            "tags": [str(tag) for tag in sorted(one["tags"])],
            "lot": (place * 7 % 10) / 10 if is_personal else None,
        }

    rows = [[entry(*one) for one in enumerate(person)] for person in people]
    because = pa.list_(pa.struct([("content_id", pa.string())]))
    types = {
        "place": pa.int32(),
        **dict.fromkeys(("arm", "content_id", "source", "creator_id"), pa.string()),
        **dict.fromkeys(("score", "p_engage_24h", "expected", "boost", "lot"), pa.float64()),
        "because": because,
        "tags": pa.list_(pa.string()),
    }
    return pa.array(rows, pa.list_(pa.struct(list(types.items()))))
