"""What lists would truly earn: the planted probability that a simulated person engages with a content."""

from pathlib import Path

import numpy as np
import pandas as pd
from deltalake import DeltaTable

from salience.simulate import exposures as planted

_PERSON, _CONTENT = ["platform", "user_id"], ["platform", "content_id"]


def probabilities(pairs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return pairs with `planted`, the probability of engaging with the content where it comes first in a session.

    Pseudonyms are learnt from impressions, so pairs of people without any leave.

    Args:
        pairs: platform, user_id, content_id, distinct.
        folder: of the simulation: truth/ and warehouse/.
    """
    known = pairs.merge(_people(folder), on=_PERSON)
    contents = pd.read_parquet(folder / "truth" / "contents")
    known = known.merge(contents, on=_CONTENT, suffixes=("", "_of_content"))
    styles = (np.stack(known["style"]) * np.stack(known["style_of_content"])).sum(axis=1)
    log_odds = (
        planted.INTERCEPT
        + planted.AFFINITY * np.array([*map(_affinity, known["topics"], known["interests"])])
        + planted.QUALITY * known["quality"]
        + planted.STYLE * styles
        + planted.PROPENSITY * known["propensity"]
    )
    return known[[*pairs.columns]].assign(planted=1 / (1 + np.exp(-log_odds)))


def _people(folder: Path) -> pd.DataFrame:
    """Return the planted traits of people under their pseudonyms."""
    shown = DeltaTable(folder / "warehouse" / "silver" / "interactions").to_pandas(
        columns=[*_PERSON, "event_id"], filters=[("action", "=", "impression")]
    )
    raw = pd.read_parquet(folder / "truth" / "exposures", columns=["platform", "event_id", "raw_user_id"])
    pseudonyms = shown.merge(raw, on=["platform", "event_id"])[[*_PERSON, "raw_user_id"]].drop_duplicates()
    return pd.read_parquet(folder / "truth" / "users").merge(pseudonyms, on=["platform", "raw_user_id"])


def _affinity(topics: list[int], interests: list[dict[str, float]]) -> float:
    weights = {interest["topic"]: interest["weight"] for interest in interests}
    first, *second = (weights.get(topic, 0.0) for topic in topics)
    return max([first, *(planted.SECOND_TOPIC_AFFINITY * weight for weight in second)])
