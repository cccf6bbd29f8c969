import json

import pytest
from pyspark.sql import functions as F

from salience.recommend import evaluate
from salience.recommend.als import Point
from salience.recommend.averages import means
from salience.recommend.evaluate import Choice, choose, judged, report, segments
from salience.recommend.models.als import als_at
from salience.recommend.popularity import ALL_TIME
from salience.recommend.ranking import METRICS
from salience.recommend.split import cuts
from salience.recommend.variety import VARIETY
from salience.tables import recommendations
from salience.tables.conform import conform
from salience.tables.rows import as_frame
from tests.recommend.rows import AS_OF, CUT, contents, days_before, interactions

pytestmark = pytest.mark.integration  # many fits: make check would take too long

GROUP = ["segment", "model"]


@pytest.fixture
def quick(settings):
    als = settings.recommend.als.model_copy(
        update={"rank": 4, "iterations": 2, "alphas": [1, 10], "regularisations": [0.1], "blocks": 1}
    )
    return settings.recommend.model_copy(
        update={
            "als": als,
            "evaluation_days": 3.0,
            "evaluation_k": 2,
            "popularity_half_lives_days": [1.0, 7.0],
            "bootstrap_replicates": 200,
        }
    )


def test_popularity_shows_the_best_unseen_content_that_was_available(spark, quick):
    events = interactions(
        spark,
        *[(f"x{n}", "old favourite", "like", 20) for n in range(5)],
        *[(f"x{n}", "unpublished", "like", 20) for n in range(9)],
        *[(f"x{n}", "expired", "like", 20) for n in range(9)],
        *[(f"x{n}", "new favourite", "like", 4) for n in range(2)],
        *[(f"x{n}", "seen", "like", 4) for n in range(9)],
        ("u", "seen", "like", 9),
        ("u", "new favourite", "like", 2),
        # What happens after the cut may not help: this would make `late` the most popular.
        *[(f"x{n}", "late", "like", 2) for n in range(9)],
    )
    known = contents(spark, ("unpublished", days_before(2), None), ("expired", None, days_before(3)))
    shown = events.where("user_id = 'u' OR action = 'like'")
    with judged(shown, known, days_before(3), CUT, {}, [ALL_TIME, 1.0], quick) as found:
        rows = {r["model"]: r for r in found.per_person.where("user_id = 'u' AND segment = 'all'").collect()}
        # All time: old favourite (5 likes) before new favourite (2 likes): hit at place 2. Recent: hit at place 1.
        assert rows["popularity_all_time"]["ndcg"] == pytest.approx(0.6309297535714575, abs=1e-12)
        assert rows["popularity_1d"]["ndcg"] == 1.0
        assert rows["popularity_all_time"]["recall"] == 1.0


def test_means_are_over_the_judged_people_and_als_finds_what_alike_people_like(spark, quick):
    # Two tastes; each person has yet to find the one content that all others of their taste like.
    rows = [
        (f"{taste}{n}", f"{taste}-{content}", "like", 8)
        for taste in "ab"
        for n in range(6)
        for content in range(6)
        if content != n
    ]
    finds = [(f"{taste}{n}", f"{taste}-{n}", "like", 1) for taste in "ab" for n in range(6)]
    events = interactions(spark, *rows, *finds)
    models = {"als": als_at(Point(10.0, 0.1), quick.als)}
    with judged(events, contents(spark), days_before(3), CUT, models, [7.0], quick) as found:
        told = {model: values for (_, model), values in means(found.per_person.where("segment = 'all'"), GROUP).items()}
        assert told["als"]["users"] == 12
        assert told["als"]["ndcg"] == 1.0
        assert told["als"]["recall"] == 1.0
        assert told["popularity_7d"]["ndcg"] < 1.0


@pytest.fixture(scope="module")
def year(spark):
    """Enough history for both windows: a choice to make, and something to find."""
    people = [f"{taste}{n}" for taste in "ab" for n in range(5)]
    old = [(p, f"{p[0]}-{c}", "like", 12 + c) for p in people for c in range(5) if c != int(p[1])]
    old += [("a1", f"x{c}", "view", 12) for c in range(2)]
    middle = [(p, f"{p[0]}-{(int(p[1]))}", "like", 5) for p in people[::2]]
    late = [(p, f"{p[0]}-{(int(p[1]))}", "like", 1) for p in people[1::2]]
    return interactions(spark, *old, *middle, *late)


def test_a_compared_model_that_the_catalogue_is_too_large_for_is_told_and_left_out(spark, quick):
    events = interactions(spark, *[(f"u{n}", f"c{(n + m) % 6}", "like", 9 - m) for n in range(8) for m in range(1, 8)])
    small = quick.model_copy(
        update={"compared": ["ease"], "search": quick.search.model_copy(update={"ease_memory_mb": 1e-6})}
    )
    told, choice = [], Choice(Point(1, 0.1), {})
    rows = report(events, contents(spark), cuts(AS_OF, 3.0), choice, small, None, told.append)
    assert {row["model"] for row in rows if " - " not in row["model"] and "popularity" not in row["model"]} == {"als"}
    (line,) = told
    assert line.startswith("ease is not judged: ease: ") and "leave ease out" in line


def test_the_report_has_every_model_with_paired_intervals_and_conforms_to_its_contract(spark, quick, year):
    windows = cuts(AS_OF, quick.evaluation_days)
    choice = choose(year, contents(spark), windows, quick)
    grid = {f"ALS with alpha {alpha} and regularisation 0.1" for alpha in (1, 10)}
    baselines = {"similarity", "blend", "popularity_all_time", "popularity_1d", "popularity_7d"}
    assert choice.tried.keys() == grid
    assert choice.tried[str(choice.point)] == max(choice.tried[name] for name in grid)
    rows = report(year, contents(spark), windows, choice, quick)
    assert {row["model"] for row in rows} == {"als"} | baselines | {f"als - {baseline}" for baseline in baselines}
    assert {row["metric"] for row in rows} == {*METRICS, *VARIETY, "coverage"}
    assert {row["model"] for row in rows if row["is_published"]} == {"als", "blend"}
    (mixed,) = {row["settings"] for row in rows if row["model"] == "blend"}
    assert json.loads(mixed)["weights"] == quick.blend
    (neighbours,) = {row["settings"] for row in rows if row["model"] == "similarity"}
    assert json.loads(neighbours)["shrinkage"] == quick.search.shrinkages[0]
    assert {row["segment"] for row in rows} == {"all", "history=1 to 4", "history=5 to 19"}
    by_model = {row["model"]: row for row in rows if row["metric"] == "ndcg" and row["segment"] == "all"}
    difference = by_model["als"]["value"] - by_model["popularity_all_time"]["value"]
    assert by_model["als - popularity_all_time"]["value"] == pytest.approx(difference, abs=1e-15)
    unknown = {"intra_list_diversity": "value", "coverage": "ci_low"}  # no content has tags
    assert {row["users"] for row in rows if row["metric"] == "intra_list_diversity"} == {0}
    for row in rows:
        if row["metric"] in unknown:
            assert row[unknown[row["metric"]]] is None
        else:
            # Replicates are of values rounded to 1e-9.
            assert row["ci_low"] - 1e-9 <= row["value"] <= row["ci_high"] + 1e-9
    # Of ten contents and two that were only viewed, all of which somebody may be shown.
    covered = {row["model"]: row["value"] for row in rows if row["metric"] == "coverage"}
    assert covered.keys() == {"als"} | baselines and covered["als"] in {n / 12 for n in range(1, 13)}
    stamped = as_frame(spark, recommendations.EVALUATION, [{"platform": "feed", **row} for row in rows]).selectExpr(
        "*", "'r' AS release_id"
    )
    assert conform(recommendations.EVALUATION, stamped).count() == 3 * (11 * len(METRICS) + 6 * len(VARIETY)) + 6


def test_als_shows_nothing_that_is_not_available_and_learns_from_it_all_the_same(spark, quick):
    """Everybody who likes a, b and c likes `gone` too; who lacks it would get it before d, which few like."""
    fans = [(f"x{n}", name, "like", 8) for n in range(6) for name in ("a", "b", "c", "gone")]
    rows = [*fans, ("x0", "d", "like", 8), *[("u", name, "like", 8) for name in "abc"], ("u", "d", "like", 1)]
    models = {"als": als_at(Point(10.0, 0.1), quick.als)}
    events, one = interactions(spark, *rows), quick.model_copy(update={"evaluation_k": 1})
    found = []
    for known in (contents(spark), contents(spark, ("gone", None, days_before(4)))):
        with judged(events, known, days_before(3), CUT, models, [], one) as told:
            found.append(means(told.per_person, GROUP)["all", "als"]["ndcg"])
    assert found == [0.0, 1.0]


@pytest.mark.parametrize(
    "contents_seen, segment",
    [
        (1, "history=1 to 4"),
        (4, "history=1 to 4"),
        (5, "history=5 to 19"),
        (19, "history=5 to 19"),
        (20, "history=20 and more"),
    ],
)
def test_people_are_told_apart_by_the_length_of_their_history(spark, contents_seen, segment):
    person = spark.createDataFrame([([f"c{n}" for n in range(contents_seen)],)], "seen array<string>")
    assert person.select(segments(F.col("seen"))).head()[0] == ["all", segment]


def test_the_means_of_segments_are_over_their_people_and_make_up_that_of_all(spark, quick, year):
    windows = cuts(AS_OF, quick.evaluation_days)
    rows = report(year, contents(spark), windows, Choice(Point(1, 0.1), {}), quick)
    of_als = {r["segment"]: r for r in rows if (r["model"], r["metric"]) == ("als", "ndcg")}
    assert {name: r["users"] for name, r in of_als.items()} == {"all": 5, "history=1 to 4": 4, "history=5 to 19": 1}
    parts = [r["users"] * r["value"] for name, r in of_als.items() if name != "all"]
    assert sum(parts) == pytest.approx(of_als["all"]["users"] * of_als["all"]["value"])


def test_people_are_judged_apart_by_the_largest_groups_of_each_attribute(spark, quick, year, monkeypatch):
    monkeypatch.setattr(evaluate, "SEGMENTS_AT_MOST", 2)
    regions = {"a1": "EU", "a3": "EU", "b0": "US", "b2": "AF", "a0": "EU", "nobody": "US"}
    of_people = [(person, f"region={region}") for person, region in regions.items()]
    of_people += [("b0", "plan=free"), ("b2", "plan=free")]
    groups = spark.createDataFrame(of_people, "user_id string, segment string")
    windows = cuts(AS_OF, quick.evaluation_days)
    rows = report(year, contents(spark), windows, Choice(Point(1, 0.1), {}), quick, groups)
    users = {r["segment"]: r["users"] for r in rows if (r["model"], r["metric"]) == ("als", "ndcg")}
    # a0 is not judged; of the regions with one person each, the first by name counts.
    told = {name: count for name, count in users.items() if not name.startswith("history=")}
    assert told == {"all": 5, "region=EU": 2, "region=AF": 1, "plan=free": 2}


def test_too_little_history_gives_the_first_choice_and_no_report(spark, quick):
    events = interactions(spark, ("u", "a", "like", 1), ("v", "a", "like", 1))
    windows = cuts(AS_OF, quick.evaluation_days)
    choice = choose(events, contents(spark), windows, quick)
    assert choice == Choice(Point(1, 0.1), {})
    assert report(events, contents(spark), windows, choice, quick) == []
    assert as_frame(spark, recommendations.EVALUATION, []).count() == 0
