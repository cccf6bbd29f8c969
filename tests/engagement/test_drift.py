from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from scipy.stats import chi2, norm

from salience.engagement.drift import audits, calibration_drift, drifted, feature_drift, reference
from salience.settings.engagement import DriftSettings
from salience.stats.small_cells import suppressed
from salience.tables import engagement as tables
from salience.tables.conform import conform

pytestmark = pytest.mark.integration  # many resamplings: make check would take too long

EDGES = np.arange(-2, 2.5, 0.5)
DAY = date(2026, 11, 6)
LIMITS = DriftSettings(days=3, most_psi=0.25, most_miscalibration=0.3)


def day(n):
    return DAY + timedelta(days=n)


def of_days(frames):
    """Return the rows of a platform, one frame a day from DAY on."""
    return pd.concat([f.assign(platform="p", window=day(n)) for n, f in enumerate(frames)], ignore_index=True)


def drift(spark, trained, days, numeric=(), categorical=()):
    """Return the drift of days of one platform by feature and day."""
    known = reference(spark.createDataFrame(trained.assign(platform="p")), numeric, categorical)
    found = feature_drift(spark.createDataFrame(of_days(days)), known, numeric, categorical).collect()
    return {(row["feature"], (row["window"] - DAY).days): row for row in found}


def places(values, trained):
    """Return the bin of each number, from 0, by the mean and deviation of what was trained on."""
    return np.searchsorted(EDGES, (values - trained.mean()) / trained.std(), side="right")


def psi(now, then):
    """Return the index of two samples of bins and what it is on average without drift."""
    names, fewest = sorted(set(then)), min(len(now), len(then))
    kept = [name for name in names if fewest * np.mean(then == name) >= 5]
    a, e = (np.array([np.sum(side == name) for name in kept]) for side in (now, then))
    rest = len(now) - a.sum(), len(then) - e.sum()
    if sum(rest):
        a, e = np.append(a, rest[0]), np.append(e, rest[1])
    bins = len(a)
    a, e = ((counts + 0.5) / (counts.sum() + bins / 2) for counts in (a, e))
    return np.sum((a - e) * np.log(a / e)), (bins - 1) * (1 / len(now) + 1 / len(then))


def test_the_reference_has_the_shares_of_standard_scores_and_of_values(spark):
    # Mean 3 and deviation 2: scores of -1.5, -0.5, ..., of which 3 lie on edges.
    x = [0.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 6.0]
    rows = pd.DataFrame({"platform": "p", "x": x, "same": 3.1, "kind": list("aaabbbbb")})
    found = reference(spark.createDataFrame(rows), ["x", "same"], ["kind"]).collect()
    deviation = np.std(x)
    lower = np.floor((np.array([0.0, 2.0, 4.0, 6.0]) - 3) / deviation * 2) / 2
    assert {row["feature"]: (row["mean"], row["deviation"]) for row in found} == {
        "x": (3.0, pytest.approx(deviation, rel=1e-12)),
        "same": (3.1, 0.0),
        "kind": (None, None),
    }
    shares = zip(lower, (1, 3, 3, 1), strict=True)
    assert {(row["feature"], row["bin"]): (row["rows"], row["share"]) for row in found} == {
        **{("x", f"{edge}"): (rows, rows / 8) for edge, rows in shares},
        ("same", "0.0"): (8, 1.0),
        ("kind", "a"): (3, 3 / 8),
        ("kind", "b"): (5, 5 / 8),
    }
    assert {row["platform"] for row in found} == {"p"}


def test_a_value_on_an_edge_stays_in_its_bin_however_rows_are_spread(spark):
    # Of 0 and 1 with a share of 0.2, 1 lies 2 deviations above the mean and 0 lies half of one below.
    rows = spark.createDataFrame(pd.DataFrame({"platform": "p", "x": np.repeat([0.0, 1.0], [4_000, 1_000])}))
    for parts in (1, 3, 7):
        found = reference(rows.repartition(parts), ["x"], []).collect()
        assert {row["bin"]: row["share"] for row in found} == {"-0.5": 0.8, "2.0": 0.2}


def test_the_index_is_that_of_numpy_for_each_day(spark):
    draw = np.random.default_rng(1)

    def drawn(rows, shift, kinds):
        x, counts = draw.normal(5 + shift, 3, rows), draw.poisson(0.7 + shift, rows).astype(float)
        return pd.DataFrame({"x": x, "count": counts, "kind": draw.choice(list("abcde"), rows, p=kinds)})

    trained = drawn(5_000, 0, [0.5, 0.3, 0.19, 0.01, 0])
    days = [drawn(300, 0, [0.5, 0.3, 0.19, 0.01, 0]), drawn(40, 2, [0, 0, 0, 0.5, 0.5]), drawn(9_000, 0.2, [0.2] * 5)]
    found = drift(spark, trained, days, ["x", "count"], ["kind"])
    assert len(found) == 9
    for n, rows in enumerate(days):
        for name in ("x", "count"):
            then = trained[name].to_numpy()
            expected = psi(places(rows[name].to_numpy(), then), places(then, then))
            assert [*found[name, n]][3:] == pytest.approx([*expected, len(rows)], rel=1e-9)
        expected = psi(rows["kind"].to_numpy(), trained["kind"].to_numpy())
        assert [*found["kind", n]][3:] == pytest.approx([*expected, len(rows)], rel=1e-9)


def test_a_shift_of_half_a_deviation_has_the_size_that_normal_distributions_have(spark):
    # Quantiles in place of draws: no noise.
    x = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    shifts = (0.5, -0.5, 0.25)
    days = [pd.DataFrame({"x": 10 + 4 * (x + shift)}) for shift in shifts]
    found = drift(spark, pd.DataFrame({"x": 10 + 4 * x}), days, ["x"])
    for n, shift in enumerate(shifts):
        a, e = (np.diff(norm.cdf([-np.inf, *EDGES, np.inf], by)) for by in (shift, 0))
        analytic = np.sum((a - e) * np.log(a / e))
        # Without bins it is the shift's square; bins lose a little.
        assert 0.9 * shift**2 < analytic < shift**2
        assert found["x", n]["psi"] == pytest.approx(analytic, rel=0.005)


def test_days_without_drift_stay_about_0_however_few_rows_they_have(spark):
    draw = np.random.default_rng(3)
    # Of the 300 categories most are rare.
    zipf = 1 / np.arange(1, 301) ** 1.5
    zipf /= zipf.sum()
    names = np.array([f"k{n}" for n in range(300)])

    def drawn(rows):
        x, counts = draw.normal(size=rows), np.log1p(draw.poisson(0.3, rows))
        return pd.DataFrame({"x": x, "count": counts, "kind": draw.choice(names, rows, p=zipf)})

    sizes = [200] * 60 + [2_000] * 20 + [50_000]
    noise = np.array([1 / rows + 1 / 100_000 for rows in sizes])
    found = drift(spark, drawn(100_000), [drawn(rows) for rows in sizes], ["x", "count"], ["kind"])
    for name in ("x", "count", "kind"):
        index, expected = (np.array([found[name, n][of] for n in range(len(sizes))]) for of in ("psi", "psi_expected"))
        degrees = np.round(expected / noise)
        # What a chi-squared number would exceed once in 100,000 days.
        assert (index < noise * chi2.isf(1e-5, degrees)).all()
        assert (index - expected < LIMITS.most_psi / 2).all()
        # What is taken off is right on average: within 4 standard errors.
        for few in (slice(0, 60), slice(60, 80)):
            error = np.sqrt(2 * degrees[few].mean() / len(index[few])) * noise[few][0]
            assert abs(np.mean(index[few] - expected[few])) < 4 * error


def test_a_day_of_a_handful_of_rows_tells_of_nothing_but_the_commonest(spark):
    trained = pd.DataFrame({"x": np.random.default_rng(4).normal(size=1_000), "kind": "a"})
    found = drift(spark, trained, [pd.DataFrame({"x": [9.0] * 4, "kind": ["a"] * 4})], ["x"], ["kind"])
    assert [(row["psi"], row["psi_expected"]) for row in found.values()] == [(0, 0)] * 2


def test_categories_never_seen_before_count_together(spark):
    trained = pd.DataFrame({"kind": ["a"] * 500 + ["b"] * 500})
    days = [["a"] * 40 + ["b"] * 40 + ["c"] * 20, ["a"] * 40 + ["b"] * 40 + [f"c{n}" for n in range(20)]]
    found = drift(spark, trained, [pd.DataFrame({"kind": kinds}) for kinds in days], categorical=["kind"])
    a, e = np.array([40.5, 40.5, 20.5]) / 101.5, np.array([500.5, 500.5, 0.5]) / 1001.5
    for n in range(2):
        assert found["kind", n]["psi"] == pytest.approx(np.sum((a - e) * np.log(a / e)), rel=1e-12)
        assert found["kind", n]["psi_expected"] == pytest.approx(2 * (1 / 100 + 1 / 1000), rel=1e-12)


def test_a_constant_feature_has_not_drifted_until_it_changes(spark):
    # The sum of many 0.1 is not exactly their number times 0.1.
    trained = pd.DataFrame({"x": [0.1] * 999})
    days = [[0.1] * 100, [0.1] * 50 + [0.1 + 1e-9] * 50, [-7.0] * 100]
    found = drift(spark, trained, [pd.DataFrame({"x": x}) for x in days], ["x"])
    same, half, other = (found["x", n]["psi"] for n in range(3))
    assert (same, found["x", 0]["psi_expected"]) == (0, 0)
    for changed, found_psi in ((50, half), (100, other)):
        a, e = np.array([100.5 - changed, changed + 0.5]) / 101, np.array([999.5, 0.5]) / 1000
        assert found_psi == pytest.approx(np.sum((a - e) * np.log(a / e)), rel=1e-9)
    assert 3 < half < other < 20


def test_platforms_at_once_are_what_each_is_by_itself(spark):
    draw = np.random.default_rng(5)
    rows = {p: pd.DataFrame({"platform": p, "x": draw.normal(n, 1 + n, 400)}) for n, p in enumerate("pqr")}
    later = {p: frame.assign(window=DAY, x=frame["x"] + 1) for p, frame in rows.items()}

    def found(platforms):
        known = reference(spark.createDataFrame(pd.concat(rows[p] for p in platforms if p != "r")), ["x"], [])
        days = spark.createDataFrame(pd.concat(later[p] for p in platforms))
        return {row["platform"]: row for row in feature_drift(days, known, ["x"], []).collect()}

    # Nothing is known of r.
    assert found("pqr") == found("p") | found("q")
    assert found("p")["p"]["psi"] > 3 * found("q")["q"]["psi"] > 0.1


def test_drifted_is_what_exceeds_its_expectation_by_more_than_the_most(spark):
    rows = spark.createDataFrame([(0.30, 0.04), (0.30, 0.06), (0.20, 0.0)], "psi double, psi_expected double")
    assert [row[0] for row in rows.select(drifted(0.25)).collect()] == [True, False, False]


def exposed(draw, people, engages_more=1.0):
    """Return exposures of people of whom each has a mood of its own, and p that is right on average over moods."""
    person = np.repeat(np.arange(people), 1 + draw.poisson(9, people))
    p = draw.uniform(0.05, 0.25, len(person))
    mood = draw.choice([0.1, 1.9], people)[person]
    outcome = (draw.random(len(person)) < p * mood * engages_more).astype(int)
    return pd.DataFrame({"user_id": [f"u{n}" for n in person], "p": p, "outcome": outcome})


def calibrated(spark, days):
    found = calibration_drift(spark.createDataFrame(of_days(days))).collect()
    return {(row["window"] - DAY).days: row for row in found}


def test_a_days_ratio_and_its_interval_are_those_of_numpy(spark):
    rows = exposed(np.random.default_rng(6), 200)
    (found,) = calibrated(spark, [rows]).values()
    by_person = rows.groupby("user_id").agg(x=("p", "sum"), y=("outcome", "sum"), n=("p", "size"))
    ratio = by_person["y"].sum() / by_person["x"].sum()
    residual = by_person["y"] - ratio * by_person["x"]
    half = 1.959963984540054 * np.sqrt(200 / 199 * np.sum(residual**2)) / by_person["x"].sum()
    assert (found["rows"], found["positives"]) == (len(rows), rows["outcome"].sum())
    assert found["expected"] == pytest.approx(rows["p"].sum(), rel=1e-7)
    figures = [found["log_ratio"], found["ci_low"], found["ci_high"]]
    assert figures == pytest.approx(np.log([ratio, ratio - half, ratio + half]), abs=1e-6)
    engaged, unengaged = (by_person["y"] > 0).sum(), (by_person["y"] < by_person["n"]).sum()
    assert found["people"] == {"everyone": 200, "engaged": engaged, "unengaged": unengaged}


def test_intervals_hold_the_planted_miscalibration_as_often_as_they_say(spark):
    draw = np.random.default_rng(7)
    for factor in (1.0, 1.5):
        days = [exposed(draw, 300, factor) for _ in range(300)]
        found = calibrated(spark, days).values()
        held = np.mean([row["ci_low"] <= np.log(factor) <= row["ci_high"] for row in found])
        # 4 standard errors about 95 %.
        assert 0.90 < held <= 0.99
        assert np.mean([row["log_ratio"] for row in found]) == pytest.approx(np.log(factor), abs=0.02)
        # Intervals that took rows for independent would hold it less often.
        halves = [1.96 / np.sqrt(row["positives"]) for row in found]
        off = [abs(row["log_ratio"] - np.log(factor)) for row in found]
        assert np.mean(np.array(off) < halves) < 0.88
        if factor > 1:
            assert np.mean([row["ci_low"] > 0 for row in found]) > 0.95


def test_a_day_without_rows_is_missing_and_one_without_positives_has_no_ratio(spark):
    rows = exposed(np.random.default_rng(8), 50)
    one = rows.assign(outcome=[1] + [0] * (len(rows) - 1))
    found = calibrated(spark, [rows, rows[:0], rows.assign(outcome=0), one])
    assert sorted(found) == [0, 2, 3]
    none = found[2]
    assert (none["positives"], none["log_ratio"], none["ci_low"], none["ci_high"]) == (0, None, None, None)
    assert none["expected"] == pytest.approx(rows["p"].sum(), rel=1e-7)
    assert none["people"] == {"everyone": 50, "engaged": 0, "unengaged": 50}
    # Of one positive the ratio's interval reaches below 0, where there is no logarithm.
    assert found[3]["log_ratio"] == pytest.approx(-np.log(rows["p"].sum()), rel=1e-6)
    assert found[3]["ci_low"] is None and found[3]["ci_high"] is not None


def test_the_tables_take_the_frames(spark):
    rows = spark.createDataFrame(of_days([exposed(np.random.default_rng(9), 30)]))
    known = reference(rows, ["p"], ["user_id"])
    stamp = {"release_id": F.lit("r"), "label": F.lit("engage_24h"), "model": F.lit("logistic")}
    features = feature_drift(rows, known, ["p"], ["user_id"]).withColumns(stamp).drop("model")
    ratios = calibration_drift(rows).withColumns(stamp)
    assert conform(tables.FEATURE_DRIFT, features).count() == 2
    (exact,) = conform(tables.CALIBRATION_DRIFT, ratios).collect()
    (hidden,) = suppressed(ratios, tables.CALIBRATION_DRIFT.small_cells, exact["people"]["everyone"] + 1).collect()
    figures = ("rows", "positives", "expected", "log_ratio", "ci_low", "ci_high")
    assert [hidden[name] for name in figures] == [None] * 6 and hidden["suppressed_cells"] == 6


FEATURE_ROWS = "platform string, label string, window date, feature string, psi double, psi_expected double"
CALIBRATION_ROWS = (
    "platform string, label string, window date, positives long, expected double, log_ratio double, "
    "ci_low double, ci_high double"
)


def test_audits_name_the_feature_that_drifted_most_and_the_score_of_each_platform_and_day(spark):
    features = [
        ("p", "e", DAY, "x", 0.30, 0.01),
        ("p", "e", DAY, "y", 0.40, 0.30),
        ("p", "e", DAY, "score", 0.20, 0.01),
        ("p", "e", day(1), "x", 0.01, 0.02),
        ("q", "e", DAY, "score", 0.60, 0.10),
    ]
    nothing = spark.createDataFrame([], CALIBRATION_ROWS)
    found = audits(spark.createDataFrame(features, FEATURE_ROWS), nothing, "r1", LIMITS)
    largest, score = "largest psi - psi_expected of a feature, x", "psi - psi_expected of the score"
    assert [(a.rule, a.place, round(a.observed, 9), a.passed) for a in found] == [
        (largest, "r1, p e 2026-11-06", 0.29, False),
        (score, "r1, p e 2026-11-06", 0.19, True),
        (largest, "r1, p e 2026-11-07", -0.01, True),
        (score, "r1, q e 2026-11-06", 0.5, False),
    ]
    assert {(a.table, a.threshold) for a in found} == {(str(tables.FEATURE_DRIFT), 0.25)}


def test_audits_of_the_calibration_count_what_the_interval_is_sure_of(spark):
    ratios = [
        (10, 16.0, -0.47, -1.2, 0.1),  # 0 may well be
        (900, 600.0, 0.405, 0.3, 0.5),
        (550, 500.0, 0.095, 0.01, 0.18),  # for sure, but little
        (9, 60.0, -1.897, None, -0.4),  # the ratio's interval reaches below 0
        (1, 0.2, 1.609, None, None),  # one person has no interval
        (0, 100.0, None, None, None),  # so many expected, and nobody: 3.69 may well have been
        (0, 3.0, None, None, None),
    ]
    rows = [("p", "e", day(n), *row) for n, row in enumerate(ratios)]
    found = audits(spark.createDataFrame([], FEATURE_ROWS), spark.createDataFrame(rows, CALIBRATION_ROWS), "r1", LIMITS)
    observed = [0, 0.405, 0.095, 1.897, 0, np.log(100 / 3.688879454), 0]
    assert [a.observed for a in found] == pytest.approx(observed, rel=1e-9)
    assert [a.passed for a in found] == [True, False, True, False, True, False, True]
    assert found[1].place == "r1, p e 2026-11-07"
    assert {(a.table, a.threshold) for a in found} == {(str(tables.CALIBRATION_DRIFT), 0.3)}
