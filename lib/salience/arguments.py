"""The command line that all jobs share."""

import argparse
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from salience.errors import InputError


def job_name(main: Callable[..., Any]) -> str:
    """Return the name of the job that `main` belongs to: its file's name without the ending."""
    return Path(main.__code__.co_filename).stem


def argument_parser(main: Callable[..., Any], interval: bool) -> argparse.ArgumentParser:
    """Return the parser of the arguments that all jobs share."""
    parser = argparse.ArgumentParser(prog=f"{job_name(main)}.py", description=sys.modules[main.__module__].__doc__)
    parser.add_argument("--env", choices=("local", "cluster"), default="cluster", help="which conf/<env>.yaml to use")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting")
    parser.add_argument("--release", metavar="ID", help="release to work for, as printed by open_release.py")
    if interval:
        parser.add_argument("--date", type=day_of, metavar="DAY", help="the one day to work on")
        parser.add_argument("--from", dest="from_day", type=day_of, metavar="DAY", help="first day")
        parser.add_argument("--to", dest="to_day", type=day_of, metavar="DAY", help="last day, included")
    return parser


def day_of(text: str) -> date:
    """Return the day of an argument."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it as YYYY-MM-DD") from None


def days_of(text: str) -> list[date]:
    """Return the days of an argument that names several, parted by commas."""
    return [day_of(part.strip()) for part in text.split(",")]


def count_of(text: str) -> int:
    """Return a whole number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no count; write a whole number like 3")
    return int(text)


def settle_interval(arguments: argparse.Namespace, is_needed: bool) -> None:
    """Set `from_day` and `to_day` from what was given, `--date` or both.

    Raises:
        InputError: it is incomplete, contradicts itself or is empty.
    """
    if arguments.date and (arguments.from_day or arguments.to_day):
        raise InputError("give either --date or --from and --to, not both")
    if arguments.date:
        arguments.from_day = arguments.to_day = arguments.date
    if not is_needed and not arguments.from_day and not arguments.to_day:
        return
    if not arguments.from_day or not arguments.to_day:
        raise InputError("which days? give --date DAY, or --from DAY --to DAY (ISO days, UTC)")
    if arguments.from_day > arguments.to_day:
        raise InputError(f"the interval is empty: --from {arguments.from_day} lies after --to {arguments.to_day}")
