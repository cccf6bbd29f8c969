import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import settings as examples_of
from hypothesis import strategies as st
from pyspark.errors import PythonException
from pyspark.sql import functions as F
from scipy.optimize import linprog
from scipy.special import expit

from salience.engagement.inference import INTERCEPT, Errors, bounded, infer
from salience.stats.small_cells import suppressed
from salience.tables import engagement as tables
from salience.tables.conform import conform
from tests.engagement.coverage import coverage, simulated

NAMES = ("own", "varied", "huge")
FIGURES = ("coefficient", "std_error", "odds_ratio", "ci_low", "ci_high", "p_value")


def drawn(seed, people=60):
    """Return exposures of people of whom some have 1 and some 60, with a feature that is fixed within each person."""
    draw = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), draw.geometric(1 / 15, people).clip(max=60))
    rows = len(person)
    own, mood = draw.normal(size=people)[person], draw.normal(size=people)[person]
    varied, huge = draw.normal(size=rows), draw.normal(5e6, 3e4, rows)
    label = draw.random(rows) < expit(-0.7 + 0.5 * own - 0.3 * varied + (huge - 5e6) / 6e4 + 0.8 * mood)
    users = [f"u{n}" for n in person]
    return pd.DataFrame({"user_id": users, "own": own, "varied": varied, "huge": huge, "label": label.astype(int)})


def inferred(spark, groups, features=NAMES, **kwargs):
    """Return the rows of groups of examples by group and feature."""
    rows = pd.concat([frame.assign(platform=name) for name, frame in groups.items()])
    found = infer(spark.createDataFrame(rows), ["platform"], features, "label", **kwargs).collect()
    return {name: {row["feature"]: row for row in found if row["platform"] == name} for name in groups}


def of(rows, figure):
    return np.array([row[figure] for row in rows.values()])


def matrix(frame, features=NAMES):
    return sm.add_constant(frame[list(features)].to_numpy(), has_constant="add")


def by_statsmodels(frame, features=NAMES):
    """Return the fit with errors by person; its optimiser is given the features about 0 and of like size."""
    design = matrix(frame, features)
    centre, size = design.mean(axis=0), design.std(axis=0)
    centre[0], size[0] = 0, 1
    start = sm.GLM(frame["label"], (design - centre) / size, sm.families.Binomial()).fit(tol=1e-14).params / size
    start = start.to_numpy()
    start[0] -= start @ centre
    by_person = {"groups": pd.factorize(frame["user_id"])[0], "use_correction": True, "df_correction": True}
    model = sm.GLM(frame["label"], design, sm.families.Binomial())
    return model.fit(start_params=start, tol=1e-14, cov_type="cluster", cov_kwds=by_person, use_t=True)


def by_mancl_and_derouen(frame):
    """Return the standard errors as the paper writes them, with a matrix of all rows of a person by themselves."""
    x, y = matrix(frame), frame["label"].to_numpy()
    x[:, 3] = (x[:, 3] - 5e6) / 3e4
    p = expit(x @ sm.Logit(y, x).fit(disp=0, tol=1e-14).params)
    weight = p * (1 - p)
    bread = np.linalg.inv(x.T @ (x * weight[:, None]))
    meat = np.zeros_like(bread)
    for user in frame["user_id"].unique():
        own = (frame["user_id"] == user).to_numpy()
        hat = weight[own, None] * (x[own] @ bread @ x[own].T)
        score = x[own].T @ np.linalg.solve(np.eye(own.sum()) - hat, (y - p)[own])
        meat += np.outer(score, score)
    return np.sqrt(np.diag(bread @ meat @ bread))


@pytest.fixture(scope="module")
def groups():
    return {"a": drawn(1), "b": drawn(2, people=150), "c": drawn(3, people=45)}


@pytest.fixture(scope="module")
def found(spark, groups):
    return inferred(spark, groups)


def test_uncorrected_errors_are_those_of_statsmodels_in_each_of_several_groups(spark, groups):
    found = inferred(spark, groups, errors=Errors.LIANG_ZEGER)
    for name, frame in groups.items():
        expected, rows = by_statsmodels(frame), found[name]
        assert tuple(rows) == (INTERCEPT, *NAMES)
        assert of(rows, "coefficient") == pytest.approx(expected.params.to_numpy(), rel=1e-8)
        assert of(rows, "odds_ratio") == pytest.approx(np.exp(expected.params.to_numpy()), rel=1e-8)
        assert of(rows, "std_error") == pytest.approx(expected.bse.to_numpy(), rel=1e-6)
        low, high = expected.conf_int().to_numpy().T
        assert of(rows, "ci_low") == pytest.approx(low, rel=1e-6)
        assert of(rows, "ci_high") == pytest.approx(high, rel=1e-6)
        assert of(rows, "p_value") == pytest.approx(expected.pvalues.to_numpy(), rel=1e-5)


def test_published_errors_are_those_of_mancl_and_derouen_and_larger(spark, groups, found):
    uncorrected = inferred(spark, groups, errors=Errors.LIANG_ZEGER)
    for name, frame in groups.items():
        errors = of(found[name], "std_error")
        assert errors[1:3] == pytest.approx(by_mancl_and_derouen(frame)[1:3], rel=1e-8)
        assert errors[3] * 3e4 == pytest.approx(by_mancl_and_derouen(frame)[3], rel=1e-8)
        assert (of(found[name], "coefficient") == of(uncorrected[name], "coefficient")).all()
        assert errors[1] > 1.01 * of(uncorrected[name], "std_error")[1]


def test_groups_side_by_side_are_what_each_is_by_itself_however_rows_are_spread(spark, groups, found):
    alone = inferred(spark, {"b": groups["b"]})
    shuffled = groups["b"].sample(frac=1, random_state=1).assign(platform="b")
    spread = infer(spark.createDataFrame(shuffled).repartition(5), ["platform"], NAMES, "label").collect()
    assert found["b"] == alone["b"] == {row["feature"]: row for row in spread}


def test_rows_positives_and_people_are_counted(groups, found):
    for name, frame in groups.items():
        positive = frame.groupby("user_id")["label"].agg(["min", "max"])
        people = {
            "everyone": len(positive),
            "engaged": positive["max"].sum(),
            "unengaged": (positive["min"] == 0).sum(),
        }
        for row in found[name].values():
            assert (row["rows"], row["positives"], row["people"]) == (len(frame), frame["label"].sum(), people)


def test_every_row_twice_makes_nobody_surer(spark, groups):
    frame = groups["a"]
    cases = {"once": frame, "twice": pd.concat([frame, frame])}
    published, plain = (inferred(spark, cases, errors=errors) for errors in Errors)
    once, twice = (of(published[name], "std_error") for name in cases)
    assert twice == pytest.approx(once, rel=1e-9)
    rows, parameters = len(frame), len(NAMES) + 1
    factor = ((2 * rows - 1) / (2 * rows - parameters) / ((rows - 1) / (rows - parameters))) ** 0.5
    once, twice = (of(plain[name], "std_error") for name in cases)
    assert twice == pytest.approx(once * factor, rel=1e-9)
    # Errors that count rows would have shrunk.
    naive = sm.Logit(cases["twice"]["label"], matrix(cases["twice"], ["own", "varied"])).fit(disp=0).bse.to_numpy()
    assert twice[1] > 1.8 * naive[1]


@examples_of(max_examples=12, deadline=None)
@given(
    shift=st.floats(-1e4, 1e4),
    scale=st.floats(1e-6, 1e6).flatmap(lambda size: st.sampled_from([size, -size])),
)
def test_a_feature_in_another_unit_has_its_coefficient_in_that_unit(spark, found, groups, shift, scale):
    frame = groups["a"]
    other = inferred(spark, {"a": frame.assign(varied=(frame["varied"] + shift) * scale)})["a"]
    was, is_ = found["a"]["varied"], other["varied"]
    ends = sorted(end / scale for end in (was["ci_low"], was["ci_high"]))
    # The shift takes up to 4 of the 16 digits.
    assert is_["coefficient"] * scale == pytest.approx(was["coefficient"], rel=1e-8)
    assert is_["std_error"] * abs(scale) == pytest.approx(was["std_error"], rel=1e-8)
    assert [is_["ci_low"], is_["ci_high"]] == pytest.approx(ends, rel=1e-8)
    assert is_["p_value"] == pytest.approx(was["p_value"], rel=1e-7)
    for name in ("own", "huge"):
        assert [other[name][f] for f in FIGURES] == pytest.approx([found["a"][name][f] for f in FIGURES], rel=1e-8)


def statuses(spark, **cases):
    """Return each case's statuses in order, once figures are known to be there only for what was estimated."""
    found = inferred(spark, cases, ["own", "varied", "other"])
    for rows in found.values():
        for row in rows.values():
            figures = [row[name] for name in FIGURES]
            if row["status"] == tables.Status.ESTIMATED:
                assert np.isfinite([row[name] for name in FIGURES if name != "odds_ratio"]).all()
                assert row["std_error"] > 0
            else:
                assert figures == [None] * len(FIGURES)
    return {name: [row["status"] for row in rows.values()] for name, rows in found.items()}, found


def test_a_feature_that_tells_nothing_new_is_left_out_and_the_others_are_estimated(spark, groups):
    frame = groups["b"].drop(columns="huge")
    found, rows = statuses(
        spark,
        constant=frame.assign(other=3.1),
        collinear=frame.assign(other=2 * frame["own"] - frame["varied"] / 7 + 1e3),
        both=frame.assign(varied=-1.0, other=frame["own"] * 1e-5),
        nearly=frame.assign(other=frame["own"] + 1e-5 * np.random.default_rng(4).normal(size=len(frame))),
    )
    fine = "estimated"
    assert found == {
        "constant": [fine, fine, fine, "constant"],
        "collinear": [fine, fine, fine, "collinear"],
        "both": [fine, fine, "constant", "collinear"],
        "nearly": [fine] * 4,
    }
    expected = by_statsmodels(frame, ["own", "varied"]).params.to_numpy()
    for name in ("constant", "collinear"):
        assert of(rows[name], "coefficient")[:3].astype(float) == pytest.approx(expected, rel=1e-8)


def test_too_few_of_the_rarer_label_or_none_is_not_fitted(spark):
    frame = drawn(5, people=100).drop(columns="huge").assign(other=1.0)
    # Three parameters are fitted, which takes 60 of the rarer label.
    ordered = frame.sort_values("label", ascending=False).reset_index(drop=True)
    place = ordered.groupby(ordered["user_id"]).cumcount()
    first = ordered.assign(place=place).sort_values(["place", "user_id"]).reset_index(drop=True)
    found, _ = statuses(
        spark,
        enough=first.assign(label=(first.index < 60).astype(int)),
        fewer=first.assign(label=(first.index < 59).astype(int)),
        rare_negatives=first.assign(label=(first.index >= 59).astype(int)),
        none=first.assign(label=0),
        all=first.assign(label=1),
    )
    assert {name: told[:3] for name, told in found.items()} == {
        "enough": ["estimated"] * 3,
        "fewer": ["too few events"] * 3,
        "rare_negatives": ["too few events"] * 3,
        "none": ["one label only"] * 3,
        "all": ["one label only"] * 3,
    }
    assert {told[3] for told in found.values()} == {"constant"}


def test_features_that_never_misjudge_the_label_have_no_estimate(spark):
    draw = np.random.default_rng(6)
    frame = drawn(7, people=120).drop(columns="huge")
    rows = len(frame)
    rare = (draw.random(rows) < 0.02).astype(float)
    engaged_if_rare = np.where(rare == 1, 1, frame["label"])
    but_for_one = engaged_if_rare.copy()
    but_for_one[np.flatnonzero(rare)[0]] = 0
    line = frame["own"] + 2 * frame["varied"] - 0.3
    # One row is 150 standard deviations out, and as its label says: log odds beyond 30 that separate nothing.
    far = draw.normal(size=rows)
    with_far = (draw.random(rows) < expit(far)).astype(int)
    far[0], with_far[0] = 150.0, 1
    found, rows_of = statuses(
        spark,
        perfect=frame.assign(other=draw.normal(size=rows), label=(line > 0).astype(int)),
        quasi=frame.assign(other=rare, label=engaged_if_rare),
        neither=frame.assign(other=rare, label=but_for_one),
        far=frame.assign(other=far, label=with_far),
    )
    assert found == {
        "perfect": ["separated"] * 4,
        "quasi": ["separated"] * 4,
        "neither": ["estimated"] * 4,
        "far": ["estimated"] * 4,
    }
    assert rows_of["far"]["other"]["coefficient"] * 150 > 100
    for name, other, label in (("neither", rare, but_for_one), ("far", far, with_far)):
        expected = sm.GLM(label, matrix(frame.assign(other=other), ["own", "varied", "other"]), sm.families.Binomial())
        fitted = expected.fit(tol=1e-14, maxiter=100).params
        assert of(rows_of[name], "coefficient") == pytest.approx(fitted, rel=1e-8)


def is_separated(frame, features):
    """Return whether some direction puts no row on the wrong side and some row on the right one: a linear program."""
    signed = matrix(frame, features) * np.where(frame["label"] == 1, 1, -1)[:, None]
    found = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1))
    assert found.success
    return -found.fun > 1e-7


def test_separation_is_found_just_where_a_linear_program_finds_it(spark):
    draw = np.random.default_rng(10)
    cases = {}
    for case in range(120):
        # A grid whose label turns at a line, points on it going either way; then some labels are wrong.
        grid = pd.DataFrame(draw.integers(-2, 3, (250, 2)).astype(float), columns=["own", "varied"])
        line = grid @ draw.integers(-2, 3, 2)
        label = np.where(line == 0, draw.integers(0, 2, 250), line > 0).astype(int)
        wrong = draw.choice(250, draw.integers(0, 3), replace=False)
        label[wrong] = 1 - label[wrong]
        cases[f"w{case}"] = grid.assign(label=label, user_id=[f"u{n % 30}" for n in range(250)])
    found = inferred(spark, cases, ["own", "varied"])
    told = {
        name: rows[INTERCEPT]["status"]
        for name, rows in found.items()
        if rows[INTERCEPT]["positives"] in range(60, 191)
    }
    expected = {name: "separated" if is_separated(cases[name], ["own", "varied"]) else "estimated" for name in told}
    assert told == expected
    assert min(list(told.values()).count(status) for status in ("separated", "estimated")) > 20


def test_a_coefficient_that_too_few_people_tell_has_no_error_and_so_is_not_given(spark):
    frame = drawn(8, people=120).drop(columns="huge")
    draw = np.random.default_rng(9)
    largest = frame["user_id"].value_counts().index[:2]
    other = draw.normal(size=len(frame))
    found, _ = statuses(
        spark,
        one=frame.assign(other=(frame["user_id"] == largest[0]).astype(float)),
        two=frame.assign(other=frame["user_id"].isin(largest).astype(float)),
        four=frame.assign(other=other, user_id=[f"u{n % 4}" for n in range(len(frame))]),
        five=frame.assign(other=other, user_id=[f"u{n % 5}" for n in range(len(frame))]),
        alike=pd.concat([frame.assign(other=other, user_id=f"u{n}") for n in range(6)]),
    )
    fine, few = "estimated", "too few people"
    assert found == {
        "one": [fine, fine, fine, few],
        "two": [fine] * 4,
        "four": [few] * 4,
        "five": [fine] * 4,
        "alike": [few] * 4,
    }


def test_an_odds_ratio_that_no_double_holds_is_null(spark, groups):
    frame = groups["a"].assign(huge=(groups["a"]["huge"] - 5e6) / 1e9)
    row = inferred(spark, {"a": frame})["a"]["huge"]
    assert (row["coefficient"] > 1000, row["odds_ratio"], row["status"]) == (True, None, "estimated")


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_an_unknown_feature_is_refused_with_its_name_and_group(spark, bad):
    rows = [("feed", "u1", 1.0, 1), ("feed", "u2", bad, 0)]
    frame = spark.createDataFrame(rows, "platform string, user_id string, age double, label int")
    with pytest.raises(PythonException, match="age of the group feed holds a null, nan or infinity"):
        infer(frame, ["platform"], ["age"], "label").collect()


def test_a_bounded_sample_holds_whole_people_and_about_as_many_rows_as_wanted(spark):
    rows = spark.range(40_000).select(F.concat(F.lit("u"), F.col("id") % 4000).alias("user_id"))
    kept = {row["user_id"]: row["count"] for row in bounded(rows, 8000, 40_000).groupBy("user_id").count().collect()}
    assert set(kept.values()) == {10}
    # Each of 4,000 people is kept with a probability of 1 in 5: 800 give or take 25.
    assert len(kept) == pytest.approx(800, abs=3 * 25.3)
    assert bounded(rows, 40_000, 40_000).count() == 40_000


def test_rows_fit_the_table_and_are_hidden_where_they_are_about_few_people(spark, groups):
    rows = pd.concat([groups["a"].assign(platform="feed"), groups["c"].assign(platform="video")])
    found = infer(spark.createDataFrame(rows), ["platform"], NAMES, "label").select(
        "*",
        F.lit("r").alias("release_id"),
        F.lit("logistic").alias("model"),
        F.lit("engage_24h").alias("label"),
        F.lit(None).cast("int").alias("suppressed_cells"),
    )
    exact = conform(tables.COEFFICIENTS, found)
    shown = suppressed(exact, tables.COEFFICIENTS.small_cells, fewest=50).orderBy("platform", "feature").collect()
    hidden = [row for row in shown if row["platform"] == "video"]
    assert {(row["suppressed_cells"], row["rows"], row["status"]) for row in hidden} == {(8, None, "estimated")}
    assert all(row[name] is None for row in hidden for name in ("positives", *FIGURES))
    assert all(row[name] is not None for row in shown[:4] for name in ("rows", "positives", *FIGURES))


@pytest.mark.integration
def test_of_a_thousand_worlds_as_many_intervals_hold_the_truth_as_they_claim(spark):
    worlds = 1000
    examples = simulated(spark, worlds).cache()
    by_person = coverage(examples, worlds)
    # 2.2 Monte Carlo errors of .0069 on either side.
    assert {name: 0.935 <= found.share <= 0.965 for name, found in by_person.items()} == dict.fromkeys(by_person, True)
    by_row = coverage(examples.withColumn("user_id", F.col("exposure_id")), worlds)
    assert by_row["person"].share < 0.65
    assert by_row["both"].share < 0.85
    assert by_person["person"].error == pytest.approx(0.0069, abs=0.001)
