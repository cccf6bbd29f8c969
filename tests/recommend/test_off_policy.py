"""Policy values against planted truth, and against the estimators of Open Bandit's own library."""

import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.recommend.off_policy import policy_value

ITEMS = 6
OPEN_BANDIT = Path(__file__).parents[3] / "shared" / "data" / "openbandit"


def world(random, users, predictions, centre=0.0, spread=0.8):
    """Logged choices of a skewed policy, and what the target policy, which turns the odds round, is worth.

    Users like items more or less by a taste of their own, so a user's choices depend on each other.
    """
    choices = random.integers(2, 7, users)
    user = np.repeat(np.arange(users), choices)
    taste = np.repeat(random.normal(centre, spread, users), choices)
    odds = np.exp(taste[:, None] * np.linspace(-1, 1, ITEMS))
    logged = odds / odds.sum(axis=1, keepdims=True)
    target = logged[:, ::-1]
    chance = 1 / (1 + np.exp(-(taste[:, None] * np.linspace(-1.5, 1.5, ITEMS) - 1)))
    place = (random.random((len(user), 1)) > logged.cumsum(axis=1)).sum(axis=1).clip(max=ITEMS - 1)
    rows = np.arange(len(user))
    frame = pd.DataFrame(
        {
            "user_id": user.astype(str),
            "reward": (random.random(len(user)) < chance[rows, place]).astype(float),
            "propensity": logged[rows, place],
            "target_propensity": target[rows, place],
        }
    )
    guess = {"right": chance, "wrong": np.full_like(chance, 0.7)}[predictions]
    frame["predicted"] = guess[rows, place]
    frame["target_predicted"] = (target * guess).sum(axis=1)
    return frame, (target * chance).sum(axis=1)


def truth(users=200_000):
    _, values = world(np.random.default_rng(99), users, "right")
    return values.mean()


@pytest.mark.integration
@pytest.mark.parametrize("predictions", ["right", "wrong"])
def test_intervals_hold_the_planted_value_as_often_as_they_say(spark, predictions):
    worlds, random = 400, np.random.default_rng(7)
    frames = [world(random, 150, predictions)[0].assign(world=n) for n in range(worlds)]
    found = policy_value(spark.createDataFrame(pd.concat(frames)), by=["world"]).toPandas()
    planted = truth()
    error = 1.96 * np.sqrt(0.95 * 0.05 / worlds)
    for estimator in ("ips", "snips", "dr"):
        one = found[found["estimator"] == estimator]
        covered = ((one["ci_low"] <= planted) & (planted <= one["ci_high"])).mean()
        assert 0.95 - error - 0.01 <= covered <= 0.95 + error, (estimator, covered)
        assert one["value"].mean() == pytest.approx(planted, abs=4 * one["value"].std() / np.sqrt(worlds))
    # What was earned is no answer: the policies earn differently.
    earned = found[found["estimator"] == "on_policy"]
    assert ((earned["ci_low"] > planted) | (planted > earned["ci_high"])).mean() > 0.9


def test_good_predictions_make_doubly_robust_estimates_surer(spark):
    # Alike users, and rewards as predicted: what is left is what the choice of the contents makes unsure.
    logged, values = world(np.random.default_rng(3), 400, "right", centre=1.0, spread=0.1)
    logged["reward"] = logged["predicted"]
    rows = {r["estimator"]: r for r in policy_value(spark.createDataFrame(logged)).collect()}
    width = {name: row["ci_high"] - row["ci_low"] for name, row in rows.items()}
    assert width["dr"] < 0.2 * width["ips"]
    assert rows["dr"]["value"] == pytest.approx(values.mean(), abs=1e-12)


def test_intervals_count_users_not_choices(spark):
    logged, _ = world(np.random.default_rng(3), 60, "right")
    once = policy_value(spark.createDataFrame(logged)).where("estimator = 'ips'").head()
    often = policy_value(spark.createDataFrame(pd.concat([logged] * 9))).where("estimator = 'ips'").head()
    assert often["value"] == pytest.approx(once["value"])
    assert often["ci_high"] - often["ci_low"] == pytest.approx(once["ci_high"] - once["ci_low"])
    assert (once["users"], often["choices"]) == (60, 9 * once["choices"])


def test_a_policy_judged_on_its_own_log_is_worth_what_it_earned(spark):
    logged, _ = world(np.random.default_rng(3), 40, "wrong")
    same = logged.assign(target_propensity=logged["propensity"])
    rows = {r["estimator"]: r for r in policy_value(spark.createDataFrame(same)).collect()}
    for name in ("ips", "snips"):
        assert rows[name]["value"] == pytest.approx(logged["reward"].mean())
    assert rows["ips"]["effective_choices"] == pytest.approx(len(logged))


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("propensity", 0.0, r"1 rows have a propensity outside \(0, 1\]"),
        ("propensity", None, r"1 rows have a propensity outside \(0, 1\]"),
        ("target_propensity", 1.5, r"1 rows have a target propensity outside \[0, 1\]"),
        ("reward", float("nan"), "1 rows have no number as reward"),
    ],
)
def test_logs_that_cannot_be_used_are_refused(spark, column, value, told):
    rows = spark.createDataFrame(
        [("u", 1.0, 0.5, 0.5), ("v", 0.0, 0.5, 0.5)],
        "user_id string, reward double, propensity double, target_propensity double",
    )
    spoilt = rows.withColumn(
        column, F.when(F.col("user_id") == "u", F.lit(value).cast("double")).otherwise(F.col(column))
    )
    with pytest.raises(InputError, match=told):
        policy_value(spoilt)


@pytest.fixture(scope="module")
def obp_estimators(tmp_path_factory):
    """The estimators of obp's wheel, whose arithmetic is NumPy's; of torch they need a type to compare with."""
    folder = tmp_path_factory.mktemp("obp")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), "obp==0.4.1"]
    if subprocess.run([*command, "--disable-pip-version-check"], check=False).returncode:
        pytest.skip("the package index does not give obp==0.4.1")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    torch = types.ModuleType("torch")
    torch.Tensor = type("Tensor", (), {})
    names = {name: sys.modules.get(name) for name in ("torch", "obp", "obp.ope", "obp.utils")}
    sys.modules["torch"] = torch
    for package, path in (("obp", folder / "obp"), ("obp.ope", folder / "obp" / "ope")):
        # The packages themselves would import their other modules, and all of torch with them.
        module = types.ModuleType(package)
        module.__path__ = [str(path)]
        sys.modules[package] = module
    try:
        from importlib import import_module

        yield import_module("obp.ope.estimators")
    finally:
        for name in [name for name in sys.modules if name == "obp" or name.startswith("obp.")]:
            del sys.modules[name]
        for name, module in names.items():
            if module is not None:
                sys.modules[name] = module
            else:
                sys.modules.pop(name, None)


@pytest.mark.integration
def test_estimates_equal_those_of_obp(spark, obp_estimators):
    random = np.random.default_rng(11)
    rounds, actions, places = 2_000, 5, 3
    pscore = random.uniform(0.05, 0.6, rounds)
    action, position = random.integers(0, actions, rounds), random.integers(0, places, rounds)
    reward = (random.random(rounds) < 0.3).astype(float)
    target = random.dirichlet(np.ones(actions), size=(rounds, places)).transpose(0, 2, 1)
    predicted = random.random((rounds, actions, places))
    rows = np.arange(rounds)
    logged = pd.DataFrame(
        {
            "user_id": [f"u{n % 300}" for n in range(rounds)],
            "reward": reward,
            "propensity": pscore,
            "target_propensity": target[rows, action, position],
            "predicted": predicted[rows, action, position],
            "target_predicted": (target * predicted).sum(axis=1)[rows, position],
        }
    )
    given = {"reward": reward, "action": action, "position": position, "pscore": pscore, "action_dist": target}
    assert_as_obp(spark, obp_estimators, logged, given, predicted)


def assert_as_obp(spark, obp, logged, given, predicted):
    """Compare both libraries' estimates, and return ours by estimator."""
    found = {row["estimator"]: row for row in policy_value(spark.createDataFrame(logged)).collect()}
    ips = obp.InverseProbabilityWeighting().estimate_policy_value(**given)
    snips = obp.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**given)
    dr = obp.DoublyRobust().estimate_policy_value(**given, estimated_rewards_by_reg_model=predicted)
    values = [found[name]["value"] for name in ("ips", "snips", "dr")]
    assert values == pytest.approx([ips, snips, dr], rel=1e-6)
    return found


@pytest.mark.integration
@pytest.mark.skipif(not OPEN_BANDIT.is_dir(), reason=f"Open Bandit is not at {OPEN_BANDIT}")
@pytest.mark.parametrize("campaign", ["men", "women"])
def test_on_open_bandit_estimates_equal_those_of_obp(spark, obp_estimators, campaign):
    """What the random log says of a policy that chooses each item as often as Thompson sampling did at its place."""
    wanted = ["item_id", "position", "click", "propensity_score", *(f"user_feature_{n}" for n in range(4))]
    random, bts = (
        pd.read_csv(OPEN_BANDIT / policy / campaign / f"{campaign}.csv", usecols=wanted) for policy in ("random", "bts")
    )
    actions, rounds = int(random["item_id"].max()) + 1, len(random)
    counts = np.zeros((actions, 3))
    np.add.at(counts, (bts["item_id"], bts["position"] - 1), 1)
    share = counts / counts.sum(axis=0)
    shown = np.bincount(random["item_id"], minlength=actions)
    clicks = np.bincount(random["item_id"], weights=random["click"], minlength=actions)
    predicted = (clicks + 1) / (shown + 200)
    action, place = random["item_id"].to_numpy(), random["position"].to_numpy() - 1
    logged = pd.DataFrame(
        {
            "user_id": random[[f"user_feature_{n}" for n in range(4)]].agg("".join, axis=1),
            "reward": random["click"].astype(float),
            "propensity": random["propensity_score"],
            "target_propensity": share[action, place],
            "predicted": predicted[action],
            "target_predicted": (predicted @ share)[place],
        }
    )
    given = {
        "reward": random["click"].to_numpy(),
        "action": action,
        "position": place,
        "pscore": random["propensity_score"].to_numpy(),
        "action_dist": np.broadcast_to(share, (rounds, actions, 3)),
    }
    everywhere = np.broadcast_to(predicted[:, None], (rounds, actions, 3))
    found = assert_as_obp(spark, obp_estimators, logged, given, everywhere)
    # A file has some fifty clicks: too few to say anything of a policy, as the intervals admit. README shows these.
    earned = {"men": (0.0057, 0.0026, 0.0087), "women": (0.0058, 0.0039, 0.0077)}
    ips = found["ips"]
    assert (ips["value"], ips["ci_low"], ips["ci_high"]) == pytest.approx(earned[campaign], abs=6e-5)
    assert found["on_policy"]["value"] == pytest.approx(random["click"].mean())
