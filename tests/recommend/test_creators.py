import numpy as np
import pytest

from salience.recommend import creators
from salience.recommend.availability import Blocks, creators_of
from salience.tables import recommendations
from salience.tables.conform import conform
from tests.recommend.rows import CUT, INTERACTION, days_before

BLOCKS = "content_id string, creator_id string, blocked_from timestamp, blocked_to timestamp, valid_from timestamp"
MAKERS = "content_id string, creator_id string"
FOUR = [("a1", "A"), ("a2", "A"), ("b1", "B"), ("c1", "C"), ("d1", "D")]


def interactions(spark, *events):
    """Events are (user_id, content_id, action, days before the cut) and, if need be, a creator_id."""
    full = [("feed", *event[:3], days_before(event[3]), None, None, None, *(*event[4:], None)[:1]) for event in events]
    return spark.createDataFrame(full, INTERACTION)


def named(frame):
    return sorted(map(tuple, frame.collect()))


@pytest.fixture
def listed(spark, settings):
    """Return a function: what is known -> (creator_id, score, source) of each person, by rank."""

    def of(people, factors, events=(), popular=(), makers=FOUR, blocked=(), items=None, most=3, block_mb=1.0):
        few = settings.recommend.model_copy(update={"creators": most, "block_mb": block_mb})
        whose = spark.createDataFrame(makers, MAKERS)
        blocks = [(None, creator, None, None, days_before(9)) for creator in blocked]
        blocklist = spark.createDataFrame(blocks, BLOCKS) if blocks else None
        allowed = creators.without_blocked(whose, Blocks(blocklist), CUT)
        known = creators.Accounts(allowed, creators.followed(interactions(spark, *events), whose, CUT))
        lists = creators.for_nobody(spark)
        if items is not None:
            tastes = spark.createDataFrame(factors, "user_id string, features array<double>")
            offered = spark.createDataFrame(items, "content_id string, features array<float>")
            lists = creators.personal_creators(tastes, offered, known, few)
        everyone = spark.createDataFrame([(p,) for p in people], "user_id string")
        scores = spark.createDataFrame(list(popular), "content_id string, features array<double>")
        found = creators.filled_up("feed", lists, everyone, scores, known, few)
        told = {}
        for row in sorted(conform(recommendations.CREATORS, found.selectExpr("*", "'r' AS release_id")).collect()):
            mine = told.setdefault(row["user_id"], [])
            mine.append((row["creator_id"], row["score"], row["source"]))
            assert (row["platform"], row["rank"]) == ("feed", len(mine))
        return told

    return of


ITEMS = [("a1", [4.0]), ("a2", [0.0]), ("b1", [3.0]), ("c1", [1.0])]
OF_LATE = [("d1", [2.0]), ("a1", [0.5]), ("a2", [1.0]), ("b1", [0.0]), ("c1", [0.0]), ("nobody's", [9.0])]
POPULAR = [("D", 2.0, "trending"), ("A", 1.5, "trending"), ("B", 0.0, "trending"), ("C", 0.0, "trending")]
ALS = [("B", 3.0, "als"), ("A", 2.0, "als"), ("C", 1.0, "als")]


def test_accounts_come_by_the_mean_of_what_is_predicted_of_their_contents_and_those_popular_of_late_fill_up(listed):
    people = ["u", "B", "fan", "was a fan", "newcomer"]
    events = [
        ("fan", None, "follow", 3, "A"),
        ("was a fan", None, "follow", 3, "A"),
        ("was a fan", None, "unfollow", 2, "A"),
        ("newcomer", None, "follow", 3, "D"),
    ]
    assert listed(people, [(person, [1.0]) for person in people[:-1]], events, OF_LATE, items=ITEMS) == {
        "u": ALS,
        "B": [ALS[1], ALS[2], POPULAR[0]],
        "fan": [ALS[0], ALS[2], POPULAR[0]],
        "was a fan": ALS,
        "newcomer": POPULAR[1:],
    }


def test_nobody_gets_a_blocked_account_and_without_a_model_all_get_the_popular_ones(listed):
    told = listed(["u", "D"], [], popular=OF_LATE, blocked=["A"], most=2)
    assert told == {"u": [POPULAR[0], POPULAR[2]], "D": POPULAR[2:]}


def test_one_person_and_one_content(listed):
    one = {"makers": [("a", "A")], "items": [("a", [2.0])], "popular": [("a", [1.0])]}
    assert listed(["u", "A"], [("u", [1.0]), ("A", [1.0])], **one) == {"u": [("A", 2.0, "als")]}


def test_personal_lists_from_many_blocks_equal_a_full_sort_in_double_precision(listed):
    random = np.random.default_rng(7)
    sizes = random.choice([1, 2, 4], 20)  # so that means are exact, and there are ties
    creator = np.repeat(np.arange(20), sizes)
    items = np.round(4 * random.normal(size=(len(creator), 2))) / 4
    people = np.round(4 * random.normal(size=(30, 2))) / 4
    follows = [set(random.choice(20, random.integers(0, 14), replace=False).tolist()) for _ in people]
    told = listed(
        [f"p{n:02d}" for n in range(30)],
        [(f"p{n:02d}", row.tolist()) for n, row in enumerate(people)],
        [(f"p{n:02d}", None, "follow", 1, f"p{m:02d}") for n, of in enumerate(follows) for m in of],
        makers=[(f"c{n}", f"p{m:02d}") for n, m in enumerate(creator)],
        items=[(f"c{n}", row.tolist()) for n, row in enumerate(items)],
        most=5,
        block_mb=0.0003,
    )
    means = np.stack([items[creator == m].mean(axis=0) for m in range(20)])
    for n, row in enumerate((people @ means.T).astype(np.float32)):
        order = sorted((-value, m) for m, value in enumerate(row) if m != n and m not in follows[n])[:5]
        assert told[f"p{n:02d}"] == [(f"p{m:02d}", -value, "als") for value, m in order]


def test_a_follow_stands_until_it_is_taken_back(spark):
    events = [
        *[(who, None, "follow", 3, "A") for who in ("stays", "left", "came back", "at once", "will leave")],
        ("left", None, "unfollow", 2, "A"),
        ("came back", None, "unfollow", 2, "A"),
        ("came back", None, "follow", 1, "A"),
        ("at once", None, "unfollow", 3, "A"),
        ("will leave", None, "unfollow", -1, "A"),
        ("will follow", None, "follow", -1, "A"),
        ("never did", None, "unfollow", 3, "A"),
        ("likes", "a1", "like", 3, "A"),
        ("by content", "b1", "follow", 3),
        ("by content", "unheard of", "follow", 3),
        ("by content", "a1", "follow", 3, "C"),
    ]
    found = creators.followed(interactions(spark, *events), spark.createDataFrame(FOUR, MAKERS), CUT)
    assert {row["user_id"]: row["followed"] for row in found.collect()} == {
        "by content": ["B", "C"],
        **{who: ["A"] for who in ("stays", "came back", "will leave")},
    }


def test_a_content_is_whose_its_newest_version_says_or_the_newest_event_that_names_somebody(spark):
    versions = [
        ("moved", "old", 9),
        ("moved", "new", 2),
        ("moved", "later", -1),
        ("untold", None, 9),
        ("nobody's", None, 9),
    ]
    dated = [(content, creator, days_before(age)) for content, creator, age in versions]
    contents = spark.createDataFrame(dated, "content_id string, creator_id string, valid_from timestamp")
    events = [
        ("u", "moved", "like", 1, "old"),
        ("u", "untold", "like", 3, "first"),
        ("u", "untold", "like", 2, "second"),
        ("u", "untold", "like", 1),
        ("u", "untold", "like", -1, "third"),
        ("u", "unlisted", "like", 1, "A"),
        ("u", None, "follow", 1, "B"),
    ]
    found = creators_of(contents, interactions(spark, *events), CUT)
    assert named(found) == [("moved", "new"), ("unlisted", "A"), ("untold", "second")]
