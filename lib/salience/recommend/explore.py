"""Places of a list that chance fills, to learn what people would think of what they are not shown otherwise."""

from datetime import datetime

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F

from salience.recommend.best import Doubles, Integers
from salience.recommend.diversify import Booleans
from salience.stats.draws import uniform


def lot(cut: datetime, salt: str) -> Column:
    """Return a candidate's lot, 0 to 1, by a hash of platform, user_id and content_id, the day of `cut`, and salt.

    The same candidate has the same lot whenever it is drawn for that day.
    """
    # A second round of the hash, as one alone keeps traces of small differences in its input.
    return uniform(F.xxhash64(F.xxhash64("platform", "user_id", "content_id"), F.lit(f"{cut:%Y-%m-%d} {salt}")))


def explore(picked: Integers, pools: Booleans, lots: Doubles, slots: int) -> tuple[Integers, Doubles]:
    """Let chance fill the last places of lists: the smallest lots win.

    Every content of a person's pool comes into the list with the same probability, slots / pool, in which the pool is
    what ranking left over. A list keeps its last places where the pool is not larger than the slots.

    Args:
        picked: (people, k) columns of the candidates, in order of rank; NONE where there are no more.
        pools: (people, width), who may be drawn; nothing for lists that nothing is drawn for. What stands in the first
            k - slots places is not among them.
        lots: (people, width).
        slots: how many places, less than k.

    Returns:
        the lists with what was drawn, and the propensity of each place: slots / pool where drawn, else 1.
    """
    lists, propensity = picked.copy(), np.ones(picked.shape)
    if not slots:
        return lists, propensity
    sizes, by_rank = np.count_nonzero(pools, axis=1), picked.shape[1] - slots
    drawing = np.flatnonzero(sizes > slots)
    order = np.argsort(np.where(pools[drawing], lots[drawing], np.inf), axis=1, kind="stable")
    lists[drawing, by_rank:] = order[:, :slots]
    propensity[drawing, by_rank:] = slots / sizes[drawing, None]
    return lists, propensity
