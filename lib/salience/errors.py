"""The errors that Salience raises on purpose; each carries one line that says what is wrong, where and what to do."""


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
