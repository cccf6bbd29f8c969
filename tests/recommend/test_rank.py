from chispa import assert_df_equality

from salience.recommend.rank import rank
from salience.tables import recommendations
from salience.tables.conform import conform

CANDIDATES = (
    "platform string, user_id string, arm string, content_id string, score double, source string, "
    "because array<struct<content_id string, contribution double, share double>>"
)
SCORES = "platform string, user_id string, content_id string, model string, p_engage_24h double"
PEOPLE = "platform string, user_id string"


def candidate(content, score, source="als", because=(), user="u"):
    return (
        "feed",
        user,
        "personalised",
        content,
        score,
        source,
        [(name, 1.0, 0.5) for name in because] if because else None,
    )


def ranked(spark, candidates, scores, k, people=("u",)):
    scored = None
    if scores is not None:
        rows = [("feed", "u", content, model, p) for content, model, p in scores]
        scored = spark.createDataFrame(rows, SCORES)
    everyone = spark.createDataFrame([("feed", user) for user in people], PEOPLE)
    return rank(spark.createDataFrame(candidates, CANDIDATES), scored, everyone, k)


def order(frame):
    return [r["content_id"] for r in frame.orderBy("user_id", "rank").collect()]


def test_the_likeliest_come_first_then_the_higher_score_then_the_smaller_id(spark):
    candidates = [candidate(c, score) for c, score in (("d", 1.0), ("c", 1.0), ("b", 2.0), ("a", 0.0), ("e", 9.0))]
    scores = [(c, "logistic", p) for c, p in (("a", 0.9), ("b", 0.5), ("c", 0.5), ("d", 0.5))] + [("e", "other", 1.0)]
    best, short = ranked(spark, candidates, scores, 5)
    assert order(best) == ["a", "b", "c", "d", "e"]
    assert short.count() == 0
    assert conform(recommendations.RECOMMENDATIONS, best.selectExpr("*", "'r' AS release_id")).count() == 5


def test_without_engagement_scores_personal_candidates_come_before_trending_ones(spark):
    candidates = [candidate("t", 99.0, "trending"), candidate("a", 0.1), candidate("b", 0.2)]
    best, _ = ranked(spark, candidates, None, 3)
    assert order(best) == ["b", "a", "t"]
    assert [r["p_engage_24h"] for r in best.collect()] == [None] * 3


def test_lists_hold_k_and_who_has_fewer_or_none_is_told(spark):
    candidates = [candidate(c, 1.0) for c in "abc"] + [candidate("a", 1.0, user="v")]
    best, short = ranked(spark, candidates, None, 2, people=("u", "v", "w"))
    assert order(best) == ["a", "b", "a"]
    expected = spark.createDataFrame(
        [("feed", "v", 1, "catalogue_exhausted"), ("feed", "w", 2, "catalogue_exhausted")],
        "platform string, user_id string, missing int, reason string",
    )
    assert_df_equality(short, expected, ignore_nullable=True, ignore_row_order=True)
    assert conform(recommendations.SHORTFALLS, short.selectExpr("*", "'r' AS release_id")).count() == 2


def test_reasons_are_sentences_for_a_person(spark):
    candidates = [
        candidate("a", 1.0, because=("c12", "c7", "c3")),
        candidate("b", 0.9, because=("c12",)),
        candidate("c", 0.8),
        candidate("d", 3.0, "trending"),
        candidate("e", 0.0, "trending"),
    ]
    best, _ = ranked(spark, candidates, None, 5)
    assert {r["content_id"]: r["reason"] for r in best.collect()} == {
        "a": "Because of what you did with c12 and c7",
        "b": "Because of what you did with c12",
        "c": "Chosen for you from what you did before",
        "d": "Popular this week on feed",
        "e": "New to you on feed",
    }
