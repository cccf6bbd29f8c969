"""How often the intervals of coefficients hold the truth, in many small simulated worlds at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.special import expit, ndtr

from salience.engagement.inference import INTERCEPT, infer

TRUTH = {INTERCEPT: -1.0, "person": 0.5, "exposure": 0.5, "both": -0.4}
"""Coefficients that the worlds are made with: `person` never changes within a person, `both` does in part."""
FEATURES = tuple(name for name in TRUTH if name != INTERCEPT)
LABEL = "engaged"

PEOPLE = 80
EXPOSURES = 25
"""Of a person, on average; their numbers are 1 + Poisson(lognormal), so some have a few and some a hundred."""
SPREAD = 0.6
"""Standard deviation of the logarithm of a person's expected exposures."""
LIKENESS = 0.3
"""Correlation of the normal draws behind the outcomes of one person."""


@dataclass(frozen=True)
class Coverage:
    """The share of worlds whose interval holds the truth, with its Monte Carlo error."""

    share: float
    error: float


def simulated(spark: SparkSession, worlds: int, seed: int = 42) -> DataFrame:
    """Return exposures whose outcomes are alike within a person, but exactly logistic one by one.

    An outcome is 1 if Phi(sqrt(r) z + sqrt(1 - r) e) < p(x), with z of the person, e of the exposure and r LIKENESS: a
    Gaussian copula. The argument is uniform, so P(1) = p(x) whatever r is: TRUTH is what a fit that knows nothing of
    people estimates.

    Args:
        spark: session.
        worlds: how many.
        seed: of all draws; a world is the same however many others there are.

    Returns:
        world_id, user_id, exposure_id (unique over all), FEATURES, engaged (0 or 1); rows are made in tasks.
    """
    features = ", ".join(f"{name} double" for name in FEATURES)
    schema = f"world_id long, user_id long, exposure_id string, {features}, {LABEL} int"

    def made(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            for world in batch["id"]:
                yield _world(int(world), seed)

    return spark.range(worlds).mapInPandas(made, schema)


def coverage(examples: DataFrame, worlds: int) -> Mapping[str, Coverage]:
    """Return the coverage of the 95 % interval of each coefficient; a world without an estimate does not hold it.

    Args:
        examples: from `simulated`; `user_id` says what is taken for independent.
        worlds: how many there are.
    """
    inferred = infer(examples, ["world_id"], FEATURES, LABEL)
    truth = F.create_map(*(F.lit(part) for pair in TRUTH.items() for part in pair))[F.col("feature")]
    holds = F.count_if(truth.between(F.col("ci_low"), F.col("ci_high")))
    shares = {row["feature"]: row["n"] / worlds for row in inferred.groupBy("feature").agg(holds.alias("n")).collect()}
    return {name: Coverage(share, (share * (1 - share) / worlds) ** 0.5) for name, share in shares.items()}


def _world(world: int, seed: int) -> pd.DataFrame:
    draw = np.random.default_rng([seed, world])
    expected = (EXPOSURES - 1) * np.exp(draw.normal(-(SPREAD**2) / 2, SPREAD, PEOPLE))
    person = np.repeat(np.arange(PEOPLE), 1 + draw.poisson(expected))

    def correlated(share: float) -> np.ndarray:
        """Return standard normal numbers, `share` of whose variance is the person's."""
        of_person, own = draw.normal(size=PEOPLE)[person], draw.normal(size=len(person))
        return np.sqrt(share) * of_person + np.sqrt(1 - share) * own

    features = {"person": correlated(1), "exposure": correlated(0), "both": correlated(0.36)}
    log_odds = TRUTH[INTERCEPT] + sum(TRUTH[name] * values for name, values in features.items())
    outcome = (ndtr(correlated(LIKENESS)) < expit(log_odds)).astype(int)
    exposure = [f"{world}.{n}" for n in range(len(person))]
    return pd.DataFrame({"world_id": world, "user_id": person, "exposure_id": exposure, **features, LABEL: outcome})
