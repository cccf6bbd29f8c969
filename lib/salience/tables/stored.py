"""How a stored table differs from its contract, and what ALTER TABLE needs to end each difference."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pyspark.sql import types as T

from salience.tables.contract import Column, Kind, Table, data_type

PROPERTIES = {
    # Reader version 1 is what delta-rs, DuckDB, Trino and Polars all read.
    "delta.minReaderVersion": "1",
    "delta.enableDeletionVectors": "false",
    # Minima and maxima in the log would hold ids that an erasure must remove.
    "delta.dataSkippingNumIndexedCols": "0",
}
LEDGER_PROPERTIES = {"delta.isolationLevel": "Serializable"}
_CHECK = "delta.constraints."


@dataclass(frozen=True)
class Stored:
    """What Delta knows of an existing table; `properties` include its reader version."""

    schema: T.StructType
    comment: str
    partitions: tuple[str, ...]
    properties: Mapping[str, str]


@dataclass(frozen=True)
class Difference:
    """One difference: what it is, and what follows ALTER TABLE in the statements that remove it, in order.

    There are none where stored rows would have to be written again. `check` is a condition that every stored row has to
    pass first. Comments bind no reader and no writer.
    """

    text: str
    changes: tuple[str, ...] = ()
    check: str | None = None
    is_comment: bool = False


def properties(table: Table) -> dict[str, str]:
    """Return the Delta properties of a table, its checks among them."""
    # Delta refuses a row whose condition is null; in SQL, and in a contract, such a row passes.
    checks = {f"{_CHECK}{name}": f"coalesce({sql}, true)" for name, sql in table.checks.items()}
    return PROPERTIES | (LEDGER_PROPERTIES if table.kind is Kind.LEDGER else {}) | checks


def differences(table: Table, stored: Stored) -> list[Difference]:
    """Return every difference, in an order in which they can be removed: checks may need a column that is missing."""
    fields = {field.name: field for field in stored.schema}
    found = [d for column in table.columns for d in _of_column(column, fields.pop(column.name, None))]
    found += [Difference(f"{name} is not in the contract") for name in fields]
    if stored.partitions != table.partitions:
        parts, wanted = (", ".join(names) or "nothing" for names in (stored.partitions, table.partitions))
        found.append(Difference(f"it is partitioned by {parts} instead of {wanted}"))
    if stored.comment != table.comment:
        change = f"SET TBLPROPERTIES ('comment' = {quoted(table.comment)})"
        found.append(Difference("its comment is another", (change,), is_comment=True))
    return found + list(_of_properties(table, stored.properties))


def quoted(text: str) -> str:
    """Return the text as an SQL literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _of_column(column: Column, field: T.StructField | None) -> Iterator[Difference]:
    name, comment = f"`{column.name}`", f"COMMENT {quoted(column.comment)}"
    if field is None and column.nullable:
        yield Difference(f"{column.name} is missing", (f"ADD COLUMNS ({name} {column.type} {comment})",))
    elif field is None:
        yield Difference(f"{column.name} is missing and may not be null")
    else:
        # Without the nullability inside a type, which a contract does not tell.
        kept, wanted = field.dataType.simpleString(), data_type(column.type).simpleString()
        if kept != wanted:
            yield Difference(f"{column.name} is {kept} instead of {wanted}")
        if column.nullable and not field.nullable:
            yield Difference(f"{column.name} may not be null yet", (f"ALTER COLUMN {name} DROP NOT NULL",))
        if field.nullable and not column.nullable:
            yield Difference(f"{column.name} may still be null")
        if field.metadata.get("comment") != column.comment:
            change = f"ALTER COLUMN {name} {comment}"
            yield Difference(f"{column.name} has another comment", (change,), is_comment=True)


def _of_properties(table: Table, kept: Mapping[str, str]) -> Iterator[Difference]:
    wanted = properties(table)
    # Other properties that the contract does not name are the operator's own.
    for key in (*wanted, *sorted(key for key in kept if key.startswith(_CHECK) and key not in wanted)):
        if _squeezed(kept.get(key, "")) == _squeezed(wanted.get(key, "")):
            continue
        name = key.removeprefix(_CHECK)
        if key == "delta.minReaderVersion":
            yield Difference(f"readers need Delta's reader version {kept[key]} instead of {wanted[key]}")
        elif name == key:
            change = f"SET TBLPROPERTIES ('{key}' = '{wanted[key]}')"
            yield Difference(f"{key} is {kept.get(key, 'not set')} instead of {wanted[key]}", (change,))
        else:
            drop = (f"DROP CONSTRAINT `{name}`",) if key in kept else ()
            # Not as a property, which Delta refuses to set later: this way it looks at the stored rows as well.
            add = (f"ADD CONSTRAINT `{name}` CHECK ({wanted[key]})",) if key in wanted else ()
            state = "missing" if not drop else "another" if add else "not in the contract"
            yield Difference(f"check {name} is {state}", drop + add, wanted.get(key))


def _squeezed(sql: str) -> str:
    """Return the text without white space outside quotes: Delta puts some between all tokens of an added constraint."""
    return re.sub(r"""('[^']*'|"[^"]*")|\s+""", lambda match: match[1] or "", sql)
