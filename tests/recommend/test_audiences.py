import numpy as np
import pytest

from salience.models.store import LoadedModel
from salience.recommend.als import Point, fit_settings
from salience.recommend.arms import HELD_OUT, NOT_PERSONALISED, PERSONALISED
from salience.recommend.audiences import audiences
from salience.recommend.tastes import personal_factors
from salience.tables import recommendations
from salience.tables.conform import conform
from tests.recommend.rows import CUT, interactions

ITEMS = "content_id string, features array<float>"
PEOPLE = "user_id string, features array<double>"
MAKERS = "content_id string, creator_id string"


@pytest.fixture
def best(spark, settings):
    """Return a function: items, people, events, makers -> (user_id, score) of each content, by rank."""

    def of(items, people, events=(), makers=(), audience=3, block_mb=1.0, **more):
        few = settings.recommend.model_copy(update={"audience": audience, "block_mb": block_mb})
        frames = ((items, ITEMS), (people, PEOPLE), (makers, MAKERS))
        offered, named, whose = (spark.createDataFrame(list(rows), schema) for rows, schema in frames)
        rows = audiences("feed", offered, named, interactions(spark, *events), whose, CUT, few, **more)
        told = {}
        for row in sorted(conform(recommendations.AUDIENCES, rows.selectExpr("*", "'r' AS release_id")).collect()):
            lists = told.setdefault(row["content_id"], [])
            lists.append((row["user_id"], row["score"]))
            assert (row["platform"], row["rank"]) == ("feed", len(lists))
        return told

    return of


def test_contents_get_the_people_whom_they_suit_best_but_not_those_who_saw_them_nor_their_creators(best):
    people = [("v", [1.0]), ("u", [1.0]), ("creator", [9.0]), ("saw", [8.0]), ("saw other", [2.0]), ("late", [0.5])]
    events = [
        ("saw", "a", "impression", 3),
        ("saw", "a", "like", 2),
        ("saw other", "d", "like", 3),
        ("late", "a", "like", -1),
        ("u", None, "follow", 3),
    ]
    makers = [("a", "creator"), ("d", "v")]
    assert best([("a", [1.0]), ("b", [-1.0])], people, events, makers, audience=4) == {
        "a": [("saw other", 2.0), ("u", 1.0), ("v", 1.0), ("late", 0.5)],
        "b": [("late", -0.5), ("u", -1.0), ("v", -1.0), ("saw other", -2.0)],
    }


def test_one_person_and_one_content_and_nobody(best):
    assert best([("a", [2.0]), ("seen", [1.0])], [("u", [1.0])], [("u", "seen", "view", 1)]) == {"a": [("u", 2.0)]}
    assert best([("a", [2.0])], []) == {}


@pytest.mark.parametrize("parts", [{}, {"block_mb": 0.0015, "at_once": 80}])
def test_audiences_equal_a_full_sort_in_double_precision_however_people_are_parted(best, parts):
    random = np.random.default_rng(7)
    items, people = (np.round(random.normal(size=(n, 3)), 1).astype(np.float32) for n in (9, 150))
    people[75:] = people[:75]  # so that there are ties
    names = [f"u{n:03d}" for n in range(150)]
    saw = [set(random.choice(150, n, replace=False).tolist()) for n in (0, 1, 5, 40, 80, 120, 147, 149, 150)]
    makers = [(f"c{n}", names[person]) for n, person in enumerate(random.choice(150, 9))]
    told = best(
        [(f"c{n}", row.tolist()) for n, row in enumerate(items)],
        [(names[n], row.tolist()) for n, row in enumerate(people)],
        [(names[person], f"c{n}", "view", 1 + person % 3) for n, of in enumerate(saw) for person in of],
        makers,
        audience=10,
        **parts,
    )
    scores = (items.astype(np.float64) @ people.astype(np.float64).T).astype(np.float32)
    for n, row in enumerate(scores):
        left = [(-value, name) for m, (value, name) in enumerate(zip(row, names, strict=True)) if m not in saw[n]]
        order = sorted(one for one in left if (f"c{n}", one[1]) not in makers)[:10]
        assert told.get(f"c{n}", []) == [(name, -value) for value, name in order]
    assert told.keys() >= {f"c{n}" for n in range(6)}


def test_only_people_of_the_personalised_arm_have_factors_and_only_with_a_history_that_the_model_knows(spark, settings):
    liking = settings.recommend.model_copy(update={"action_weights": {"like": 1.0}})
    events = interactions(
        spark,
        *[(name, "a", "like", 3) for name in ("u", "held out", "refuses", "in no arm")],
        ("knows others", "unknown", "like", 3),
        ("only saw", "a", "impression", 3),
        ("later", "a", "like", -1),
    )
    arms = {"held out": HELD_OUT, "refuses": NOT_PERSONALISED}
    names = ("u", "held out", "refuses", "knows others", "only saw", "later", "newcomer")
    served = spark.createDataFrame(
        [(name, arms.get(name, PERSONALISED)) for name in names], "user_id string, arm string"
    )
    items = spark.createDataFrame([("a", [2.0]), ("b", [1.0])], ITEMS)
    fitted_with = liking.model_copy(update={"half_life_days": 3.0})
    model = LoadedModel({"item_factors": items}, {"settings": fit_settings(Point(1.0, 0.1), fitted_with)})
    ((name, (factor,)),) = personal_factors(served, events, CUT, model, liking).collect()
    # (4 + 1 + (1 x 0.5) x 4 + 0.1) x = (1 + 0.5) 2: three days are the half-life that the model was fitted with.
    assert (name, factor) == ("u", pytest.approx(3 / 7.1))
