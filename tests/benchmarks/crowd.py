"""Simulated people and what they had to do with: tastes, a long tail of contents, and a few people with hundreds."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Integers = npt.NDArray[np.int64]

CUT = datetime(2026, 11, 14, tzinfo=UTC)
DAYS, FILES, SEED = 30, 8, 42
TASTES, OF_A_PERSON = 50, (0.6, 0.3, 0.1)
SHORTEST, LONGEST = 5, 450


@dataclass(frozen=True)
class Crowd:
    """Where a crowd lies, as Parquet.

    pairs: user_id (64 hex digits, as pseudonyms are), content_id, event_time; user, item (the ranks of the sorted ids),
    weight; in no order. user_ids, item_ids: (user_id, id), (content_id, id).
    """

    folder: Path

    @property
    def pairs(self) -> Path:
        return self.folder / "pairs"

    @property
    def user_ids(self) -> Path:
        return self.folder / "user_ids.parquet"

    @property
    def item_ids(self) -> Path:
        return self.folder / "item_ids.parquet"

    def places(self) -> tuple[Integers, Integers]:
        """Return the users and the items of all pairs."""
        table = pq.read_table(self.pairs, columns=["user", "item"])
        return tuple(table[name].to_numpy().astype(np.int64) for name in ("user", "item"))

    def user_id(self, number: int) -> str:
        """Return an id by its rank among all."""
        return str(pq.read_table(self.user_ids)["user_id"][number])


def simulate(folder: Path, users: int, items: int) -> Crowd:
    """Simulate a crowd, once."""
    crowd = Crowd(folder / f"{users}-{items}")
    if (crowd.folder / "done").exists():
        return crowd
    crowd.pairs.mkdir(parents=True, exist_ok=True)
    user_ids = pa.array(sorted(sha256(b"%d" % number).hexdigest() for number in range(users)))
    item_ids = pa.array([f"c{number:07d}" for number in range(items)])
    for ids, name, file in ((user_ids, "user_id", crowd.user_ids), (item_ids, "content_id", crowd.item_ids)):
        pq.write_table(pa.table({name: ids, "id": pa.array(range(len(ids)), pa.int32())}), file)
    random = np.random.default_rng(SEED)
    pairs = _distinct_pairs(random, users, items)
    for number, part in enumerate(np.array_split(pairs, FILES)):
        user, item = np.divmod(part, items)
        age_s = random.integers(1, DAYS * 86_400, len(part))
        columns = {
            "user_id": user_ids.take(pa.array(user)),
            "content_id": item_ids.take(pa.array(item)),
            "event_time": pa.array(int(CUT.timestamp() * 1e6) - age_s * 1_000_000, pa.timestamp("us", "UTC")),
            "user": pa.array(user, pa.int32()),
            "item": pa.array(item, pa.int32()),
            "weight": pa.array(np.ones(len(part)), pa.float32()),
        }
        pq.write_table(pa.table(columns), crowd.pairs / f"{number}.parquet")
    (crowd.folder / "done").touch()
    return crowd


def _distinct_pairs(random: np.random.Generator, users: int, items: int) -> Integers:
    """Return user x items + item of each pair, in random order.

    A person has three of 50 tastes; a taste is a distribution over the contents, whose popularity has a long tail.
    Histories are log-normal: half of the people have 33 draws or fewer.
    """
    popularity = random.permutation((np.arange(items) + 10.0) ** -0.8)
    tastes = popularity * np.exp(1.5 * random.normal(size=(TASTES, items)))
    reached = np.cumsum(tastes / tastes.sum(axis=1, keepdims=True), axis=1)
    lengths = np.clip(random.lognormal(np.log(33), 0.95, users), SHORTEST, LONGEST).astype(np.int64)
    user = np.repeat(np.arange(users), lengths)
    likes = random.integers(0, TASTES, (users, len(OF_A_PERSON)))
    taste = likes[user, random.choice(len(OF_A_PERSON), len(user), p=OF_A_PERSON)]
    draw, item = random.random(len(user)), np.empty(len(user), np.int64)
    for number in range(TASTES):
        of_taste = taste == number
        item[of_taste] = np.searchsorted(reached[number], draw[of_taste])
    return random.permutation(np.unique(user * items + np.minimum(item, items - 1)))
