"""Which readings of bronze silver rests on, told by the notes of their commits, and what the last ones left undone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from salience.tables import bronze, silver
from salience.tables.contract import Table
from salience.tables.warehouse import Warehouse

DELIVERIES, EVENT_DAYS, READING, BRONZE = "deliveries", "event_days", "reading", "bronze"
"""What the note of a reading's commits calls the days that it settled, itself, and the newest bronze that it knew."""
_BESIDE = ((silver.REJECTED_EVENTS, DELIVERIES), (silver.EXCLUDED_EVENTS, EVENT_DAYS))
"""What is written ahead of the accepted events, and by which days it is replaced."""
_NOTED = (silver.INTERACTIONS, silver.REJECTED_EVENTS, silver.EXCLUDED_EVENTS, bronze.EVENTS, silver.USERS)
"""What a reading notes the versions of; the accepted events first, so that it knows none whose others it does not."""
_Commit = tuple[int, Mapping[str, Any]]
"""Version and note."""


@dataclass(frozen=True)
class Left:
    """What the last readings left undone."""

    deliveries: frozenset[date]
    """Days of deliveries that are in bronze and were never settled, or not to the end."""
    event_days: frozenset[date]
    """Event days of which not every table is of the same reading."""
    people: int | None
    """Version of silver.users that all event days were judged by; None where they were not by the same one."""


class Readings:
    """The readings of one platform's events."""

    def __init__(self, warehouse: Warehouse, platform: str) -> None:
        self.warehouse = warehouse
        self.platform = platform

    def versions(self) -> dict[str, int]:
        """Return the versions of the tables that a reading rests on, and of those it replaces, as they are now.

        By name; -1 stands for a table that is not there yet.
        """
        there = self.warehouse.exists
        return {str(table): self.warehouse.version(table) if there(table) else -1 for table in _NOTED}

    def left(self) -> Left:
        """Return what is to be settled beside what a run itself delivers."""
        recent = self._recent()
        deliveries, event_days = self._torn(recent)
        people = {note.get(str(silver.USERS)) for _, note in recent}
        return Left(
            deliveries=frozenset(deliveries | self._unsettled(recent)),
            event_days=frozenset(event_days),
            # Between two of them a person may have refused, and one of the readings known it.
            people=people.pop() if len(people) == 1 else None,
        )

    def taken_since(self, version: int) -> set[date]:
        """Return the days of deliveries that were taken after a version of bronze."""
        taken = self._commits(bronze.EVENTS, since=version)
        return {date.fromisoformat(day) for _, note in taken for day in note.get("delivery_days", [])}

    def has_moved(self, versions: Mapping[str, int], own: int | None) -> bool:
        """Return whether what a reading rests on has changed since: other deliveries, or what is known of people.

        Args:
            versions: what it rests on.
            own: version of bronze that the reading's own run made.
        """
        taken, people = (self._commits(table, versions[str(table)]) for table in (bronze.EVENTS, silver.USERS))
        return any(version != own for version, _ in taken) or any(people)

    def _commits(self, table: Table, since: int = -1) -> Iterator[_Commit]:
        """Yield the platform's commits to a table after a version, newest first."""
        if self.warehouse.exists(table):
            for version, note, _ in self.warehouse.notes_since(table, since):
                if note.get("platform") == self.platform:
                    yield version, note

    def _recent(self) -> list[_Commit]:
        """Return the commits of the newest reading that was settled, and of those that it did not know yet.

        Whatever it knew needs no second look: it settled anew what it found torn or judged otherwise.
        """
        recent: list[_Commit] = []
        for version, note in self._commits(silver.INTERACTIONS):
            if recent and version <= recent[0][1].get(str(silver.INTERACTIONS), -1):
                break
            recent.append((version, note))
        return recent

    def _unsettled(self, recent: Sequence[_Commit]) -> set[date]:
        """Return the days of deliveries that bronze holds newer than the oldest of the newest readings.

        Not than the newest: a run that died may have put an older reading over it, and a third one its own over that.
        """
        # Of a warehouse whose older readings noted no versions, the last one.
        noted = [note for _, note in recent if str(silver.INTERACTIONS) in note] or [note for _, note in recent[:1]]
        return self.taken_since(min((note.get(BRONZE, -1) for note in noted), default=-1))

    def _torn(self, recent: Sequence[_Commit]) -> tuple[set[date], set[date]]:
        """Return deliveries and event days whose rejected or excluded events another reading left than the accepted.

        A run left them that died in between, or is in between now. Where nothing changes there is no commit; so it is
        enough that the accepted ones were written by a reading that knew the commit to the others.
        """
        deliveries, event_days = set[str](), set[str]()
        for table, key in _BESIDE:
            last = _newest_by_day(recent, key)
            known = min((note.get(str(table), -1) for _, note in recent), default=-1)
            for day, (version, note) in _newest_by_day(self._commits(table, since=known), key).items():
                _, end = last.get(day, (-1, {}))
                if note.get(READING) != end.get(READING) and end.get(str(table), -1) < version:
                    deliveries |= set(note[DELIVERIES])
                    event_days |= set(note[EVENT_DAYS])
        return {date.fromisoformat(day) for day in deliveries}, {date.fromisoformat(day) for day in event_days}


def _newest_by_day(commits: Iterable[_Commit], key: str) -> dict[str, _Commit]:
    """Return day -> the newest commit whose note names it under the key."""
    newest: dict[str, _Commit] = {}
    for version, note in commits:
        for day in note.get(key, ()):
            newest.setdefault(day, (version, note))
    return newest
