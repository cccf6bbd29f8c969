"""Popularity and how well it ranks, in pandas: what the evaluation's baselines are held against."""

from collections.abc import Mapping
from math import log2

import numpy as np
import pandas as pd


def scores(past: pd.DataFrame, cut: pd.Timestamp, half_life_days: float | None) -> pd.Series:
    """Return the score of each content from rows (content, weight, at) before the cut; None does not fade."""
    age_days = (cut - past["at"]) / pd.Timedelta(days=1)
    faded = past["weight"] if half_life_days is None else past["weight"] * 0.5 ** (age_days / half_life_days)
    return faded.groupby(past["content"]).sum().clip(lower=0)


def mean_ndcg(popular: pd.Series, seen: Mapping[str, set], relevant: Mapping[str, set], k: int) -> float:
    """Return nDCG@k with binary gains, its mean over the people of `relevant`; ties go to the smaller id."""
    # Scores are published in single precision, in which more of them are equal.
    order = popular.astype(np.float32).rename("score").rename_axis("content").reset_index()
    best_first = order.sort_values(["score", "content"], ascending=[False, True])["content"].to_list()
    gains = [1 / log2(place + 1) for place in range(1, k + 1)]
    reached = []
    for person, wanted in relevant.items():
        new = (content for content in best_first if content not in seen[person])
        listed = [content for content, _ in zip(new, range(k), strict=False)]
        won = sum(gain for content, gain in zip(listed, gains, strict=False) if content in wanted)
        reached.append(won / sum(gains[: len(wanted)]))
    return sum(reached) / len(reached)
