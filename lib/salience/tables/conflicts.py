"""What tells that another run changed the same thing at the same time."""

from delta import exceptions as conflict

CONFLICTS = (
    conflict.ConcurrentAppendException,
    conflict.ConcurrentDeleteDeleteException,
    conflict.ConcurrentDeleteReadException,
    conflict.ConcurrentTransactionException,
    conflict.ConcurrentWriteException,
    conflict.DeltaConcurrentModificationException,
    conflict.MetadataChangedException,
    conflict.ProtocolChangedException,
)
"""What Delta raises when another commit came between: in Python they share no base of their own."""

PAUSES_S = (0.2, 1.0, 3.0, 10.0)
"""Pauses behind the attempts at what other runs may be doing at the same moment."""
