"""Cleans all datasets of one platform, those at the same time that do not wait for one another."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial

from salience.interactions.cleaning import Note, Outcome, Say, Source, clean_dataset
from salience.interactions.dimensions import tells_refusals
from salience.settings import CleanSettings
from salience.sources.mapping import Dataset
from salience.tables.warehouse import Warehouse
from salience.threads import beside


def clean_platform(
    warehouse: Warehouse,
    source: Source,
    days: Sequence[date],
    settings: CleanSettings,
    say: Say,
    note: Note,
    done: Callable[[Outcome], None],
) -> None:
    """Take a platform's deliveries of these days into bronze, settle silver, and tell of each dataset when it is done.

    Events are judged once it is settled who refuses; where that fails, they are not taken.

    Args:
        warehouse: the tables.
        source: the platform.
        days: delivery days.
        settings: thresholds.
        say: told what is being done.
        note: told of every commit.
        done: told what became of a dataset's deliveries; by several threads.

    Raises:
        AuditError: emitted = rejected + excluded + accepted does not hold; the dataset's tables stay as they were.
        ConflictError: other runs kept changing the same days.
    """

    def clean(datasets: Sequence[Dataset], source: Source) -> None:
        for dataset in datasets:
            done(clean_dataset(warehouse, source, dataset, days, settings, say, note))

    people = [dataset for dataset in source.mapping.datasets if tells_refusals(dataset)]
    others = [dataset for dataset in source.mapping.datasets if dataset not in ("interactions", *people)]
    with (
        beside(warehouse.spark, partial(clean, people, source)) as settled,
        beside(warehouse.spark, partial(clean, others, source)),
    ):
        clean(["interactions"], replace(source, ready=settled))
