"""Weights that say less where there are many: divided by a power of the sum over a person's, or a content's, pairs.

Who does much says less by each thing that they do, and a content that everyone knows says less of who they are. Powers
of one half for both give the normalised adjacency matrix of graph filters (Shen et al., 2021, "How powerful is graph
convolution for recommendation?"); what ranks best lies below, and a search finds it.
"""

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.recommend.models.interface import Doubles


def totals(pairs: DataFrame, by: str, value: Column) -> DataFrame:
    """Return the sum of a value over each person's or content's pairs: `by`, `<by>_total`."""
    return pairs.groupBy(by).agg(F.sum(value).alias(f"{by}_total"))


def divided(value: Column, total: Column, power: float) -> Column:
    """Return value / total ^ power; 0 where everything has faded to nothing."""
    return F.when(total > 0, value * F.pow(total, F.lit(-power))).otherwise(F.lit(0.0))


def by_person(pairs: DataFrame, value: Column, power: float) -> DataFrame:
    """Return user, item, value, each value divided by the power of its person's total.

    Args:
        pairs: user, item, and what `value` is made of.
        value: >= 0.
        power: 0 leaves values as they are.
    """
    if not power:
        return pairs.select("user", "item", value.alias("value"))
    summed = pairs.join(totals(pairs, "user", value), "user", how="inner")
    return summed.select("user", "item", divided(value, F.col("user_total"), power).alias("value"))


def scales(totals_of_items: DataFrame, items: int, power: float) -> Doubles:
    """Return each content's total to the power, (items,); 1 where it is 0.

    Args:
        totals_of_items: item, item_total.
        items: how many there are.
        power: what totals are raised to.
    """
    table = totals_of_items.toArrow()
    told = np.zeros(items)
    told[table["item"].to_numpy()] = table["item_total"].to_numpy()
    return np.asarray(np.where(told > 0, told, 1.0) ** power)
