"""From two files to a comparison, by the job."""

import json
import re
from math import log2

import numpy as np
import pandas as pd
import pytest

import evaluate_recommender
from salience.job import run_job
from salience.recommend.ranking import METRICS

pytestmark = pytest.mark.integration

QUICK = (
    "recommend.bootstrap_replicates=100",
    "recommend.als.blocks=1",
    "recommend.search.als_iterations=[3]",
    "recommend.search.als_ranks=[4]",
    "recommend.search.als_alphas=[1]",
    "recommend.search.als_regularisations=[0.1, 1]",
    "recommend.search.ease_regularisations=[10, 30]",
    "recommend.search.ease_dropouts=[0]",
    "recommend.search.ease_normalisations=[0.25]",
    "recommend.search.powers=[0]",
    "recommend.search.neighbours=[5]",
    "recommend.search.user_neighbours=[5]",
    "recommend.search.shrinkages=[0]",
    "recommend.search.svd_ranks=[3]",
    "recommend.search.svd_normalisations=[0.3]",
    "recommend.search.share=0.3",
    "recommend.search.segment_prior_pairs=1",
    "recommend.search.folds=1",
    "recommend.search.blend_folds=2",
    "recommend.search.half_lives_days=[null]",
    "recommend.search.popularity_half_lives_days=[null, 3]",
)
TASTES = {f"{taste}{n}": [f"{taste}-{c}" for c in range(8)] for taste in "xyz" for n in range(8)}


@pytest.fixture
def evaluate(tmp_path, settings):
    def run(train, test, *more, ending="parquet"):
        files = {}
        for name, frame in {"train": train, "test": test}.items():
            files[name] = str(tmp_path / f"{name}.{ending}")
            if ending == "parquet":
                frame.to_parquet(files[name], index=False)
            else:
                frame.to_csv(files[name], index=False)
        argv = ["--env", "local", "--train", files["train"], "--test", files["test"], "--json", str(tmp_path / "out")]
        for setting in QUICK:
            argv += ["--set", setting]
        code = run_job(
            evaluate_recommender.main, [*argv, *more], interval=False, records=False, extra=evaluate_recommender.extra
        )
        return json.loads((tmp_path / "out").read_text()) if code == 0 else code

    return run


@pytest.fixture(scope="module")
def tastes():
    """Three tastes; each person has yet to find two of the eight things that all of their taste like."""
    random = np.random.default_rng(1)
    train, test = [], []
    for user, items in TASTES.items():
        order = list(random.permutation(items))
        train += [(user, item, float(random.integers(1, 6)), day) for day, item in enumerate(order[:6])]
        test += [(user, item, 5.0, 20) for item in order[6:]]
    columns = ["user", "item", "weight", "timestamp"]
    return pd.DataFrame(train, columns=columns), pd.DataFrame(test, columns=columns)


@pytest.mark.slow
def test_every_model_is_judged_and_those_that_see_tastes_beat_popularity(evaluate, tastes, tmp_path, capsys):
    items = sorted({item for items in TASTES.values() for item in items})
    contents, users = tmp_path / "contents.csv", tmp_path / "users.csv"
    pd.DataFrame({"item": items, "tags": [f"{item[0]}|all" for item in items]}).to_csv(contents, index=False)
    pd.DataFrame({"user": list(TASTES), "segment": [user[0] for user in TASTES]}).to_csv(users, index=False)
    found = evaluate(*tastes, "--k", "3", "--contents", str(contents), "--users", str(users))
    assert list(found) == [
        "als",
        "similarity",
        "user_similarity",
        "ease",
        "svd",
        "tags",
        "popularity",
        "segment_popular",
        "blend",
    ]
    # Two unseen contents of one's own taste, and both are relevant.
    for model in found.keys() - {"popularity"}:
        assert found[model]["ndcg"] == pytest.approx(1.0), model
        assert found[model]["precision"] == pytest.approx(2 / 3)
    assert found["popularity"]["ndcg"] < 0.5
    for figures in found.values():
        assert set(figures) >= {*METRICS, "coverage", "parameters", "seconds", "k", "users"}
        assert figures["users"] == len(TASTES)
        for metric in METRICS:
            low, high = figures["intervals_95"][metric]
            assert low <= figures[metric] + 1e-9 and figures[metric] - 1e-9 <= high
    difference = found["als"]["ndcg_differences"]["popularity"]
    assert difference["value"] == pytest.approx(found["als"]["ndcg"] - found["popularity"]["ndcg"])
    assert 0 < difference["ci_low"] < difference["value"] < difference["ci_high"]
    blend = found["blend"]["parameters"]
    assert sum(blend["weights"].values()) == pytest.approx(1.0)
    assert blend["parts"] == {name: found[name]["parameters"] for name in blend["weights"]}
    told = capsys.readouterr().out
    assert "ndcg@3 (95%)" in told and "segment_popular" in told


def test_popularity_by_hand_with_ids_beyond_32_bits_from_csv(evaluate):
    big = 1 << 33
    train = pd.DataFrame(
        [(big, 1), (big, 2), (big + 1, 1), (big + 1, 3), (big + 2, 1), (big + 2, 3), (big + 2, 4), (big + 3, 2)],
        columns=["user", "item"],
    )
    # Popularity: 1 (3), 2 and 3 (2), 4 (1). The first person sees 3, 4; the last one 1, 3, 4.
    test = pd.DataFrame([(big, 4), (big + 3, 3), (big + 9, 1)], columns=["user", "item"])
    found = evaluate(train, test, "--models", "popularity", "--k", "2", ending="csv")["popularity"]
    assert found["users"] == 2
    assert found["ndcg"] == pytest.approx(1 / log2(3))
    assert (found["recall"], found["precision"], found["mrr"], found["map"]) == (1.0, 0.5, 0.5, 0.5)
    assert found["coverage"] == 3 / 4


def test_by_time_the_half_life_that_follows_the_fashion_is_chosen(evaluate):
    done = [
        *[(user, "classic", 0) for user in range(12)],
        *[(user, "old", 0) for user in range(6)],
        *[(user, "hit", 40) for user in (6, 7)],
        # From here on the inner split hides: more people had done `old`, and these went for what was new.
        *[(user, "hit", 41) for user in (8, 9, 10, 11, 0, 1)],
        *[(user, "new hit", 60) for user in (2, 3)],
    ]
    train = pd.DataFrame([(f"u{user}", item, day * 86_400) for user, item, day in done])
    test = pd.DataFrame([(f"u{user}", "new hit", 61 * 86_400) for user in (8, 9, 10, 11)])
    named = {0: "user", 1: "item", 2: "timestamp"}
    more = ("--models", "popularity", "--inner", "time", "--k", "1", "--set", "recommend.search.share=0.25")
    found = evaluate(train.rename(columns=named), test.rename(columns=named), *more)["popularity"]
    assert found["parameters"] == {"half_life_days": 3.0}
    assert found["ndcg"] == 1.0


def test_a_search_without_time_tries_one_point_a_model_and_says_what_is_left(evaluate, tastes):
    found = evaluate(*tastes, "--models", "ease,als", "--budget-s", "0")
    assert [len(found[model]["search"]["tried"]) for model in ("ease", "als")] == [1, 1]
    assert [found[model]["search"]["points_left_untried"] for model in ("ease", "als")] == [1, 1]


def pairs(*rows):
    return pd.DataFrame(rows, columns=["user", "item", "weight"])


SOME = pairs(*[(f"u{n}", f"c{(n + m) % 6}", 1.0) for n in range(12) for m in range(4)])
FIND = pairs(*[(f"u{n}", f"c{(n + 4) % 6}", 1.0) for n in range(12)])


@pytest.mark.parametrize(
    ("train", "test", "more", "told"),
    [
        (SOME, FIND[:0], (), "--test .*: there are no rows"),
        (SOME[:0], FIND, (), "--train .*: there are no rows"),
        (
            SOME,
            FIND.assign(user="stranger"),
            (),
            "--test: nobody can be judged: .*; check that both files write ids alike",
        ),
        (SOME.assign(weight=float("nan")), FIND, (), "48 of 48 rows have a weight that is neither 0 nor from"),
        (SOME.assign(weight=1e10), FIND, (), "scale all weights alike"),
        (
            SOME.assign(weight=0.0),
            FIND,
            (),
            "the inner split of train: nobody can be judged: .*; give --train more rows",
        ),
        (SOME, FIND, ("--models", "als,bert"), "--models: there is no 'bert'; there are als, similarity"),
        (SOME, FIND, ("--inner", "time"), "--inner time asks for a column timestamp"),
        (SOME.assign(timestamp=9), FIND, ("--inner", "time"), "--inner time: too many rows of --train have its first"),
        (
            SOME,
            FIND,
            ("--set", "recommend.search.als_ranks=[0]"),
            "recommend.search.als_ranks.0: .* greater than or equal to 1",
        ),
        (SOME, FIND, ("--models", "tags"), "no model is left to judge"),
        (SOME, FIND, ("--k", "0"), "--k 0: must be at least 1"),
        (SOME, FIND, ("--models", "ease", "--set", "recommend.search.ease_memory_mb=0.0001"), "leave ease out"),
    ],
)
def test_what_cannot_be_judged_ends_in_one_line_that_says_what_to_do(evaluate, capsys, train, test, more, told):
    assert evaluate(train, test, *more) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("evaluate_recommender: ")]
    assert re.search(told, line), line


@pytest.mark.parametrize(
    ("option", "text", "told"),
    [
        ("--contents", "item,tags\nc1,Drama\n,Drama\n", "a row has an empty item; correct or remove it"),
        ("--contents", "item,tags\nc1,Drama\nc1,Crime\n", "names one item twice; leave one row each"),
        ("--contents", "item,tags\nc1,Drama,x\n", "cannot be read to its end: "),
        ("--users", "user,segment\n ,north\n", "a row has an empty user; correct or remove it"),
        ("--users", "user,region\nu1,north\n", "column segment is missing, there are: user, region"),
    ],
)
def test_what_is_known_of_contents_and_users_is_checked(evaluate, tmp_path, capsys, option, text, told):
    (tmp_path / "known.csv").write_text(text)
    assert evaluate(SOME, FIND, "--models", "tags,segment_popular", option, str(tmp_path / "known.csv")) == 2
    error = capsys.readouterr().err
    assert f"evaluate_recommender: {option} {tmp_path}/known.csv: {told}" in error and "Traceback" not in error


def test_contents_that_nobody_in_train_had_to_do_with_are_not_ranked(evaluate, tmp_path):
    known = [f"c{n},a" for n in range(6)] + [f"new{n},a" for n in range(30)]
    (tmp_path / "known.csv").write_text("\n".join(["item,tags", *known]))
    found = evaluate(SOME, FIND, "--models", "tags", "--contents", str(tmp_path / "known.csv"), "--k", "5")
    # Two of six are left to each.
    assert found["tags"]["recall"] == 1.0 and found["tags"]["coverage"] == 1.0


def test_a_model_that_is_refused_leaves_the_others(evaluate, capsys):
    more = ("--models", "ease,popularity", "--set", "recommend.search.ease_memory_mb=0.0001")
    assert evaluate(SOME, FIND, *more).keys() == {"popularity"}
    assert "ease: left out: ease: 6 items x 6 items take" in capsys.readouterr().out


def test_a_pair_of_many_heavy_rows_adds_up(evaluate):
    heavy = pd.concat([SOME, *[SOME[:1].assign(weight=1e9)] * 12])
    assert evaluate(heavy, FIND, "--models", "popularity")["popularity"]["users"] == 12


def test_a_file_that_is_damaged_within_is_told_in_one_line(spark, tmp_path, capsys):
    parquet, csv = tmp_path / "train.parquet", tmp_path / "train.csv"
    SOME.to_parquet(parquet)
    content = parquet.read_bytes()
    parquet.write_bytes(b"PAR1" + b"\xff" * 60 + content[64:])
    csv.write_text("user,item\na,b,c,d\n")
    for train in (parquet, csv):
        argv = ["--env", "local", "--train", str(train), "--test", str(train), "--models", "popularity"]
        assert (
            run_job(evaluate_recommender.main, argv, interval=False, records=False, extra=evaluate_recommender.extra)
            == 2
        )
        told = capsys.readouterr().err
        assert f"evaluate_recommender: --train {train}: cannot be read to its end: " in told
        assert "Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize("odd", ["one user", "one item", "duplicate pairs", "equal weights"])
def test_thin_data_gives_a_result_or_one_clear_error(evaluate, capsys, odd):
    train, test = {
        "one user": (pairs(*[("u", f"c{n}", 1.0) for n in range(9)]), pairs(("u", "c9", 1.0))),
        "one item": (pairs(*[(f"u{n}", "c", 1.0) for n in range(9)]), pairs(("u1", "d", 1.0))),
        "duplicate pairs": (pd.concat([SOME, SOME]), pd.concat([FIND, FIND])),
        "equal weights": (SOME.assign(weight=7.0), FIND.assign(weight=7.0)),
    }[odd]
    found = evaluate(train, test, "--models", "als,similarity,user_similarity,ease,svd,popularity,blend")
    if found == 2:
        assert "nobody can be judged" in capsys.readouterr().err
        assert odd == "one item"
    else:
        assert {figures["users"] for figures in found.values()} == {1 if odd == "one user" else 12}
