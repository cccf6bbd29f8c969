"""What another policy would have earned, from logs of the one that chose: estimates from its recorded propensities.

With r the reward of a logged choice, w = P_target(choice) / P_logged(choice) its importance weight, q the predicted
reward of the choice and v the target policy's expected prediction, over n choices:

    ips   = sum of w r / n                            (unbiased where every choice of the target could be logged)
    snips = sum of w r / sum of w                     (a little biased, and steadier)
    dr    = sum of (v + w (r - q)) / n                (unbiased where the propensities or the predictions are right)

Horvitz and Thompson, 1952; Swaminathan and Joachims, 2015; Dudik, Langford and Li, 2011. Choices of one user depend
on each other, so intervals count users: each estimate is a ratio of sums over users, see stats/intervals.py.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.stats.intervals import ratio_high, ratio_low

LOGGED = ("user_id", "reward", "propensity", "target_propensity")
PREDICTED = ("predicted", "target_predicted")


def policy_value(logged: DataFrame, by: Sequence[str] = ()) -> DataFrame:
    """Estimate what each choice would have earned on average under the target policy.

    Args:
        logged: a row a logged choice: user_id, reward, propensity (of the choice under the policy that made it),
            target_propensity (under the target policy); for `dr` also predicted (reward of the choice) and
            target_predicted (the target policy's expected reward there); doubles.
        by: columns that part the rows into logs of their own.

    Returns:
        by, estimator (on_policy: what was earned; ips, snips, dr), value, ci_low, ci_high (95 %; null for fewer than
        two users, or without spread), choices, users, effective_choices ((sum of w)^2 / sum of w^2: how many
        choices of the target's own would tell as much).

    Raises:
        InputError: a propensity lies outside (0, 1], a target propensity outside [0, 1], or a value is no number.
    """
    _require_usable(logged)
    weight = F.col("target_propensity") / F.col("propensity")
    terms: dict[str, tuple[Column, Column]] = {
        "on_policy": (F.col("reward"), F.lit(1.0)),
        "ips": (weight * F.col("reward"), F.lit(1.0)),
        "snips": (weight * F.col("reward"), weight),
    }
    if set(PREDICTED) <= set(logged.columns):
        corrected = F.col("target_predicted") + weight * (F.col("reward") - F.col("predicted"))
        terms["dr"] = (corrected, F.lit(1.0))
    sums = [
        F.sum(part).alias(f"{name}_{axis}")
        for name, pair in terms.items()
        for axis, part in zip("yx", pair, strict=True)
    ]
    per_user = logged.groupBy(*by, "user_id").agg(
        *sums, F.count("*").alias("n"), F.sum(weight).alias("w"), F.sum(weight * weight).alias("ww")
    )
    told = F.explode(F.array(*(_estimate(name).alias(name) for name in terms)))
    whole = per_user.groupBy(*by).agg(
        *(total.alias(f"{name}_{part}") for name in terms for part, total in _totals(name).items()),
        F.sum("n").alias("choices"),
        F.count("*").alias("users"),
        (F.pow(F.sum("w"), F.lit(2.0)) / F.nullif(F.sum("ww"), F.lit(0.0))).alias("effective_choices"),
    )
    return whole.select(*by, told.alias("told"), "choices", "users", "effective_choices").select(
        *by, "told.*", "choices", "users", "effective_choices"
    )


def _totals(name: str) -> dict[str, Column]:
    x, y = F.col(f"{name}_x"), F.col(f"{name}_y")
    return {"x": F.sum(x), "y": F.sum(y), "xx": F.sum(x * x), "yy": F.sum(y * y), "xy": F.sum(x * y)}


def _estimate(name: str) -> Column:
    parts = {part: F.col(f"{name}_{part}") for part in ("x", "y", "xx", "yy", "xy")}
    return F.struct(
        F.lit(name).alias("estimator"),
        (parts["y"] / F.nullif(parts["x"], F.lit(0.0))).alias("value"),
        ratio_low(clusters=F.col("users"), **parts).alias("ci_low"),
        ratio_high(clusters=F.col("users"), **parts).alias("ci_high"),
    )


def _require_usable(logged: DataFrame) -> None:
    usable = {
        "a propensity outside (0, 1]": (F.col("propensity") > 0) & (F.col("propensity") <= 1),
        "a target propensity outside [0, 1]": F.col("target_propensity").between(0, 1),
    }
    for name in ("reward", *(name for name in PREDICTED if name in logged.columns)):
        usable[f"no number as {name}"] = F.abs(name) < F.lit(float("inf"))
    bad = [F.count_if(~F.coalesce(is_usable, F.lit(False))).alias(what) for what, is_usable in usable.items()]
    found = logged.agg(*bad).collect()[0].asDict()
    for what, rows in found.items():
        if rows:
            raise InputError(f"logged choices: {rows:,} rows have {what}; correct or leave them out, and say so")
