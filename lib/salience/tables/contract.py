"""What a table promises: its columns with units and nullability, its key, its partitions and its constraints."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from pyspark.sql import types as T

from salience.errors import ContractError
from salience.stats.small_cells import SmallCells


class Kind(StrEnum):
    """How a table is written and when it becomes visible."""

    DAY = "day"
    """Whole (day, platform) partitions are replaced in one commit and are visible at once."""
    DIMENSION = "dimension"
    """The history of a platform is rebuilt in one commit and is visible at once."""
    SNAPSHOT = "snapshot"
    """Written under a `release_id` of its own, visible once a release row names it."""
    LEDGER = "ledger"
    """Rows are only ever appended."""


@cache
def data_type(ddl: str) -> T.DataType:
    """Return the Spark type of a SQL type; Spark parses each once."""
    return T.DataType.fromDDL(ddl)


@dataclass(frozen=True)
class Column:
    """One column: its name, its Spark SQL type, what it means (with the unit), and whether it may be null."""

    name: str
    type: str
    comment: str
    nullable: bool = True


def required(name: str, type_: str, comment: str) -> Column:
    """Return a column that may not be null."""
    return Column(name, type_, comment, nullable=False)


@dataclass(frozen=True)
class Table:
    """The contract of one table.

    `key` is unique among the rows a reader sees; `checks` are SQL conditions that Delta enforces on every write
    (null passes, as in SQL).
    `made_by` names the job that fills the table, for messages. `small_cells` says which figures of a published table
    are about how many people.
    """

    layer: str
    name: str
    kind: Kind
    made_by: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partitions: tuple[str, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)
    may_be_empty: bool = False
    small_cells: SmallCells | None = None

    def __post_init__(self) -> None:
        """Refuse a contract that contradicts itself.

        Raises:
            ContractError: a key or partition column is missing from `columns`, or could be null.
        """
        by_name = {column.name: column for column in self.columns}
        for name in (*self.key, *self.partitions):
            if name not in by_name:
                raise ContractError(f"{self}: key or partition column {name} is not among its columns")
        for name in self.partitions:
            if by_name[name].nullable:
                raise ContractError(f"{self}: partition column {name} may not be nullable")

    def __str__(self) -> str:
        """Return the SQL name, `<layer>.<table>`."""
        return f"{self.layer}.{self.name}"

    @property
    def schema(self) -> T.StructType:
        """The Spark schema, with each column's comment in its metadata."""
        return T.StructType(
            [T.StructField(c.name, data_type(c.type), c.nullable, {"comment": c.comment}) for c in self.columns]
        )
