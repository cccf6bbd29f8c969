"""Source mappings: one YAML file a platform says how its raw columns become ours."""

import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, get_args
from zoneinfo import available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from salience.actions import ACTIONS
from salience.errors import SettingsError
from salience.sources.folders import FolderPattern
from salience.tables import bronze
from salience.tables.contract import Table
from salience.yaml_files import describe, read_yaml

Dataset = Literal[
    "contents",
    "users",
    "accounts",
    "assignments",
    "campaigns",
    "costs",
    "identifiers",
    "blocklist",
    "interactions",
]
"""In the order in which a platform's datasets are cleaned: events are judged by what is known of people."""
BRONZE_TABLES: dict[Dataset, Table] = {
    "contents": bronze.CONTENTS,
    "users": bronze.USERS,
    "accounts": bronze.ACCOUNTS,
    "assignments": bronze.ASSIGNMENTS,
    "campaigns": bronze.CAMPAIGNS,
    "costs": bronze.COSTS,
    "identifiers": bronze.IDENTIFIERS,
    "blocklist": bronze.BLOCKLIST,
    "interactions": bronze.EVENTS,
}
_NEEDED: dict[Dataset, tuple[str, ...]] = {
    "contents": ("content_id",),
    "users": ("raw_user_id",),
    "accounts": ("raw_creator_id",),
    "assignments": ("experiment_id", "arm"),
    "campaigns": ("campaign_id",),
    "costs": ("campaign_id", "cost_date", "cost"),
    "identifiers": ("raw_user_id", "kind", "identifier"),
    "blocklist": (),
    "interactions": ("raw_user_id", "content_id"),
}
"""Columns of ours that a dataset's mapping must set; a log that lacks a raw column of theirs is refused."""
DERIVED = frozenset(
    {"delivery_date", "platform", "event_date", "source_file", "row_hash", "violations", "payload", "action"}
    | {"event_time"}
)
"""Columns of bronze that no mapping may set: they come from the delivery itself or from keys of their own."""

_OF_THE_ROW = ("event_id", "utc_offset_min")
"""Columns that, where the mapping does not give them, are made of the row, whatever `emit` or `defaults` say."""

_ACTION_NAMES = Literal[ACTIONS]  # type: ignore[valid-type]


def _existing_zone(zone: str) -> str:
    if zone not in available_timezones():
        raise ValueError("there is no such time zone; names are like Asia/Shanghai")
    return zone


Expression = Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]
"""A scalar Spark SQL expression over the raw columns (mostly just a column's name)."""
Zone = Annotated[str, AfterValidator(_existing_zone)]
EmitName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ActionMapping(_Part):
    """How the source's word or code for what happened becomes one of our actions."""

    source: Expression = Field(alias="from")
    """Compared as a string."""
    values: dict[str, _ACTION_NAMES] = Field(min_length=1)
    """The source's value -> our action. Rows with another value are rejected as unknown_action."""

    @field_validator("values", mode="before")
    @classmethod
    def _keys_are_strings(cls, values: object) -> object:
        # No others are: off is False, null is None, and so the word is lost (`_lost_word`).
        return (
            {str(key) if type(key) is int else key: value for key, value in values.items()}
            if isinstance(values, dict)
            else values
        )


class TimeMapping(_Part):
    """How the source's time becomes a UTC timestamp."""

    source: Expression = Field(alias="from")
    unit: Literal["iso8601", "text", "seconds", "milliseconds", "microseconds", "nanoseconds"]
    """ISO 8601 text (or a timestamp column), text in `format`, or a number since 1970."""
    format: str | None = None
    """Spark's datetime pattern of the text, like yyyyMMddHHmmss; only with unit text."""
    zone: Zone | None = None
    """Time zone of times without an offset; UTC where it is missing."""

    @model_validator(mode="after")
    def _format_goes_with_text(self) -> "TimeMapping":
        if (self.unit == "text") != (self.format is not None):
            raise ValueError("`format` goes with `unit: text`, and the other way round")
        return self


class Emitted(_Part):
    """One of the events that a row stands for."""

    action: _ACTION_NAMES
    when: Expression | None = None
    """Condition under which the row stands for it; always, where it is missing."""
    columns: dict[str, Expression] = Field(default_factory=dict)
    """Columns that differ from the row's other events."""


class DatasetMapping(_Part):
    """How the rows of one dataset become bronze rows."""

    raw: dict[str, str] = Field(min_length=1)
    """The log's columns that the mapping uses -> their Spark SQL types, as `DESCRIBE` prints them. A delivery may lack
    one (it reads as null) unless it is required; one of another type is refused; columns beside them are ignored."""
    required: list[str] = Field(default_factory=list)
    """Raw columns that deliveries must have and rows must fill, beside those of the ids, the action and the time."""
    columns: dict[str, Expression]
    """Our column -> expression."""
    defaults: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Our column -> value that stands where the expression gives null."""


class InteractionsMapping(DatasetMapping):
    """How the rows of an interaction log become events."""

    action: ActionMapping | None = None
    emit: dict[EmitName, Emitted] = Field(default_factory=dict)
    """Name -> event, for logs whose rows stand for several: an impression and its click. Its id is <id>#<name>."""
    event_time: TimeMapping

    @model_validator(mode="after")
    def _one_way_to_an_action(self) -> "InteractionsMapping":
        if (self.action is None) == (not self.emit):
            raise ValueError("give either `action` or `emit`")
        return self


class Completeness(_Part):
    """When a delivery may be taken."""

    marker: Annotated[str, Field(pattern=r"^[_.][\w.-]+$")] | None = None
    """Name of the empty file that completes a delivery; as no data file's, it begins with _ or a dot."""
    settled_minutes: float | None = Field(default=None, gt=0)
    """Or: none of its files was written to for so long."""

    @model_validator(mode="after")
    def _one_signal(self) -> "Completeness":
        if (self.marker is None) == (self.settled_minutes is None):
            raise ValueError("give either `marker` or `settled_minutes`")
        return self


class SourceMapping(_Part):
    """Everything that is particular to one platform's logs."""

    platform: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    partition: FolderPattern = FolderPattern("dt=%Y-%m-%d")
    """The delivery's folder below <logs>/<platform>/<dataset>, like dt=%Y-%m-%d, ds=%Y%m%d or %Y/%m/%d/hour=%H."""
    partition_zone: Zone | None = None
    """Time zone of the hours that folders stand for; where it is missing, that of the interactions' times."""
    complete: Completeness = Completeness(marker="_SUCCESS")
    contents: DatasetMapping | None = None
    users: DatasetMapping | None = None
    accounts: DatasetMapping | None = None
    assignments: DatasetMapping | None = None
    campaigns: DatasetMapping | None = None
    costs: DatasetMapping | None = None
    identifiers: DatasetMapping | None = None
    blocklist: DatasetMapping | None = None
    interactions: InteractionsMapping

    def hours_of(self, day: date) -> set[str]:
        """Return the hours' folders that a whole day has; none where its files lie in the day's."""
        return self.partition.hours_of(day, self.partition_zone or self.interactions.event_time.zone or "UTC")

    @property
    def datasets(self) -> dict[Dataset, DatasetMapping]:
        """The datasets that the platform delivers, in the order in which they are cleaned."""
        every = {name: getattr(self, name) for name in get_args(Dataset)}
        return {name: mapping for name, mapping in every.items() if mapping is not None}


def load_mapping(conf_dir: Path, platform: str) -> SourceMapping:
    """Read and check `<conf_dir>/sources/<platform>.yaml`, but for its expressions (`fit.require_fitting`).

    Raises:
        SettingsError: the file is missing or no YAML, a key is unknown or missing, an action or a column is not one
            of ours; the message names the file and the key.
    """
    file = conf_dir / "sources" / f"{platform}.yaml"
    try:
        content = read_yaml(file)
        if problem := _lost_word(file.read_text(encoding="utf-8")):
            raise SettingsError(f"{file}: interactions.action.values.{problem}")
        mapping = SourceMapping.model_validate(content)
    except ValidationError as error:
        raise SettingsError(describe(error, str(file))) from None
    if mapping.platform != platform:
        raise SettingsError(f"{file}: platform is {mapping.platform}; it must be the file's name, {platform}")
    for dataset, part in mapping.datasets.items():
        if problem := _wrong_name(dataset, part):
            raise SettingsError(f"{file}: {dataset}.{problem}")
    return mapping


def needed_columns(dataset: Dataset, part: DatasetMapping) -> tuple[str, ...]:
    """Return the columns of ours without which a row of the dataset says nothing, as far as they are mapped."""
    return tuple(name for name in (*_NEEDED[dataset], "event_id") if name in part.columns)


def _lost_word(text: str) -> str | None:
    """Return the first of the log's words that YAML takes for something else than what is written: off, null, 007."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in ("interactions", "action", "values"):
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        node = next((value for key, value in pairs if key.value == name), None)
    words = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    for place, word in enumerate(words):
        is_number = word.tag == "tag:yaml.org,2002:int" and re.fullmatch(r"0|-?[1-9]\d*", word.value)
        if word.tag != "tag:yaml.org,2002:str" and not is_number:
            return f"{word.value}: YAML takes it for no word; put it in quotes: '{word.value}'"
        if word.value in (other.value for other in words[:place]):
            return f"{word.value}: is there twice, with quotes and without"
    return None


def _wrong_name(dataset: Dataset, part: DatasetMapping) -> str | None:
    """Return the first key that names a column which is not there, and what is wrong with it."""
    settable = [c.name for c in BRONZE_TABLES[dataset].columns if c.name not in DERIVED]
    named: dict[str, Iterable[str]] = {"columns": part.columns, "defaults": part.defaults}
    if isinstance(part, InteractionsMapping):
        named |= {f"emit.{name}.columns": emitted.columns for name, emitted in part.emit.items()}
    for key, columns in named.items():
        for column in columns:
            if column not in settable:
                return f"{key}.{column}: no such column; there are {', '.join(settable)}"
            if column in _OF_THE_ROW and column not in part.columns:
                return f"{key}.{column}: needs columns.{column}; without it, it is made of the row's other columns"
    for column in part.defaults:
        if column.endswith("_id") or column == "identifier":
            return f"defaults.{column}: an id has no default; all that have none would be taken for the same"
    missing = next((column for column in _NEEDED[dataset] if column not in part.columns), None)
    if missing:
        return f"columns.{missing}: is missing"
    return _wrong_raw_name(dataset, part)


def _wrong_raw_name(dataset: Dataset, part: DatasetMapping) -> str | None:
    for column in part.required:
        if column not in part.raw:
            return f"required: {column} is not among the columns of {dataset}.raw"
    folded = [name.casefold() for name in part.raw]
    twice = next((name for name in part.raw if folded.count(name.casefold()) > 1), None)
    if twice:
        return f"raw.{twice}: is there twice; Spark does not tell upper from lower case"
    if dataset in ("assignments", "blocklist"):
        both = ("raw_user_id" if dataset == "assignments" else "raw_creator_id", "content_id")
        if not any(name in part.columns for name in both):
            return f"columns: needs {both[0]}, {both[1]} or both"
    return None
