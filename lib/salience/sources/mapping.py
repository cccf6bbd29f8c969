"""Source mappings: one YAML file a platform says how its raw columns become ours."""

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from salience.actions import ACTIONS
from salience.errors import SettingsError
from salience.settings import describe, read_yaml
from salience.tables import bronze
from salience.tables.contract import Table

Dataset = Literal["interactions", "contents", "users"]
BRONZE_TABLES: dict[Dataset, Table] = {
    "interactions": bronze.EVENTS,
    "contents": bronze.CONTENTS,
    "users": bronze.USERS,
}
DERIVED = frozenset(
    {"delivery_date", "platform", "event_date", "source_file", "row_hash", "violations", "payload", "action"}
    | {"event_time"}
)
"""Columns of bronze that no mapping may set: they come from the delivery itself or from keys of their own."""

Expression = Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ActionMapping(_Part):
    """How the source's word or code for what happened becomes one of our actions."""

    source: Expression = Field(alias="from")
    """Spark SQL expression over the raw columns; compared as a string."""
    values: dict[str, Literal[ACTIONS]]  # type: ignore[valid-type]
    """The source's value -> our action. Rows with another value are rejected as unknown_action."""

    @field_validator("values", mode="before")
    @classmethod
    def _keys_are_strings(cls, values: object) -> object:
        return {str(key): value for key, value in values.items()} if isinstance(values, dict) else values


class TimeMapping(_Part):
    """How the source's time becomes a UTC timestamp."""

    source: Expression = Field(alias="from")
    """Spark SQL expression over the raw columns."""
    unit: Literal["iso8601", "seconds", "milliseconds"]
    """ISO 8601 text (or a timestamp column), or a number since 1970."""
    zone: str | None = None
    """Time zone of texts without an offset, like Asia/Shanghai; UTC where it is missing."""

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, zone: str | None) -> str | None:
        if zone is not None and zone not in available_timezones():
            raise ValueError("there is no such time zone; names are like Asia/Shanghai")
        return zone


class DatasetMapping(_Part):
    """How the rows of one dataset become bronze rows."""

    columns: dict[str, Expression]
    """Our column -> Spark SQL expression over the raw columns (mostly just a column's name)."""


class InteractionsMapping(DatasetMapping):
    """How the rows of an interaction log become events."""

    action: ActionMapping
    event_time: TimeMapping


class SourceMapping(_Part):
    """Everything that is particular to one platform's logs."""

    platform: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    partition: str = "dt"
    """Name of the day in the delivery folders: <partition>=YYYY-MM-DD."""
    interactions: InteractionsMapping
    contents: DatasetMapping | None = None
    users: DatasetMapping | None = None

    @property
    def datasets(self) -> dict[Dataset, DatasetMapping]:
        """The datasets that the platform delivers."""
        every: dict[Dataset, DatasetMapping | None] = {
            "contents": self.contents,
            "users": self.users,
            "interactions": self.interactions,
        }
        return {name: mapping for name, mapping in every.items() if mapping is not None}


def load_mapping(conf_dir: Path, platform: str) -> SourceMapping:
    """Read and check `<conf_dir>/sources/<platform>.yaml`.

    Raises:
        SettingsError: the file is missing or no YAML, a key is unknown or missing, an action or a column is not one
            of ours; the message names the file and the key.
    """
    file = conf_dir / "sources" / f"{platform}.yaml"
    try:
        mapping = SourceMapping.model_validate(read_yaml(file))
    except ValidationError as error:
        raise SettingsError(describe(error, str(file))) from None
    if mapping.platform != platform:
        raise SettingsError(f"{file}: platform is {mapping.platform}; it must be the file's name, {platform}")
    for dataset, part in mapping.datasets.items():
        settable = [c.name for c in BRONZE_TABLES[dataset].columns if c.name not in DERIVED]
        for column in part.columns:
            if column not in settable:
                listed = ", ".join(settable)
                raise SettingsError(f"{file}: {dataset}.columns.{column}: no such column; there are {listed}")
        for column in _needed(dataset):
            if column not in part.columns:
                raise SettingsError(f"{file}: {dataset}.columns.{column}: is missing")
    return mapping


def _needed(dataset: Dataset) -> tuple[str, ...]:
    needed: dict[Dataset, tuple[str, ...]] = {
        "interactions": ("raw_user_id", "content_id"),
        "contents": ("content_id",),
        "users": ("raw_user_id",),
    }
    return needed[dataset]
