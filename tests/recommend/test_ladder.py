import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from salience.recommend.arms import HELD_OUT, NOT_PERSONALISED, PERSONALISED
from salience.recommend.ladder import Ladder, Proposals, Rung, chosen, climb, within
from salience.recommend.models.blend import BlendScorer
from salience.recommend.models.interface import HISTORY, Weighing
from salience.recommend.models.linear import ItemWeights
from salience.recommend.models.popular import EVERYONE, PopularScorer
from salience.recommend.scoring import panel

ASKING = (
    f"user_id string, arm string, own {HISTORY}, seen array<string>, als array<struct<content_id:string, score:double,"
    "because:array<struct<content_id:string,contribution:double,share:double>>>>"
)
IDS, NONE = pa.array(list("abcdef")), pa.array([], pa.string())


def alike(*pairs):
    """Similarity of contents: (own content, other, weight)."""
    ids = IDS.to_pylist()
    weights = np.zeros((6, 6))
    for own, other, value in pairs:
        weights[ids.index(own), ids.index(other)] = value
    return ItemWeights(IDS, sp.csr_matrix(weights), Weighing())


def popular(**scores):
    names = sorted(scores)
    return PopularScorer(pa.array(names), pa.array([EVERYONE]), np.array([[scores[name] for name in names]]))


TRENDING = popular(a=6.0, b=5.0, c=4.0, d=3.0, e=2.0, f=0.0)


def person(name, arm=PERSONALISED, own=(), seen=(), als=None):
    proposed = None if als is None else [(c, s, [("a", s, 1.0)]) for c, s in als]
    return (name, arm, [(c, w, 0.0) for c, w in own] or None, list(seen), proposed)


def listed(spark, people, rungs, length, ids=IDS):
    rows = climb(spark.createDataFrame(people, ASKING), Ladder(tuple(rungs), ids, length)).collect()
    told = {}
    for row in sorted(rows, key=lambda r: (r["user_id"], r["place"])):
        told.setdefault(row["user_id"], []).append(row)
    for mine in told.values():
        assert [row["place"] for row in mine] == list(range(1, len(mine) + 1))
    return told


def named(rows):
    return [(row["content_id"], row["source"]) for row in rows]


def test_each_source_gets_its_places_then_the_room_is_filled_in_their_order_and_nothing_comes_twice(spark):
    rungs = [
        Rung("als", 2),
        Rung("similarity", 1, alike(("a", "b", 0.5), ("a", "e", 0.4))),
        Rung("trending", 1, TRENDING, for_everyone=True),
    ]
    als = [("b", 0.9), ("c", 0.8), ("d", 0.7)]
    told = listed(
        spark,
        [
            person("known", own=[("a", 1.0)], seen=["a"], als=als),
            person("no als", own=[("a", 1.0)], seen=["a"]),
            person("new"),
            person("held out", HELD_OUT, own=[("a", 1.0)], seen=["a"]),
            person("refuses", NOT_PERSONALISED),
        ],
        rungs,
        5,
    )
    # b and c are als's, so similarity has e for its place and trending d; the room that is left is trending's, too.
    assert named(told["known"]) == [
        ("b", "als"),
        ("c", "als"),
        ("e", "similarity"),
        ("d", "trending"),
        ("f", "trending"),
    ]
    assert named(told["no als"]) == [
        ("b", "similarity"),
        ("e", "similarity"),
        ("c", "trending"),
        ("d", "trending"),
        ("f", "trending"),
    ]
    by_popularity = [(c, "trending") for c in "abcde"]
    assert named(told["new"]) == named(told["refuses"]) == by_popularity
    assert named(told["held out"]) == [(c, "trending") for c in "bcdef"]


def test_reasons_are_the_own_contents_whose_contributions_add_up_to_the_score(spark):
    own = [("a", 2.0), ("c", 0.5), ("d", 1.0), ("e", 1.0)]
    similarity = alike(("a", "b", 0.3), ("c", "b", 0.8), ("d", "b", 0.25), ("e", "f", 0.1))
    people = [person("v", seen=["a"]), person("u", own=own, seen=["a"], als=[("f", 0.7)])]
    rungs = [Rung("als", 1), Rung("similarity", 3, similarity), Rung("trending", 1, TRENDING, for_everyone=True)]
    told = listed(spark, people, rungs, 3)["u"]
    als, similar, trending = told
    assert named(told) == [("f", "als"), ("b", "similarity"), ("c", "trending")]
    assert [tuple(reason) for reason in als["because"]] == [("a", 0.7, 1.0)]
    assert similar["score"] == pytest.approx(2 * 0.3 + 0.5 * 0.8 + 0.25)
    assert [reason["content_id"] for reason in similar["because"]] == ["a", "c", "d"]
    assert sum(reason["contribution"] for reason in similar["because"]) == pytest.approx(similar["score"], abs=1e-6)
    assert sum(reason["share"] for reason in similar["because"]) == pytest.approx(1)
    assert trending["because"] is None


def test_a_blends_reasons_add_up_to_its_score_also_over_contents_that_a_part_does_not_know(spark):
    one = alike(("a", "b", 0.3), ("c", "b", 0.8), ("d", "e", 0.25), ("c", "f", 0.1))
    weights = np.array([[0.0, 0.9, 0.4], [0.7, 0.0, 0.1], [0.2, 0.3, 0.0]])
    other = ItemWeights(pa.array(["a", "c", "e"]), weights, Weighing())
    mix = {"one": 0.7, "other": 0.3}
    parts = panel({"one": one, "other": other}, {"blend": mix})
    rungs = [Rung("blend", 3, BlendScorer(parts.content_ids, parts, mix), above=-np.inf)]
    own = [("a", 2.0), ("c", 0.5), ("d", 1.0)]
    people = [person("before", own=[("e", 1.0)]), person("u", own=own, seen=["a", "c", "d"])]
    told = listed(spark, people, rungs, 3)["u"]

    history = np.array([2.0, 0, 0.5, 1.0, 0, 0])
    by_one, by_other = history @ one.weights.toarray(), history[[0, 2, 4]] @ weights
    expected = 0.7 * (by_one - by_one.mean()) / by_one.std()
    expected[[0, 2, 4]] += 0.3 * (by_other - by_other.mean()) / by_other.std()
    assert [row["content_id"] for row in told] == [IDS[n].as_py() for n in (1, 4, 5)]
    for row in told:
        assert row["score"] == pytest.approx(expected[IDS.to_pylist().index(row["content_id"])], abs=1e-6)
    (batch,) = spark.createDataFrame([people[1]], ASKING).toArrow().combine_chunks().to_batches()
    terms = BlendScorer(parts.content_ids, parts, mix).explainer(batch).contributions(0, np.array([1, 4, 5]))
    np.testing.assert_allclose(terms.sum(axis=0), expected[[1, 4, 5]], atol=1e-9)
    for row, column in zip(told, terms.T, strict=True):
        positive = sorted((term for term in column if term > 0), reverse=True)
        assert [reason["contribution"] for reason in row["because"]] == pytest.approx(positive, abs=1e-9)
        assert [reason["share"] for reason in row["because"]] == pytest.approx([p / sum(positive) for p in positive])
    assert told[0]["because"] and not told[2]["because"], "what is below the average, nothing raised"


def test_only_contents_that_may_be_shown_are_listed_and_one_may_be_all_there_is(spark):
    rungs = [
        Rung("als", 2),
        Rung("similarity", 1, alike(("a", "b", 0.5), ("a", "e", 0.4))),
        Rung("trending", 1, popular(e=1.0), for_everyone=True),
    ]
    people = [person("u", own=[("a", 1.0)], als=[("b", 0.9)]), person("saw it", seen=["e"])]
    told = listed(spark, people, rungs, 5, ids=pa.array(["e"]))
    assert {name: named(rows) for name, rows in told.items()} == {"u": [("e", "similarity")]}
    nothing = [Rung("trending", 1, PopularScorer(NONE, pa.array([EVERYONE]), np.empty((1, 0))), for_everyone=True)]
    assert listed(spark, people, nothing, 5, NONE) == {}


@pytest.mark.parametrize("above", [0.0, -np.inf])
def test_of_people_of_whom_a_source_knows_nothing_it_proposes_nothing_whatever_else_it_knows(spark, above):
    """One of the contents that it knows may not be shown."""
    rungs = [
        Rung("similarity", 2, alike(("a", "b", 0.5), ("c", "b", -0.1)), above=above),
        Rung("trending", 1, popular(a=3.0, b=2.0, c=1.0), for_everyone=True),
    ]
    people = [person("new"), person("known", own=[("c", 1.0)]), person("strange", own=[("z", 1.0)])]
    told = listed(spark, people, rungs, 3, ids=pa.array(["a", "b", "c"]))
    popular_alone = [(content, "trending") for content in "abc"]
    assert named(told["new"]) == named(told["strange"]) == popular_alone
    # What is known of somebody may count against contents, too: to be above nothing is asked of sums alone.
    assert {source for _, source in named(told["known"])} == {"trending"} | ({"similarity"} if above < 0 else set())


@given(st.data())
def test_what_is_chosen_is_what_filling_each_list_by_hand_gives(data):
    quotas = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    length = data.draw(st.integers(sum(quotas), 12))
    people = data.draw(st.integers(1, 3))
    lists = {
        (rung, person): data.draw(st.lists(st.integers(0, 9), unique=True, max_size=8))
        for rung in range(len(quotas))
        for person in range(people)
    }
    flat = [(rung, person, content) for (rung, person), contents in lists.items() for content in contents]
    rung, who, content = (np.array(part, np.int64) for part in (zip(*flat, strict=True) if flat else ([], [], [])))
    taken = chosen(Proposals(rung, who, content, np.zeros(len(rung))), np.array(quotas), length)
    expected = []
    for person in range(people):
        kept, named = {number: [] for number in range(len(quotas))}, set()
        for limits in (quotas, [length] * len(quotas)):
            for number, limit in enumerate(limits):
                new = [content for content in lists[number, person] if content not in named]
                new = new[: min(limit, length - len(named))]
                named.update(new)
                kept[number] += new
        order = {number: lists[number, person].index for number in kept}
        expected += [(number, person, c) for number in kept for c in sorted(kept[number], key=order[number])]
    assert [(int(rung[n]), int(who[n]), int(content[n])) for n in taken] == expected


def test_places_within_groups_count_from_zero():
    assert within(np.array([4, 4, 4, 7, 1, 1])).tolist() == [0, 1, 2, 0, 0, 1]
    assert within(np.array([], np.int64)).tolist() == []
