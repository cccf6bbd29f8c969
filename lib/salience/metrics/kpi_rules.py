"""KPI rules: a YAML file says how far which figures of gold's day tables may move before people are told."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator
from pyspark.sql import Column
from pyspark.sql import functions as F

from salience.errors import SettingsError
from salience.settings.group import MAX_DAYS, Group
from salience.tables import catalog
from salience.tables.contract import Kind, Table
from salience.yaml_files import describe, read_yaml

_TABLES = {str(table): table for table in catalog.TABLES if table.layer == "gold" and table.kind is Kind.DAY}


class Metric(Group):
    """A figure of each platform and day: a sum over rows of one gold day table, or one sum over another."""

    table: str
    of: str
    """The column that is added up: a count, or seconds."""
    per: str | None = None
    """Divided by the sum of this one, over the rows that know both: a rate of many rows is no mean of their rates."""
    where: dict[str, str | bool] = Field(default_factory=dict)
    """Column -> the value of rows that count. With `platform` the rule is that platform's alone."""

    @field_validator("table")
    @classmethod
    def _is_a_day_table_of_gold(cls, name: str) -> str:
        if name not in _TABLES:
            raise ValueError(f"there is no such day table; there are {', '.join(_TABLES)}")
        return name

    @model_validator(mode="after")
    def _fits_the_table(self) -> "Metric":
        table = _TABLES[self.table]
        types = {column.name: column.type for column in table.columns}
        sums = [name for name, type_ in types.items() if type_ == "bigint" or name.endswith("_s")]
        for key, name in (("of", self.of), ("per", self.per)):
            if name is not None and name not in sums:
                raise ValueError(f"`{key}`: {table} has no {name} that adds up; there are {', '.join(sums)}")
        if self.of == self.per:
            raise ValueError(f"`per`: {self.of} over itself never changes; name another column")
        fit = {name: {"string": str, "boolean": bool}[type_] for name, type_ in types.items() if type_ in _COMPARED}
        for name, value in self.where.items():
            if fit.get(name) is not type(value):
                kinds = (f"{column} ({_COMPARED[types[column]]})" for column in fit)
                raise ValueError(f"`where`: {table} cannot have {name} be {value!r}; it compares {', '.join(kinds)}")
        segments = table.small_cells and table.small_cells.segments
        if segments and segments.column not in self.where:
            told = f"name one, like {segments.column}: {segments.whole}"
            raise ValueError(f"`where`: without a {segments.column}, {table} counts people more than once; {told}")
        return self

    def __str__(self) -> str:
        """Return what the figure is, in a few words."""
        return self.of if self.per is None else f"{self.of} / {self.per}"

    def sums(self) -> tuple[Column, Column, Column]:
        """Return both sums of the figure over a day's rows, and what may be hidden of the first.

        The second is 1 where there is no `per`; both are null where no row counts that knows them. What is hidden of
        `of`, in rows that know `per`, is about few people: each is taken for the smallest figure that is shown.
        """
        parts = [F.col(name) for name in (self.of, self.per) if name]
        counts = reduce(and_, (F.col(name) == F.lit(value) for name, value in self.where.items()), F.lit(True))
        knows = reduce(and_, (part.isNotNull() for part in parts[1:]), counts)
        is_known, is_hidden = knows & parts[0].isNotNull(), knows & parts[0].isNull()
        of, *per = (F.sum(F.when(is_known, part)) for part in parts)
        smallest = F.min(F.when(is_known & (parts[0] > 0), parts[0]))
        hidden = F.count_if(is_hidden) * F.coalesce(smallest, F.lit(1))
        return of, per[0] if per else F.max(F.when(is_known, F.lit(1))), hidden


_COMPARED = {"string": "text", "boolean": "true or false"}


class Change(Group):
    """How far a figure may move, as a share of what it was: 0.2 is 20%. It is told once it moves further."""

    fall: float | None = Field(default=None, ge=0, lt=1)
    """Below 1: nothing falls by more than all of it."""
    rise: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _says_something(self) -> "Change":
        if self.fall is None and self.rise is None:
            raise ValueError("give `fall`, `rise` or both")
        return self


class Rule(Group):
    """One KPI, and how far it may move between the last days and as many days before them."""

    metric: Metric
    change: Change
    window_days: int = Field(ge=1, le=MAX_DAYS)
    """In whole weeks weekdays do not matter."""

    def platforms(self, known: Sequence[str]) -> list[str]:
        """Return the platforms that the rule is for, of all or the one that it names."""
        named = self.metric.where.get("platform")
        return list(known) if named is None else [str(named)]


_RULES = TypeAdapter(
    Annotated[dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Rule], Field(min_length=1)],
)


def load_rules(conf_dir: Path) -> dict[str, Rule]:
    """Read and check `<conf_dir>/kpis.yaml`: the rules by their names.

    Raises:
        SettingsError: the file is missing or no YAML, holds no rule or one name twice, a key is unknown or missing, a
            rule names no day table of gold or no fit column of it, or could never be broken; the message names the file
            and the key.
    """
    file = conf_dir / "kpis.yaml"
    content = read_yaml(file)
    try:
        return _RULES.validate_python(content)
    except ValidationError as error:
        raise SettingsError(describe(error, str(file))) from None


def by_table(rules: Mapping[str, Rule]) -> list[tuple[Table, dict[str, Rule]]]:
    """Return each table that rules are of, with these."""
    names = sorted({rule.metric.table for rule in rules.values()})
    return [(_TABLES[of], {n: rule for n, rule in rules.items() if rule.metric.table == of}) for of in names]
