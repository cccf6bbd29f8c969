"""What lists should be, by other means than those that made them."""

import numpy as np
import numpy.typing as npt

from benchmarks.crowd import Integers
from benchmarks.lists import K, Singles


def by_hand(users: Singles, items: Singles, seen: list[Integers]) -> Integers:
    """Return each user's list by sorting every score, (users, k): doubles rounded to singles, ties by the place."""
    scores = (users.astype(np.float64) @ items.astype(np.float64).T).astype(np.float32)
    for row, masked in zip(scores, seen, strict=True):
        row[masked] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :K]


def near_ties(users: Singles, items: Singles, ours: Integers, theirs: Integers) -> tuple[float, float]:
    """Compare lists of a peer that scores in single precision.

    Returns:
        the share of equal lists; the largest difference of two scores at one place of a list, over the largest that
        rounding a product of that length to single precision can make (Higham, 2002, section 3.1).
    """
    differing = np.flatnonzero((ours != theirs).any(axis=1))
    if not len(differing):
        return 1.0, 0.0
    queries, factors = users[differing].astype(np.float64), items.astype(np.float64)
    ours_scores, theirs_scores = (
        np.einsum("ij,ikj->ik", queries, factors[listed[differing]]) for listed in (ours, theirs)
    )
    rank = users.shape[1]
    norms = np.linalg.norm(queries, axis=1) * np.linalg.norm(factors, axis=1).max()
    possible = 2 * (rank + 1) * 2.0**-24 * norms
    apart: npt.NDArray[np.float64] = np.abs(ours_scores - theirs_scores).max(axis=1) / possible
    return 1 - len(differing) / len(ours), float(apart.max())


def objective(users: Singles, items: Singles, pairs: tuple[Integers, Integers], alpha: float, ridge: float) -> float:
    """Return what ALS minimises for pairs of weight 1: Hu, Koren and Volinsky's loss, MLlib's regularisation.

    sum over all user-item pairs of c (p - x'y)^2 with c = 1 + alpha and p = 1 where there is a pair, else c = 1 and
    p = 0; and ridge x (number of own pairs) x |factor|^2 for each user and item.
    """
    user, item = pairs
    x, y = users.astype(np.float64), items.astype(np.float64)
    product = np.concatenate([np.einsum("ij,ij->i", x[u], y[i]) for u, i in zip(_cut(user), _cut(item), strict=True)])
    everywhere = float(((x.T @ x) * (y.T @ y)).sum())
    loss = float(((1 + alpha) * (1 - product) ** 2 - product**2).sum())
    sizes = zip((user, item), (x, y), strict=True)
    return everywhere + loss + ridge * sum(float(np.bincount(n, minlength=len(f)) @ (f**2).sum(1)) for n, f in sizes)


def _cut(places: Integers) -> list[Integers]:
    return np.array_split(places, 20)
