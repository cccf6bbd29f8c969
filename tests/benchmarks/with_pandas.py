"""The same features by pandas and the same regression by scikit-learn, in one process; prints seconds and a digest.

Written as one would without Spark: the whole log in one frame, a running sum a key and half-life.
"""

import argparse
import json
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.apart import CONF
from salience.settings import load_settings

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
KEYS = {
    "content": ["content_id"],
    "user": ["user_id"],
    "user_creator": ["user_id", "creator_id"],
    "user_tag": ["user_id", "tag"],
}


def exposures(folder: Path, label_hours: int) -> pd.DataFrame:
    """Return the exposures with the time of the first like of the same content within the label's window."""
    events = pd.read_parquet(folder / "interactions")
    times = pd.to_datetime(events["event_time"], utc=True).dt.tz_convert(None)
    events["us"] = times.astype("datetime64[us]").astype("int64")
    shown = events[events["action"] == "impression"].sort_values("us")
    liked = events.loc[events["action"] == "like", ["user_id", "content_id", "us"]].sort_values("us")
    pair = ["user_id", "content_id"]
    after = pd.merge_asof(
        shown, liked.rename(columns={"us": "engaged"}), left_on="us", right_on="engaged", by=pair, direction="forward"
    )
    next_shown = shown.groupby(pair)["us"].shift(-1).to_numpy()
    late = after["engaged"].to_numpy() >= np.fmin(next_shown, after["us"] + label_hours * HOUR_US)
    after.loc[late, "engaged"] = np.nan
    return after


def counters(shown: pd.DataFrame, keys: list[str], half_lives: list[float], rows: pd.Series) -> dict[str, np.ndarray]:
    """Return decayed sums of exposures and engagements strictly before each row, summed over `rows`' duplicates."""
    engaged = shown[shown["engaged"].notna()].assign(at=lambda of: of["engaged"].astype("int64"), kind=2)
    timeline = pd.concat([shown.assign(at=shown["us"], kind=0), shown.assign(at=shown["us"], kind=1), engaged])
    timeline["row"] = pd.concat([rows, rows, rows[shown["engaged"].notna()]]).to_numpy()
    timeline = timeline.sort_values(["at", "kind"], kind="stable")
    by = timeline.groupby(keys, sort=False).ngroup().to_numpy()
    first, asked, found = timeline["us"].min(), (timeline["kind"] == 0).to_numpy(), {}
    for what, kind in (("exposed", 1), ("engaged", 2)):
        counts = (timeline["kind"] == kind).to_numpy()
        for n, half_life in enumerate(half_lives):
            growth = np.exp2((timeline["us"] - first).to_numpy() / (half_life * DAY_US))
            sums = pd.Series(np.where(counts, growth, 0)).groupby(by).cumsum().to_numpy()[asked] / growth[asked]
            found[f"{what}_{n}"] = np.bincount(timeline["row"].to_numpy()[asked], sums)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    settings = load_settings(CONF, "local", {}).engagement
    begun = monotonic()
    shown = exposures(asked.folder, settings.label_hours).reset_index(drop=True)
    tags = pd.read_parquet(asked.folder / "contents", columns=["content_id", "tags"])
    rows, columns = pd.Series(np.arange(len(shown))), {}
    for name, keys in KEYS.items():
        of, numbers = shown, rows
        if "tag" in keys:
            of = shown.assign(row=rows).merge(tags, on="content_id").explode("tags").rename(columns={"tags": "tag"})
            of = of.drop_duplicates(["row", "tag"]).sort_values("row").reset_index(drop=True)
            numbers = of["row"]
        for what, sums in counters(of, keys, settings.half_lives_days, numbers).items():
            columns[f"{name}_{what}"] = np.log1p(sums)
    seconds = monotonic() - begun
    begun = monotonic()
    x = StandardScaler().fit_transform(np.stack(list(columns.values()), axis=1))
    LogisticRegression(C=1 / (len(x) * 0.001)).fit(x, shown["engaged"].notna())
    print(
        json.dumps(
            {"s": seconds, "fit_s": monotonic() - begun, "sums": {k: float(v.sum()) for k, v in columns.items()}}
        )
    )


if __name__ == "__main__":
    main()
