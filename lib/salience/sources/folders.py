"""Names of delivery folders: a pattern says how a day, and an hour, is written."""

import re
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_DIGITS = {"%Y": r"(?P<year>\d{4})", "%m": r"(?P<month>\d{2})", "%d": r"(?P<day>\d{2})", "%H": r"(?P<hour>\d{2})"}

_FOLDER = r"(?:[A-Za-z0-9]|%[YmdH])(?:[A-Za-z0-9_.=-]|%[YmdH])*"


class FolderPattern:
    """Folder names of a delivery, like `dt=%Y-%m-%d`, `ds=%Y%m%d` or `year=%Y/month=%m/day=%d/hour=%H`.

    The folders down to the one with the day are the delivery's; one below it, with %H, holds an hour of it. A plain
    name like `dt` stands for `dt=%Y-%m-%d`.

    Raises:
        ValueError: the pattern does not name year, month and day once each, or has anything but letters, digits,
            `_ . = -` and `/` beside them, or a folder that does not begin with a letter, a digit or one of them.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        whole = f"{text}=%Y-%m-%d" if re.fullmatch(r"\w+", text) else text
        if not all(re.fullmatch(_FOLDER, part) for part in whole.split("/")):
            raise ValueError("write it like dt=%Y-%m-%d, ds=%Y%m%d or dt=%Y-%m-%d/hour=%H")
        parts = whole.split("/")
        last = next((n for n, part in enumerate(parts) if "%d" in part), 0) + 1
        self.of_day, below = parts[:last], parts[last:]
        hourly = ["%H" in part for part in below]
        if any(whole.count(code) != 1 for code in ("%Y", "%m", "%d")) or "%H" in "".join(self.of_day) or below[1:]:
            raise ValueError("it must name %Y, %m and %d once each, then at most one folder with %H")
        if not all(f in "".join(self.of_day) for f in ("%Y", "%m")) or hourly == [False] or whole.count("%H") > 1:
            raise ValueError("it must name %Y, %m and %d once each, then at most one folder with %H")
        self.of_hour = below[0] if below else None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic read a pattern from its text."""

        def read(value: object) -> FolderPattern:
            return value if isinstance(value, cls) else cls(str(value))

        written = core_schema.plain_serializer_function_ser_schema(str)
        return core_schema.no_info_plain_validator_function(read, serialization=written)

    def __str__(self) -> str:
        return self.text

    def folder(self, day: date) -> str:
        """Return the day's folder below the dataset's."""
        return day.strftime("/".join(self.of_day))

    def day_in(self, folder: str) -> date | None:
        """Return the day that a folder below the dataset's stands for; None if it is no delivery's."""
        found = re.fullmatch(_regex("/".join(self.of_day)), folder)
        try:
            return date(int(found["year"]), int(found["month"]), int(found["day"])) if found else None
        except ValueError:
            return None

    def is_hour(self, folder: str) -> bool:
        """Return whether a folder below a delivery's is an hour of it."""
        found = re.fullmatch(_regex(self.of_hour), folder) if self.of_hour else None
        return found is not None and int(found["hour"]) < 24

    def hours_of(self, day: date, zone: str) -> set[str]:
        """Return the folders of a day's hours: 24, or 23 where the zone's clocks go forward; none without %H."""
        return (
            {self.of_hour.replace("%H", f"{hour:02}") for hour in _hours(day, ZoneInfo(zone))}
            if self.of_hour
            else set()
        )

    def day_places(self) -> list[tuple[int, int]]:
        """Return where year, month and day stand in the day's folder: (places before it, its length)."""
        folder = "/".join(self.of_day)
        lengths = {"%Y": 4, "%m": 2, "%d": 2}
        widened = [(folder[: folder.index(code)], length) for code, length in lengths.items()]
        return [(len(before.replace("%Y", "%Y  ")), length) for before, length in widened]


def _hours(day: date, zone: ZoneInfo) -> set[int]:
    """Return the hours that clocks show on a day, of some only a part: not every clock change is by a whole hour."""
    shown = (datetime.combine(day, time(hour, minute), zone) for hour in range(24) for minute in (0, 59))
    there = (moment.astimezone(UTC).astimezone(zone) for moment in shown)
    return {moment.hour for moment in there if moment.date() == day}


def _regex(pattern: str) -> str:
    pieces = re.split(r"(%[YmdH])", pattern)
    return "".join(_DIGITS.get(piece) or re.escape(piece) for piece in pieces)
