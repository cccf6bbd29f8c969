"""What each person had met before a moment: decayed counters by person, creator and tag, in one pass over sorted rows.

Runs on Arrow batches. Of a key (a person, a person and a creator, ...) the events are sorted once; running sums of
2^(t / half-life), one a half-life, then answer any "strictly before" by a binary search, because
sum of 2^((s - t) / h) over s < t is 2^(-t / h) times such a running sum.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from salience.profiles.weights import MICROSECONDS_PER_DAY as DAY_US

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

HOUR_US = DAY_US // 24
DECAYED = ("user", "user_creator", "user_tag")
"""What is counted with decay: `<key>_exposed_<n>`, `<key>_engaged_<n>` for the n-th half-life."""
COUNTED = ("user_content_exposed", "exposed_24h", "exposed_7d")
SINCE = ("user_exposed", "user_engaged", "user_creator_exposed")
"""Of these, `<name>_h` is the hours since the last one; null for never."""
READ = ("person", "at", "engaged_us", "content", "creator", "tag_hashes")
"""The columns that are read, and dropped: hashes of ids (bigint; tag_hashes a list of them), and microseconds."""

CHUNK_ROWS = 100_000
_MIX = np.int64(-7046029254386353131)
"""An odd number with well-mixed bits (2^64 over the golden ratio): tells (a, b) from (b, a) when hashes are joined."""


def names(half_lives: int) -> list[str]:
    """Return the columns that `counting` adds, all double."""
    decayed = [f"{of}_{what}_{n}" for of in DECAYED for what in ("exposed", "engaged") for n in range(half_lives)]
    return [*decayed, *COUNTED, *(f"{of}_h" for of in SINCE)]


def counting(half_lives_days: Sequence[float]) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function for mapInArrow that replaces READ by `names`.

    Args:
        half_lives_days: of the decay.

    The function's input has READ and is_exposure, is sorted by `person`, and holds each person whole. Rows with
    is_exposure are events, known from `at` on, and from `engaged_us` on as engaged, which decays from `at` too, so that
    no more are engaged than exposed; the others only ask.
    """

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for chunk in _whole_people(batches):
            found = _counted({name: chunk[name].combine_chunks() for name in (*READ, "is_exposure")}, half_lives_days)
            kept = chunk.drop_columns(list(READ))
            for name, values in found.items():
                kept = kept.append_column(name, pa.array(values, from_pandas=True))
            yield from kept.to_batches()

    return count


def _whole_people(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield tables of whole people, of about CHUNK_ROWS rows unless one person has more."""
    held: list[pa.RecordBatch] = []
    rows, wanted = 0, CHUNK_ROWS
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows >= wanted:
            table = pa.Table.from_batches(held)
            person = table["person"].to_numpy()
            last = int(np.searchsorted(person, person[-1]))
            if last:
                yield table[:last]
                held, rows, wanted = table[last:].to_batches(), rows - last, CHUNK_ROWS
            else:
                wanted = 2 * rows
    if rows:
        yield pa.Table.from_batches(held)


def _counted(columns: dict[str, Any], half_lives_days: Sequence[float]) -> dict[str, Doubles]:
    at, exposed = columns["at"].to_numpy(), columns["is_exposure"].to_numpy(zero_copy_only=False)
    is_engaged = columns["engaged_us"].is_valid().to_numpy(zero_copy_only=False)
    engaged_at = columns["engaged_us"].fill_null(0).to_numpy()[is_engaged]
    person, half_lives = columns["person"].to_numpy(), np.array(half_lives_days) * DAY_US
    growth = np.exp2((at - at.min())[:, None] / half_lives)
    clock = np.unique(np.concatenate([at, engaged_at]))

    def past(key: Ints, rows: Ints) -> tuple[_Past, _Past]:
        shown, engaged = exposed[rows], is_engaged[rows]
        when = np.zeros(len(at), np.int64)
        when[is_engaged] = engaged_at
        return (
            _past(clock, key[shown], at[rows[shown]], growth[rows[shown]]),
            _past(clock, key[engaged], when[rows[engaged]], growth[rows[engaged]]),
        )

    everyone = np.arange(len(at))
    by_creator = np.flatnonzero(columns["creator"].is_valid().to_numpy(zero_copy_only=False))
    tags = columns["tag_hashes"]
    lengths = tags.value_lengths().fill_null(0).to_numpy()
    by_tag = np.repeat(everyone, lengths)
    keys = {
        "user": (person, everyone),
        "user_creator": (_joined(person[by_creator], columns["creator"].drop_null().to_numpy()), by_creator),
        "user_tag": (_joined(person[by_tag], tags.flatten().to_numpy(zero_copy_only=False)), by_tag),
    }
    found: dict[str, Doubles] = {}
    since: dict[str, Doubles] = {}
    for name, (hashes, rows) in keys.items():
        key = pd.factorize(hashes)[0]
        pasts = past(key, rows)
        for what, of in zip(("exposed", "engaged"), pasts, strict=True):
            sums = of.decayed(key, at[rows])
            for n in range(len(half_lives)):
                # A content has several tags: what they say is added up.
                total = np.bincount(rows, weights=sums[:, n], minlength=len(at))
                found[f"{name}_{what}_{n}"] = total / growth[:, n]
            if name != "user_tag":
                hours = np.full(len(at), np.nan)
                hours[rows] = of.hours_since(key, at[rows])
                since[f"{name}_{what}_h"] = hours
        if name == "user":
            shown = pasts[0]
            windows = {f"exposed_{label}": shown.within(key, at, hours) for label, hours in (("24h", 24), ("7d", 168))}
    content = pd.factorize(_joined(person, columns["content"].to_numpy()))[0]
    again = _past(clock, content[exposed], at[exposed], np.ones((int(exposed.sum()), 1)))
    found["user_content_exposed"] = again.decayed(content, at)[:, 0]
    return {name: (found | windows | since)[name] for name in names(len(half_lives))}


def _joined(first: Ints, second: Ints) -> Ints:
    with np.errstate(over="ignore"):
        return first * _MIX + second


@dataclass(frozen=True)
class _Past:
    """Events sorted by key and time, with the running sums of their weights within the key."""

    clock: Ints
    """All moments at which something happened, sorted: a time is its place among them."""
    places: Ints
    keys: Ints
    times: Ints
    sums: Doubles

    def before(self, key: Ints, at: Ints) -> Ints:
        """Return how many events of all keys lie before (key, at), in the order by key and time."""
        return np.searchsorted(self.places, key * (len(self.clock) + 1) + np.searchsorted(self.clock, at))

    def _last(self, key: Ints, at: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return the place of the key's last event strictly before `at`, and whether there is one."""
        if not len(self.keys):
            return np.zeros(len(key), np.int64), np.zeros(len(key), bool)
        last = self.before(key, at) - 1
        return last, (last >= 0) & (self.keys[last] == key)

    def decayed(self, key: Ints, at: Ints) -> Doubles:
        """Return the sums of weights of the key's events strictly before `at`, (rows, weights)."""
        last, is_there = self._last(key, at)
        sums = np.zeros((len(key), self.sums.shape[1]))
        sums[is_there] = self.sums[last[is_there]]
        return sums

    def hours_since(self, key: Ints, at: Ints) -> Doubles:
        """Return the hours since the key's last event strictly before `at`; nan for none."""
        last, is_there = self._last(key, at)
        hours = np.full(len(key), np.nan)
        hours[is_there] = (at[is_there] - self.times[last[is_there]]) / HOUR_US
        return hours

    def within(self, key: Ints, at: Ints, hours: int) -> Doubles:
        """Return how many events the key has in [at - hours, at)."""
        return (self.before(key, at) - self.before(key, at - hours * HOUR_US)).astype(np.float64)


def _past(clock: Ints, keys: Ints, times: Ints, weights: Doubles) -> _Past:
    places = keys * (len(clock) + 1) + np.searchsorted(clock, times)
    order = np.argsort(places, kind="stable")
    sums = pd.DataFrame(weights[order]).groupby(keys[order], sort=False).cumsum().to_numpy()
    return _Past(clock, places[order], keys[order], times[order], sums)
