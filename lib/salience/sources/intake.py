"""What is said of deliveries: which could not be used and why, and what ops.deliveries keeps of each."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from pyspark.sql import SparkSession

from salience.errors import AuditError, InputError
from salience.sources.deliveries import Delivery, delivered_days
from salience.sources.mapping import SourceMapping

COUNTED = ("emitted", "rejected", "excluded", "accepted")


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
            signal = mapping.complete.marker
            hourly = ", nor does every hour of a day" if mapping.partition.of_hour else ""
            why = f"none of its folders holds {signal}{hourly}" if signal else "all were written to lately"
            lacking.append(f"{folder}: no complete delivery from {interval}, for {why}")
    if lacking:
        raise InputError(f"{'; '.join(lacking)}. Check --date and the settings `logs` and `platforms`")


def require_good(
    spark: SparkSession, logs: str, mappings: Sequence[SourceMapping], days: Sequence[date], seen: Sequence[Delivery]
) -> None:
    """Check what was delivered of some days, as `require_none_refused` and `require_some` do; other days' is no matter.

    Raises:
        AuditError: some deliveries are held.
        InputError: some were refused, or a platform delivered no interactions.
    """
    asked = [delivery for delivery in seen if delivery.day in days]
    require_none_refused(asked)
    require_some(spark, logs, mappings, days, asked)


def unfinished(mappings: Iterable[SourceMapping], days: Sequence[date], seen: Sequence[Delivery]) -> list[str]:
    """Return a line for each platform that has not yet delivered its interactions of every day, complete.

    And one for each other dataset that has a folder which is not complete.
    """
    lines = []
    for mapping in mappings:
        for dataset in mapping.datasets:
            of_dataset = [d for d in seen if (d.platform, d.dataset) == (mapping.platform, dataset)]
            begun = [d for d in of_dataset if d.state == "incomplete"]
            if begun and dataset != "interactions":
                lines.append(f"{len(begun)} of {len(of_dataset)} deliveries not complete (the first {begun[0]})")
        whole = {d.day for d in seen if (d.platform, d.dataset) == (mapping.platform, "interactions") and d.is_complete}
        late = [day for day in days if day not in whole]
        if late:
            lines.append(
                f"{mapping.platform}/interactions: {len(late)} of {len(days)} days missing or not complete "
                f"(the first {late[0]}); clean them again once they are delivered"
            )
    return lines


def require_none_refused(seen: Sequence[Delivery]) -> None:
    """Check that every complete delivery was taken.

    Raises:
        AuditError: some are held, for they are past a threshold.
        InputError: some were refused, for they cannot be used, or kept changing. The message names each folder and what
            is wrong. The others were taken all the same.
    """
    problems = {
        state: [f"{d}: {d.problem}" for d in seen if d.state == state and d.problem]
        for state in ("held", "refused", "taken")
    }
    what = {"taken": "took, though something is wrong,"}
    remedy = {"held": ". What is right all the same passes with another value of the setting that is named"}
    taken = sum(d.state == "taken" for d in seen)
    told = [
        f"{what.get(state, state)} {len(listed)} of {len(seen)} deliveries ({taken} taken): "
        f"{'; '.join(listed)}{remedy.get(state, '')}"
        for state, listed in problems.items()
        if listed
    ]
    if problems["held"]:
        raise AuditError(". ".join(told))
    if told:
        raise InputError(". ".join(told))


def ledger_rows(
    run_id: str, deliveries: Sequence[Delivery], counts: Mapping[date, Mapping[str, int]]
) -> list[dict[str, Any]]:
    """Return the rows for ops.deliveries.

    Args:
        run_id: the run that looked at them.
        deliveries: with what became of them.
        counts: delivery day -> `COUNTED` of the taken ones.
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
            "manifest": [(f.name, f.size, f.modified_ms) for f in d.files],
            "rows": d.rows,
            "problem": d.problem,
            "seen_at": datetime.now(UTC),
            **({name: counts.get(d.day, {}).get(name, 0) for name in COUNTED} if d.state == "taken" else {}),
        }
        for d in deliveries
    ]
