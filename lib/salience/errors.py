"""The errors that Salience raises on purpose; each carries one line that says what is wrong, where and what to do."""

import re

_FAILS_ON_A_VALUE = re.compile(r"\[([A-Z][A-Z0-9_.]+)\](?:(?!SQLSTATE: ).)*SQLSTATE: 22", re.DOTALL)
"""What Spark says where an expression fails on a value; conf/log4j2.properties hides the same from what Java logs."""


def without_values(text: str) -> str:
    """Return the text without the values that expressions failed on: they may be a person's."""
    return _FAILS_ON_A_VALUE.sub(r"[\1] (value not shown) SQLSTATE: 22", text)


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, with its type unless it is one of ours."""
    text = next((line.strip() for line in without_values(str(error)).splitlines() if line.strip()), "")
    return text if isinstance(error, SalienceError) else f"{type(error).__name__}: {text}"


class SalienceError(Exception):
    """Base of every deliberate error. `exit_code` is what a job ends with."""

    exit_code = 1


class InputError(SalienceError):
    """A log, an argument or an interval that cannot be used as it is."""

    exit_code = 2


class SettingsError(SalienceError):
    """A setting or a source mapping that is unknown, of the wrong type or out of range."""

    exit_code = 2


class AuditError(SalienceError):
    """Data that failed an audit; what it would have made visible stays unpublished."""

    exit_code = 3


class ContractError(SalienceError):
    """A frame or a stored table that differs from the table's contract."""


class ConflictError(SalienceError):
    """Another run changed the same thing at the same time, and retrying did not help."""


class StorageError(SalienceError):
    """Storage that is full or does not answer: trouble of the cluster, which the same run may not meet again."""
