"""What stands of people's actions: nothing of those that they took back."""

from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from salience.actions import UNDONE_BY


def without_undone(interactions: DataFrame) -> DataFrame:
    """Take the action from interactions that were undone, and from those that undid them; all rows stay.

    An action is undone by every later (or simultaneous) one of the same person to the same content that UNDONE_BY names
    for it, however old it is; done again after that, it stands.

    Args:
        interactions: with user_id, content_id, action, event_time; what is not among them undoes nothing.

    Returns:
        the same columns in the same order, `action` null where nothing stands.
    """
    is_concerned = F.coalesce(F.col("action").isin([*UNDONE_BY, *UNDONE_BY.values()]), F.lit(False))
    # Few actions can be undone: the others need not be brought together by pair.
    concerned = interactions.where(is_concerned & F.col("content_id").isNotNull())
    others = interactions.where(~is_concerned | F.col("content_id").isNull())
    is_undone = reduce(Column.__or__, (_is_undone(action, undo) for action, undo in UNDONE_BY.items()))
    stands = ~is_undone & ~F.col("action").isin([*UNDONE_BY.values()])
    return others.union(concerned.withColumn("action", F.when(stands, F.col("action"))))


def _is_undone(action: str, undo: str) -> Column:
    of_one_pair = Window.partitionBy("user_id", "content_id")
    last = F.max(F.when(F.col("action") == undo, F.col("event_time"))).over(of_one_pair)
    return (F.col("action") == action) & F.coalesce(F.col("event_time") <= last, F.lit(False))
