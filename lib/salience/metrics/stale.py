"""Which days have to be measured again because their input changed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from salience.errors import InputError

Note = tuple[int, Mapping[str, Any], int]
"""Version, metadata and rows of a commit, as Warehouse.notes returns them."""


@dataclass(frozen=True)
class Span:
    """First and last event day that silver holds of one platform."""

    first: date
    last: date


@dataclass(frozen=True)
class Plan:
    """`days` are to be measured now; `left` are stale too but lie after the as-of day, so a later run measures them."""

    days: list[date]
    left: list[date]

    def note(self, silver_version: int, settings: str) -> dict[str, Any]:
        """Return what the commit that carries the plan out tells the next run."""
        left = [day.isoformat() for day in self.left]
        return {"silver_version": silver_version, "measured_by": settings, "days_left": left}


def plan(
    asked: Collection[date],
    log: Mapping[str, Span],
    silver_notes: Sequence[Note],
    gold_notes: Sequence[Note],
    window_days: int,
    settings: str,
    first_whole: date | None = None,
) -> Plan:
    """Return the days to measure: those asked for, and those whose input changed since the table was last measured.

    A day's input is its own silver day and the `window_days` - 1 before it. What changed is read from the `event_days`
    of the silver commits after the `silver_version` that the gold table's last commit names. Where that cannot be told
    (no such commit, a commit that does not say which days it touched, other settings), every day is stale. A change to
    the first day of a platform's log makes every later day stale, because completeness depends on where it begins.

    Args:
        asked: the days that the caller wants measured, at least one; later days than the last of them are left.
        log: what silver holds of each platform; at least one.
        silver_notes: newest commits of silver.interactions, newest first.
        gold_notes: newest commits of the gold table, newest first; none before its first commit.
        window_days: days that a gold row looks back on, the day itself included.
        settings: all that the measuring depends on beside its input.
        first_whole: the first day whose input is all there, where silver's old days are deleted; what was measured of
            earlier ones stays as it is, also where they are asked for.

    Raises:
        InputError: all days that are asked for lie before that.
    """
    spans = list(log.values())
    reach = timedelta(days=window_days - 1)
    every_day = set(_days(min(span.first for span in spans), max(span.last for span in spans) + reach))
    measured = next((metadata for _, metadata, _ in gold_notes if "silver_version" in metadata), None)
    changed = None
    if measured is not None and measured["measured_by"] == settings:
        changed = _changed(silver_notes, measured["silver_version"])
    if measured is None or changed is None:
        stale = every_day
    else:
        stale = {date.fromisoformat(day) for day in measured["days_left"]}
        for platform, day in changed:
            begins_log = window_days > 1 and platform is not None and platform in log and day <= log[platform].first
            stale |= set(_days(day, day + reach))
            if begins_log:
                stale |= {later for later in every_day if later >= day}
    as_of = max(asked)
    if first_whole is not None and as_of < first_whole:
        raise InputError(
            f"{as_of} cannot be measured any more: retention has deleted days of its {window_days}-day window, and the "
            f"first day whose input is all there is {first_whole}"
        )
    todo = {day for day in stale if day <= as_of} | set(asked)
    return Plan(
        days=sorted(day for day in todo if first_whole is None or day >= first_whole),
        left=sorted(day for day in stale if day > as_of),
    )


def _changed(silver_notes: Sequence[Note], since: int) -> set[tuple[str | None, date]] | None:
    """Return platform (None where the note names none) and event day of everything touched after version `since`.

    It is None where the notes do not tell.
    """
    if since not in {version for version, _, _ in silver_notes}:
        return None
    newer = [metadata for version, metadata, _ in silver_notes if version > since]
    if any("event_days" not in metadata for metadata in newer):
        return None
    return {(metadata.get("platform"), date.fromisoformat(day)) for metadata in newer for day in metadata["event_days"]}


def _days(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=n) for n in range((last - first).days + 1))
