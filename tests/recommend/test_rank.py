from chispa import assert_df_equality

from salience.recommend.arms import HELD_OUT, NOT_PERSONALISED, PERSONALISED
from salience.recommend.rank import rank, shortfalls
from salience.tables import recommendations
from salience.tables.conform import conform
from tests.recommend.rows import CUT

CANDIDATES = (
    "platform string, user_id string, arm string, place int, content_id string, score double, source string, "
    "because array<struct<content_id string, contribution double, share double>>"
)
SCORES = "platform string, user_id string, content_id string, model string, p_engage_24h double"
FACTS = (
    "platform string, content_id string, engagement_value double, boost double, creator_id string, tags array<string>"
)
CAPS = "platform string, suggested_frequency_cap int"
PERSON = "platform string, user_id string"


def candidate(content, place, source="als", *, because=(), user="u", arm=PERSONALISED, score=1.0):
    own = [(name, 1.0, 0.5) for name in because] if because else None
    return ("feed", user, arm, place, content, score, source, own)


def ranked(spark, settings, candidates, scores, k, facts=(), **changed):
    rows = [("feed", *score) for score in scores or ()]
    scored = spark.createDataFrame(rows, SCORES) if rows else None
    known = spark.createDataFrame([("feed", *fact) for fact in facts], FACTS)
    recommend = settings.recommend
    chosen = recommend.model_copy(update={"k": k, "rank": recommend.rank.model_copy(update=changed)})
    caps = spark.createDataFrame([("feed", 3)], CAPS)
    return rank(spark.createDataFrame(candidates, CANDIDATES), scored, known, caps, CUT, chosen)


def lists(frame):
    told = {}
    for row in frame.orderBy("user_id", "rank").collect():
        told.setdefault(row["user_id"], []).append(row["content_id"])
        assert row["rank"] == len(told[row["user_id"]])
    return told


PLAIN = {"action_values": {}, "mmr_lambda": 1.0, "creator_cap": None, "freshness_boost": 0.0, "exploration_slots": 0}


def test_what_is_expected_comes_first_then_the_smaller_place_and_what_is_not_scored_last(spark, settings):
    # u: a .2 x 2 x 1, b .3 x 1 x 1.5, c and d .1; e has no probability and f one of another model.
    candidates = [candidate(content, place) for place, content in enumerate("fedcba", 1)]
    candidates += [candidate(content, place, user="v") for place, content in enumerate("xa", 1)]
    scores = [("u", c, "logistic", p) for c, p in (("a", 0.2), ("b", 0.3), ("c", 0.1), ("d", 0.1))]
    scores += [("u", "f", "other", 1.0)]
    facts = [("a", 2.0, 1.0, None, None), ("b", 1.0, 1.5, None, None), ("c", 1.0, 1.0, None, None)]
    best = ranked(spark, settings, candidates, scores, 6, facts, **PLAIN)
    assert lists(best) == {"u": ["b", "a", "d", "c", "f", "e"], "v": ["x", "a"]}
    told = {(r["propensity"], r["suggested_frequency_cap"], r["source"]) for r in best.collect()}
    assert told == {(1.0, 3, "als")}
    assert conform(recommendations.RECOMMENDATIONS, best.selectExpr("*", "'r' AS release_id")).count() == 8


def test_other_arms_keep_the_order_of_places_whatever_is_set(spark, settings):
    arms = {"u": PERSONALISED, "v": HELD_OUT, "w": NOT_PERSONALISED}
    candidates = [
        candidate(content, place, "trending", user=user, arm=arm)
        for user, arm in arms.items()
        for place, content in enumerate("abcdef", 1)
    ]
    scores = [(user, "f", "logistic", 0.9) for user in arms]
    facts = [(c, 1.0, 1.0 + 9.0 * (c == "e"), "one", ["x"]) for c in "abcde"] + [("f", 1.0, 1.0, "two", ["y"])]
    changed = {"mmr_lambda": 0.5, "creator_cap": 1, "exploration_slots": 1}
    best = ranked(spark, settings, candidates, scores, 3, facts, **changed).collect()
    told = {
        user: [r["content_id"] for r in sorted(best, key=lambda r: r["rank"]) if r["user_id"] == user] for user in arms
    }
    assert told["v"] == told["w"] == ["a", "b", "c"]
    assert told["u"][:2] == ["f", "e"]
    assert {(r["user_id"], r["propensity"]) for r in best if r["propensity"] != 1} == set()  # the pool has no room


def test_who_has_fewer_or_none_is_told_and_why(spark):
    person = "platform string, user_id string"
    candidates = spark.createDataFrame([("feed", user) for user in "uuv"] + [("video", "y")], person)
    served = [("feed", user) for user in "uvw"] + [("video", "y"), ("shop", "z")]
    available = spark.createDataFrame([("feed", 2), ("video", 1), ("shop", 0)], "platform string, available bigint")
    short = shortfalls(candidates, spark.createDataFrame(served, person), available, 2)
    expected = [
        ("feed", "v", 1, "catalogue_exhausted"),
        ("feed", "w", 2, "catalogue_exhausted"),
        ("video", "y", 1, "catalogue_too_small"),
        ("shop", "z", 2, "nothing_available"),
    ]
    expected = spark.createDataFrame(expected, f"{person}, missing int, reason string")
    assert_df_equality(short, expected, ignore_nullable=True, ignore_row_order=True)
    assert conform(recommendations.SHORTFALLS, short.selectExpr("*", "'r' AS release_id")).count() == 4


def test_reasons_are_sentences_for_a_person(spark, settings):
    candidates = [
        candidate("a", 1, because=("c12", "c7", "c3")),
        candidate("b", 2, because=("c12",)),
        candidate("c", 3),
        candidate("d", 4, "trending", score=3.0),
        candidate("e", 5, "trending", score=0.0),
    ]
    best = ranked(spark, settings, candidates, None, 5, **PLAIN)
    assert {r["content_id"]: r["reason"] for r in best.collect()} == {
        "a": "Because of what you did with c12 and c7",
        "b": "Because of what you did with c12",
        "c": "Chosen for you from what you did before",
        "d": "Popular of late on feed",
        "e": "New to you on feed",
    }


def test_each_content_of_the_pool_is_drawn_as_often_as_its_propensity_says_and_again_alike(spark, settings):
    people, width, k, slots = 2000, 8, 4, 2
    rows = spark.range(people).selectExpr(
        "'feed' AS platform",
        "CAST(id AS string) AS user_id",
        f"'{PERSONALISED}' AS arm",
        f"explode(sequence(1, {width})) AS place",
    )
    because = "array(struct('c1' AS content_id, 1.0D AS contribution, 1.0D AS share))"
    rows = rows.selectExpr(
        "*", "concat('c', place) AS content_id", "1.0D AS score", "'als' AS source", f"{because} AS because"
    )
    known = spark.createDataFrame([], FACTS)
    caps = spark.createDataFrame([], CAPS)

    def drawn(salt="1", parts=3):
        changed = settings.recommend.rank.model_copy(
            update={**PLAIN, "exploration_slots": slots, "exploration_salt": salt}
        )
        chosen = settings.recommend.model_copy(update={"k": k, "rank": changed})
        return rank(rows.repartition(parts), None, known, caps, CUT, chosen).toPandas()

    made = drawn()
    by_lot = made[made["source"] == "explore"]
    pool = width - (k - slots)
    assert len(made) == people * k and made.groupby("user_id")["content_id"].nunique().eq(k).all()
    assert set(by_lot["rank"]) == {3, 4} and set(by_lot["propensity"]) == {slots / pool}
    assert set(by_lot["reason"]) == {"Shown to learn whether you like it"} and by_lot["because"].isna().all()
    rest = made[made["source"] != "explore"]
    assert set(zip(rest["rank"], rest["content_id"], rest["propensity"], strict=True)) == {
        (1, "c1", 1.0),
        (2, "c2", 1.0),
    }
    counts = by_lot["content_id"].value_counts()
    share, error = slots / pool, (slots / pool * (1 - slots / pool) / people) ** 0.5
    assert set(counts.index) == {f"c{place}" for place in range(3, 9)}
    assert (abs(counts / people - share) < 4 * error).all()
    # Each place alike, too: the first of both is any content by the same probability.
    firsts = by_lot[by_lot["rank"] == 3]["content_id"].value_counts() / people
    assert (abs(firsts - 1 / pool) < 4 * (1 / pool * (1 - 1 / pool) / people) ** 0.5).all()
    key = ["user_id", "rank", "content_id"]

    def told(frame):
        return set(map(tuple, frame[key].to_numpy()))

    assert told(drawn(parts=2)) == told(made)
    both = set(map(tuple, by_lot[key].to_numpy())) & told(drawn(salt="2"))
    # Independent draws agree on a place by 1 / pool.
    assert abs(len(both) / len(by_lot) - 1 / pool) < 0.02
