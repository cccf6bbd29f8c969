"""Changes stored tables in place to what their contracts say now, as far as no stored row has to be written again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import functions as F

from salience.errors import ConflictError, InputError
from salience.tables import catalog
from salience.tables.conflicts import CONFLICTS
from salience.tables.contract import Table
from salience.tables.stored import Difference, differences
from salience.tables.warehouse import Warehouse


@dataclass(frozen=True)
class Step:
    """One difference of one stored table that can be removed."""

    table: Table
    difference: Difference

    def __str__(self) -> str:
        """Return the table and what is wrong with it."""
        return f"{self.table}: {self.difference.text}"


def plan(warehouse: Warehouse, tables: Sequence[Table] = catalog.TABLES) -> list[Step]:
    """Return the steps that bring every existing table to its contract; none where all are up to date.

    Raises:
        InputError: a difference cannot be removed in place, or stored rows break a check; a line for each.
    """
    steps: list[Step] = []
    problems: list[str] = []
    for table in filter(warehouse.exists, tables):
        found = differences(table, warehouse.stored(table))
        fatal = [difference.text for difference in found if not difference.changes] or _broken(warehouse, table, found)
        remedy = f"start a new warehouse (setting `warehouse`) and let {table.made_by} fill it"
        problems += [f"{table}: {text}, which no upgrade can change: {remedy}" for text in fatal]
        steps += [Step(table, difference) for difference in found]
    if problems:
        raise InputError("\n".join(problems))
    return steps


def apply(warehouse: Warehouse, step: Step) -> None:
    """Take one step. Each of its commits leaves a table that the next plan can go on from.

    Raises:
        ConflictError: another run changed the table at the same time.
    """
    spark, metadata = warehouse.spark, "spark.databricks.delta.commitInfo.userMetadata"
    # An upgrade touches no day, so nothing that was measured from the table gets stale by it.
    spark.conf.set(metadata, json.dumps({"run_id": warehouse.run_id, "event_days": []}))
    try:
        for change in step.difference.changes:
            spark.sql(f"ALTER TABLE delta.`{warehouse.path(step.table)}` {change}")
    except CONFLICTS as error:
        raise ConflictError(f"{step.table}: another run changed it; upgrade again when no job is running") from error
    finally:
        spark.conf.unset(metadata)


def _broken(warehouse: Warehouse, table: Table, found: Sequence[Difference]) -> list[str]:
    """Return the new checks that stored rows break. Delta looks too, but only when earlier steps were taken."""
    checks = {difference.text: difference.check for difference in found if difference.check}
    if not checks:
        return []
    rows = warehouse.spark.read.format("delta").load(warehouse.path(table))
    missing = {c.name: F.lit(None).cast(c.type) for c in table.columns if c.name not in rows.columns}
    broken = [F.count_if(~F.expr(sql)).alias(text) for text, sql in checks.items()]
    counts = rows.withColumns(missing).select(*broken).head()
    assert counts is not None
    return [f"{text} and {counts[text]} stored rows break it" for text in checks if counts[text]]
