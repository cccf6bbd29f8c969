"""The best that a log can teach: predictions by somebody who knows how the simulator draws, but not what it drew.

Each person's prior under the simulator (which topics, how strongly, how ready to act) is weighed by the likelihood of
what the person did: sums over every choice of topics and a grid of propensities, so exact but for the grid. Qualities
of contents are the posterior's modes, by Newton steps between rounds. Styles are left out: a log this short tells next
to nothing of them.
"""

from itertools import permutations

import numpy as np
import numpy.typing as npt
import pandas as pd

from salience.simulate import exposures as planted
from salience.simulate.people import INTEREST_WEIGHTS, INTERESTS_A_PERSON

ROUNDS = 2
_GRID = 9
"""Propensities, standard normal, at the nodes of a Gauss-Hermite quadrature."""
_NEWTON_STEPS = 3
_LEAST_WEIGHT = 1e-4
"""Points of the posterior below this share of its highest are not predicted by."""

Doubles = npt.NDArray[np.float64]


def informed(exposures: pd.DataFrame, topics: pd.Series, is_known: pd.Series) -> Doubles:
    """Return the posterior mean probability of engagement of each exposure.

    Args:
        exposures: user_id, content_id, slot (from 1) and engaged.
        topics: of each content_id, a list of one or two names, the main one first.
        is_known: of each exposure, whether its outcome may be learnt from.
    """
    user = pd.factorize(exposures["user_id"])[0]
    content, ids = pd.factorize(exposures["content_id"])
    engaged, known = exposures["engaged"].to_numpy(np.float64), is_known.to_numpy()
    felt, prior = _choices(topics.loc[ids].tolist())
    nodes, weights = np.polynomial.hermite_e.hermegauss(_GRID)
    log_prior = np.log(prior)[:, None] + np.log(weights / weights.sum())
    fixed = planted.INTERCEPT + planted.SLOT * (exposures["slot"].to_numpy(np.float64) - 1)
    rows_of = np.split(np.argsort(user, kind="stable"), np.bincount(user).cumsum()[:-1])
    quality, p = np.zeros(len(ids)), np.zeros(len(user))
    for _ in range(ROUNDS):
        base = fixed + planted.QUALITY * quality[content]
        for rows in rows_of:
            past = rows[known[rows]]
            posterior = log_prior.copy()
            for n, node in enumerate(nodes):
                z = felt[:, content[past]] + (base[past] + planted.PROPENSITY * node)
                posterior[:, n] += (z * engaged[past] - np.logaddexp(0, z)).sum(axis=1)
            shares = np.exp(posterior - posterior.max())
            choice, node_of = np.nonzero(shares > _LEAST_WEIGHT)
            kept = shares[choice, node_of] / shares[choice, node_of].sum()
            z = felt[choice][:, content[rows]] + base[rows] + planted.PROPENSITY * nodes[node_of][:, None]
            p[rows] = kept @ (1 / (1 + np.exp(-z)))
        quality = _qualities(quality, p, engaged, content, known)
    return p


def _choices(topics: list[list[str]]) -> tuple[Doubles, Doubles]:
    """Return what each choice of strong topics adds to log odds, (choices, contents), and its prior, (choices,)."""
    numbers = {name: n for n, name in enumerate(sorted({name for of in topics for name in of}))}
    none = len(numbers)
    first = np.array([numbers[of[0]] for of in topics])
    second = np.array([numbers[of[1]] if len(of) > 1 else none for of in topics])
    strengths, prior = [], []
    for count, share in INTERESTS_A_PERSON.items():
        chosen = [*permutations(range(none), int(count))]
        for these in chosen:
            strength = np.zeros(none + 1)
            strength[[*these]] = INTEREST_WEIGHTS[: len(these)]
            strengths.append(strength)
            prior.append(share / len(chosen))
    interest = np.array(strengths)
    affinity = np.maximum(interest[:, first], planted.SECOND_TOPIC_AFFINITY * interest[:, second])
    return planted.AFFINITY * affinity, np.array(prior)


def _qualities(
    quality: Doubles, p: Doubles, engaged: Doubles, content: npt.NDArray[np.int64], known: npt.NDArray[np.bool_]
) -> Doubles:
    """Return the contents' most likely qualities, where the people's part stays as in p; prior standard normal."""
    of, outcome, z = content[known], engaged[known], np.log(p[known] / (1 - p[known]))
    for _ in range(_NEWTON_STEPS):
        q = 1 / (1 + np.exp(-z))
        gradient = planted.QUALITY * np.bincount(of, outcome - q, len(quality)) - quality
        curvature = planted.QUALITY**2 * np.bincount(of, q * (1 - q), len(quality)) + 1
        quality = quality + gradient / curvature
        z = z + planted.QUALITY * (gradient / curvature)[of]
    return quality
