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

_PARTS = ("_sum", "_known")

Group = tuple[Any, ...]
"""Values of the columns that part the rows."""


def means(per_person: DataFrame, by: Sequence[str], gappy: Sequence[str] = ()) -> dict[Group, dict[str, Any]]:
    """Return the mean of each metric and `users`, how many people there are, by group: the same on any cluster.

    Args:
        per_person: user_id, `by`, and a column for each metric.
        by: like model.
        gappy: more metrics, which are null for some people; their means are over the others, whose number is
            `<metric>_users`, and None where there are none.
    """
    each = [F.try_divide(exact_sum(F.col(metric)), F.count(metric)).alias(metric) for metric in (*METRICS, *gappy)]
    users = [F.count("*").alias("users"), *(F.count(metric).alias(f"{metric}_users") for metric in gappy)]
    rows = per_person.groupBy(*by).agg(*users, *each).collect()
    return {tuple(row[name] for name in by): row.asDict() for row in rows}


def replicates(
    per_person: DataFrame, by: Sequence[str], count: int, seed: int, gappy: Sequence[str] = ()
) -> dict[Group, Mapping[str, npt.NDArray[np.float64]]]:
    """Return the mean of each metric in each bootstrap replicate, by group.

    A person weighs the same in all groups, so differences of groups of the same people are paired.

    Args:
        per_person, by, gappy: as for `means`; NaN where a replicate is of nobody whose metric is known.
        count: how many replicates; those that would be of nobody are missing, of all such groups alike.
        seed: of the weights.
    """
    parts = {metric: (F.coalesce(metric, F.lit(0.0)), F.col(metric).isNotNull().cast("int")) for metric in gappy}
    columns = {metric: F.col(metric) for metric in METRICS}
    columns |= {f"{m}{part}": column for m, both in parts.items() for part, column in zip(_PARTS, both, strict=True)}
    whole = per_person.select("user_id", *by, *(column.alias(name) for name, column in columns.items()))
    found = poisson_bootstrap(whole, ["user_id"], list(columns), count, seed, by=by)
    # A row a group and replicate, however many people there are.
    arrived = found.toPandas().sort_values("replicate")
    for metric in gappy:
        sums, known = (arrived[f"{metric}{part}"] for part in _PARTS)
        arrived[metric] = sums / known.where(known > 0)
    return {key: {m: rows[m].to_numpy() for m in (*METRICS, *gappy)} for key, rows in arrived.groupby(list(by))}
