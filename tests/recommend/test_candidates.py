import pytest

from salience.errors import InputError
from salience.models.store import LoadedModel
from salience.recommend.arms import HELD_OUT, NOT_PERSONALISED, PERSONALISED
from salience.recommend.availability import Blocks, blocked_creators, people, withheld
from salience.recommend.candidates import candidates
from salience.recommend.models.popular import EVERYONE, segment_scorer
from salience.recommend.sources import Known
from salience.tables import recommendations, silver
from salience.tables.conform import conform
from tests.recommend.rows import CUT, contents, days_before, interactions, users

pytestmark = pytest.mark.integration  # whole ladders: make check would take too long


@pytest.fixture
def three(settings):
    """Lists of three by ALS and what is trending."""
    return settings.recommend.model_copy(
        update={
            "candidates": 3,
            "action_weights": {"like": 1.0},
            "trending_half_life_days": 7.0,
            "ladder": {"als": 2.0, "trending": 1.0},
        }
    )


def saved(spark, factors):
    about = {"rank": 1, "iterations": 1, "seed": 1, "alpha": 1.0, "regularisation": 0.1}
    items = spark.createDataFrame(factors, "content_id string, features array<float>")
    return LoadedModel({"item_factors": items}, {"settings": about})


def found(spark, settings, events, known, served, factors, told=None, asked=None, blocks=None):
    at = Known(events, known, asked or users(spark), CUT, *([blocks] if blocks else []))
    models = {"als": saved(spark, factors)} if factors else {}
    arms = spark.createDataFrame(served, "user_id string, arm string")
    with candidates(at, arms, models, settings, (told if told is not None else []).append) as rows:
        assert conform(recommendations.CANDIDATES, rows.selectExpr("*", "'r' AS release_id", "'feed' AS platform"))
        return rows.orderBy("user_id", "place").collect()


def by_source(rows):
    told = {}
    for row in rows:
        told.setdefault(row["user_id"], {}).setdefault(row["source"], []).append(row["content_id"])
    return told


def blocklist(spark, *rows):
    """Rows are (content_id, creator_id, blocked_from, blocked_to, valid_from)."""
    names = ("content_id", "creator_id", "blocked_from", "blocked_to", "valid_from")
    filled = [{"platform": "feed", **dict(zip(names, row, strict=True))} for row in rows]
    schema = silver.BLOCKLIST.schema
    return spark.createDataFrame([tuple(row.get(name) for name in schema.names) for row in filled], schema)


def test_what_may_not_be_shown_is_in_no_list_whoever_proposes_it(spark, three):
    events = interactions(
        spark,
        ("u", "a", "like", 3),
        ("u", "shown", "impression", 3),
        ("u", "hidden", "hide", 3),
        ("x", "hit", "like", 1),
        ("y", "hit", "like", 1),
        ("z", "late hit", "like", -1),
        # Contents whose creators the events alone tell.
        ("x", "mine, too", "impression", 2, None, None, None, "u"),
        ("x", "villain's", "impression", 2, None, None, None, "villain"),
    )
    known = contents(
        spark,
        ("b", days_before(9), None),
        ("unpublished", days_before(-0.5), None),
        ("expired", days_before(9), days_before(1)),
        ("fresh", days_before(1), None),
        ("told later", days_before(9), None, days_before(-1)),
        ("mine", days_before(9), None),
        ("unsafe", days_before(9), None),
    )
    told = {
        "creator_id": "if(content_id = 'mine', 'u', null) AS creator_id",
        "brand_safety": "if(content_id = 'unsafe', 'unsafe', 'safe') AS brand_safety",
    }
    known = known.selectExpr(*(told.get(c, c) for c in known.columns))
    names = ("a", "shown", "hidden", "b", "unpublished", "expired", "mine", "mine, too", "blocked", "unsafe")
    names += ("villain's",)
    blocked = blocklist(
        spark, ("blocked", None, None, None, days_before(5)), (None, "villain", None, None, days_before(5))
    )
    blocks = Blocks(blocked, brand_safety=["unsafe"])
    served = [("u", PERSONALISED), ("new", PERSONALISED)]
    rows = found(spark, three, events, known, served, [(name, [1.0]) for name in names], blocks=blocks)
    assert by_source(rows) == {
        "u": {"als": ["b"], "trending": ["hit", "fresh"]},
        "new": {"trending": ["hit", "a", "b"]},
    }


def test_a_full_personal_list_leaves_no_room_and_other_arms_get_trending_only(spark, three):
    events = interactions(spark, *[(user, "a", "like", 3) for user in ("u", "v", "w")])
    arms = [("u", PERSONALISED), ("v", NOT_PERSONALISED), ("w", HELD_OUT)]
    known = contents(spark, *[(name, None, None) for name in "bcde"])
    rows = found(spark, three, events, known, arms, [(name, [1.0]) for name in "abcde"])
    popular = {"trending": ["b", "c", "d"]}
    assert by_source(rows) == {"u": {"als": ["b", "c"], "trending": ["d"]}, "v": popular, "w": popular}
    assert {(row["user_id"], row["arm"]) for row in rows} == set(arms)
    assert [row["because"] is None for row in rows] == [False, False, True, *[True] * 6]


def test_every_rung_proposes_cold_contents_enter_by_their_tags_and_a_lacking_model_is_told(spark, settings):
    ladder = {"blend": 1.0, "similarity": 1.0, "tags": 1.0, "segment_popular": 1.0, "trending": 1.0}
    asked = settings.recommend.model_copy(update={"candidates": 5, "ladder": ladder, "segment_by": ["region"]})
    asked = asked.model_copy(update={"search": asked.search.model_copy(update={"segment_prior_pairs": 0.0})})
    events = interactions(
        spark, ("u", "a", "like", 3), ("near", "s", "like", 2), ("far", "hit", "like", 1), ("far", "t", "like", 1)
    )
    known = contents(spark, *[(name, None, None) for name in ("a", "s", "hit", "t", "cold", "other")])
    tagged = "CASE content_id WHEN 'a' THEN array('x', 'y') WHEN 'cold' THEN array('x') ELSE array('z') END AS tags"
    known = known.selectExpr(*(tagged if c == "tags" else c for c in known.columns))
    lived = users(spark, *[(user, None, days_before(9)) for user in ("u", "near", "far")])
    region = "map('region', if(user_id = 'far', 'north', 'south')) AS attributes"
    lived = lived.selectExpr(*(region if c == "attributes" else c for c in lived.columns))
    told = []
    rows = found(spark, asked, events, known, [("u", PERSONALISED)], [("a", [1.0]), ("other", [1.0])], told, lived)
    assert by_source(rows) == {
        "u": {"blend": ["other"], "tags": ["cold"], "segment_popular": ["s"], "trending": ["hit", "t"]}
    }
    assert told == ["blend goes without similarity", "similarity proposes nothing: there is no model similarity"]
    assert next(row for row in rows if row["source"] == "tags")["because"][0]["content_id"] == "a"


DAMAGED = {
    "als": ({"item_factors": ([("a", [float("nan")])], "content_id string, features array<float>")}, {}),
    "similarity": (
        {
            "content_similarity": (
                [("a", 1, "b", float("nan"))],
                "content_id string, rank int, similar_content_id string, similarity float",
            ),
            "contents": ([("a",), ("b",)], "content_id string"),
        },
        {"power": 0.0, "half_life_days": None},
    ),
    "ease": (
        {"item_weights": ([("a", [float("inf")])], "content_id string, features array<double>")},
        {"power": 0.0, "half_life_days": None},
    ),
    "svd": (
        {"item_vectors": ([("a", [1.0], float("nan"))], "content_id string, features array<double>, scale double")},
        {"power": 0.0, "half_life_days": None},
    ),
}


@pytest.mark.parametrize("in_a_blend", [False, True])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_model_that_holds_nan_is_one_error_that_says_so(spark, three, name, in_a_blend):
    frames, about = DAMAGED[name]
    about = {"rank": 1, "iterations": 1, "seed": 1, "alpha": 1.0, "regularisation": 0.1} | about
    made = LoadedModel({key: spark.createDataFrame(*frame) for key, frame in frames.items()}, {"settings": about})
    ladder = {"blend" if in_a_blend else name: 2.0, "trending": 1.0}
    asked = three.model_copy(update={"ladder": ladder, "blend": {name: 1.0}})
    at = Known(interactions(spark, ("u", "a", "like", 1)), contents(spark), users(spark), CUT)
    arms = spark.createDataFrame([("u", PERSONALISED)], "user_id string, arm string")
    refused = pytest.raises(InputError, match=r"NaN or infinite numbers.* train it again \(jobs/train_recommender.py\)")
    with refused as told, candidates(at, arms, {name: made}, asked, print):
        pass
    assert str(told.value).startswith((f"model {name} holds", "1 of 1 factors hold"))


def test_of_a_segment_only_what_enough_of_its_people_did_is_told(spark):
    likes = [("u", "both"), ("v", "both"), ("u", "one alone"), ("far", "one alone"), ("far", "elsewhere")]
    pairs = spark.createDataFrame([(*like, 2.0) for like in likes], "user_id string, content_id string, weight double")
    lived = [("u", "south"), ("v", "south"), ("far", "north")]
    segments = spark.createDataFrame(lived, "user_id string, segment string")
    scorer = segment_scorer(pairs, segments, 0.0, 2)
    assert scorer.segments.to_pylist() == [EVERYONE, "south"]
    assert dict(zip(scorer.content_ids.to_pylist(), scorer.totals[1], strict=True)) == {
        "both": 4.0,
        "elsewhere": 0.0,
        "one alone": 0.0,
    }
    assert not scorer.totals[0].any(), "of people without a segment nothing is known"
    assert segment_scorer(pairs, segments, 0.0, 3) is None


def test_without_any_model_and_with_one_content_everyone_who_has_not_seen_it_gets_it(spark, three):
    events, known = interactions(spark, ("u", "only", "like", 1)), contents(spark, ("only", None, None))
    told = []
    rows = found(spark, three, events, known, [("u", PERSONALISED), ("v", HELD_OUT)], [], told)
    assert by_source(rows) == {"v": {"trending": ["only"]}}
    assert told == ["als proposes nothing: there is no model als"]


def test_blocks_hold_from_when_to_when_they_say_by_their_newest_version_for_contents_and_creators(spark):
    blocks = blocklist(
        spark,
        ("always", None, None, None, days_before(5)),
        ("over", None, days_before(5), CUT, days_before(6)),
        ("tomorrow", None, days_before(-0.5), None, days_before(5)),
        ("next week", None, days_before(-7), None, days_before(5)),
        ("lifted", None, None, None, days_before(5)),
        ("lifted", None, None, days_before(1), days_before(2)),
        ("told later", None, None, None, CUT),
        (None, "villain", days_before(3), None, days_before(5)),
        (None, "pardoned", None, days_before(3), days_before(5)),
    )
    known = contents(spark, *[(name, None, None) for name in ("by villain", "by pardoned", "unsafe", "fine")])
    made = "CASE content_id WHEN 'by villain' THEN 'villain' WHEN 'by pardoned' THEN 'pardoned' END AS creator_id"
    tagged = "if(content_id = 'unsafe', array('gore', 'x'), array('x')) AS tags"
    known = known.selectExpr(*({"tags": tagged, "creator_id": made}.get(c, c) for c in known.columns))
    gone = withheld(interactions(spark), known, CUT, Blocks(blocks, ["gore"]))
    assert sorted(r["content_id"] for r in gone.collect()) == ["always", "by villain", "tomorrow", "unsafe"]
    assert [r["creator_id"] for r in blocked_creators(blocks, CUT).collect()] == ["villain"]


def test_everyone_is_served_and_only_the_newest_answer_before_the_cut_counts(spark):
    asked = users(
        spark,
        ("refused", True, days_before(9)),
        ("refused", False, days_before(2)),
        ("agreed", False, days_before(9)),
        ("agreed", None, days_before(2)),
        ("will refuse", True, days_before(9)),
        ("will refuse", False, CUT),
        ("later", True, days_before(-1)),
    )
    active = interactions(spark, ("active", "a", "impression", 1), ("active later", "a", "like", -1))
    served = {r["user_id"]: r["personalised"] for r in people(asked, active, CUT).collect()}
    assert served == {"refused": False, "agreed": True, "will refuse": True, "active": True}
