"""Means of ranking metrics over people, and what they would be with other people."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.recommend.confidence import exact_sum
from salience.recommend.ranking import METRICS
from salience.stats.bootstrap import poisson_bootstrap

Group = tuple[Any, ...]
"""Values of the columns that part the rows."""


def means(per_person: DataFrame, by: Sequence[str]) -> dict[Group, dict[str, Any]]:
    """Return the mean of each metric and `users`, how many people there are, by group: the same on any cluster.

    Args:
        per_person: user_id, `by`, and a column for each metric.
        by: like model.
    """
    users = F.count("*")
    each = [(exact_sum(F.col(metric)) / users).alias(metric) for metric in METRICS]
    rows = per_person.groupBy(*by).agg(users.alias("users"), *each).collect()
    return {tuple(row[name] for name in by): row.asDict() for row in rows}


def replicates(
    per_person: DataFrame, by: Sequence[str], count: int, seed: int
) -> dict[Group, Mapping[str, npt.NDArray[np.float64]]]:
    """Return the mean of each metric in each bootstrap replicate, by group.

    A person weighs the same in all groups, so differences of groups of the same people are paired.

    Args:
        per_person, by: as for `means`.
        count: how many replicates; those that would be of nobody are missing, of all such groups alike.
        seed: of the weights.
    """
    found = poisson_bootstrap(per_person, ["user_id"], METRICS, count, seed, by=by)
    # A row a group and replicate, however many people there are.
    arrived = found.toPandas().sort_values("replicate")
    return {key: {m: rows[m].to_numpy() for m in METRICS} for key, rows in arrived.groupby(list(by))}
