"""Takes deliveries: the good ones together in one write, and if that fails on a bad file, one by one to find it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from salience.errors import InputError
from salience.sources.deliveries import Delivery, delivered_days, find_deliveries
from salience.sources.mapping import Dataset, SourceMapping
from salience.sources.typed import find_mapping_problem

UNREADABLE = (
    *("FAILED_READ_FILE", "CANNOT_READ_FILE_FOOTER", "PARQUET_COLUMN_DATA_TYPE_MISMATCH"),
    *("CAST_INVALID_INPUT", "CAST_OVERFLOW", "DIVIDE_BY_ZERO", "ARITHMETIC_OVERFLOW", "INVALID_ARRAY_INDEX"),
    *("CANNOT_PARSE_TIMESTAMP", "DATETIME_OVERFLOW", "long overflow"),
)
"""Spark's error classes that blame the data rather than the cluster."""


def look_at_deliveries(
    spark: SparkSession, logs: str, mapping: SourceMapping, dataset: Dataset, days: Sequence[date]
) -> list[Delivery]:
    """Return the deliveries of these days, refused where a file or the mapping does not fit."""
    problems: dict[str, str | None] = {}
    looked_at = []
    for delivery in find_deliveries(spark, logs, mapping, dataset, days):
        if delivery.schema is not None:
            schema = delivery.schema.json()
            if schema not in problems:
                problems[schema] = find_mapping_problem(spark, mapping, dataset, delivery.schema)
            problem = problems[schema]
            looked_at.append(delivery.refused(problem) if problem else delivery)
        else:
            looked_at.append(delivery)
    return looked_at


def take(deliveries: Sequence[Delivery], write: Callable[[Sequence[Delivery]], object]) -> list[Delivery]:
    """Write what can be taken and return every delivery with what became of it.

    Args:
        deliveries: as looked at; only those in state `taken` are written.
        write: writes the rows of some deliveries in one commit; raises when a file cannot be read to its end.
    """
    good = [delivery for delivery in deliveries if delivery.state == "taken"]
    try:
        if good:
            write(good)
    except (PySparkException, Py4JJavaError) as error:
        if not any(name in str(error) for name in UNREADABLE):
            raise
        if len(good) == 1:
            return [d if d is not good[0] else d.refused(_reason(error)) for d in deliveries]
        return [outcome for delivery in deliveries for outcome in take([delivery], write)]
    return list(deliveries)


def require_some(
    spark: SparkSession, logs: str, mappings: Iterable[SourceMapping], days: Sequence[date], seen: Sequence[Delivery]
) -> None:
    """Check that there was something to clean.

    Raises:
        InputError: a platform has no delivery of interactions in the interval, or none of them is complete; the message
            says which days do have deliveries. What the other platforms delivered was taken all the same.
    """
    interval, lacking = f"{days[0]} to {days[-1]}", []
    for mapping in mappings:
        folder = f"{logs.rstrip('/')}/{mapping.platform}/interactions"
        own = [d for d in seen if (d.platform, d.dataset) == (mapping.platform, "interactions")]
        if not own:
            there = delivered_days(spark, logs, mapping, "interactions")
            known = f"there are deliveries from {there[0]} to {there[-1]}" if there else "there is none for any day"
            lacking.append(f"{folder}: no delivery from {interval}; {known}")
        elif all(delivery.state == "incomplete" for delivery in own):
            lacking.append(f"{folder}: no complete delivery from {interval}, for none of its folders holds _SUCCESS")
    if lacking:
        raise InputError(f"{'; '.join(lacking)}. Check --date and the settings `logs` and `platforms`")


def unfinished(mappings: Iterable[SourceMapping], days: Sequence[date], seen: Sequence[Delivery]) -> list[str]:
    """Return a line for each platform that has not yet delivered its interactions of every day, complete."""
    lines = []
    for mapping in mappings:
        whole = {d.day for d in seen if (d.platform, d.dataset) == (mapping.platform, "interactions") and d.is_complete}
        late = [day for day in days if day not in whole]
        if late:
            lines.append(
                f"{mapping.platform}/interactions: {len(late)} of {len(days)} days missing or without _SUCCESS "
                f"(the first {late[0]}); clean them again once they are delivered"
            )
    return lines


def require_none_refused(seen: Sequence[Delivery]) -> None:
    """Check that no delivery was refused.

    Raises:
        InputError: some were; the message names each folder and what is wrong. The others were taken all the same.
    """
    refused = [f"{d.platform}/{d.dataset}/{d.path.rsplit('/', 1)[-1]}: {d.problem}" for d in seen if d.problem]
    if refused:
        taken = sum(delivery.state == "taken" for delivery in seen)
        raise InputError(f"refused {len(refused)} of {len(seen)} deliveries ({taken} taken): {'; '.join(refused)}")


def ledger_rows(
    run_id: str, deliveries: Sequence[Delivery], counts: Mapping[date, Mapping[str, int]]
) -> list[dict[str, Any]]:
    """Return the rows for ops.deliveries.

    Args:
        run_id: the run that looked at them.
        deliveries: with what became of them.
        counts: delivery day -> emitted, rejected, excluded, accepted of the taken ones.
    """
    return [
        {
            "run_id": run_id,
            "platform": d.platform,
            "dataset": d.dataset,
            "delivery_date": d.day,
            "state": d.state,
            "files": len(d.files),
            "bytes": sum(f.size for f in d.files),
            "manifest_hash": d.manifest_hash,
            "problem": d.problem,
            "seen_at": datetime.now(UTC),
            **(counts.get(d.day, _NOTHING) if d.state == "taken" else {}),
        }
        for d in deliveries
    ]


_NOTHING = {"emitted": 0, "rejected": 0, "excluded": 0, "accepted": 0}


def _reason(error: PySparkException | Py4JJavaError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if any(name in line for name in UNREADABLE)]
    told = lines[0] if lines else str(error).splitlines()[0]
    return f"it cannot be read to its end: {told[:300]}; deliver it again"
