"""Typed settings: base file < environment file < SALIENCE_* variables < --set. Keys and secrets are never settings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from salience.errors import SettingsError
from salience.settings.engagement import EngagementSettings as EngagementSettings
from salience.settings.group import MAX_DAYS, Action, Group, Share
from salience.settings.recommend import RecommendSettings
from salience.yaml_files import describe, parsed, read_yaml

VARIABLE_PREFIX = "SALIENCE_"
NOT_SETTINGS = ("SALIENCE_PSEUDONYM_KEY_", "SALIENCE_CONF_DIR")
"""Variables with the prefix that are no settings: secrets, and where the settings are."""


MAX_LATENESS_DAYS = 60
"""No setting lets events be later than that."""
MAX_FUTURE_DAYS = 2
"""Nor lie further ahead of their delivery."""

AHEAD_DAYS = 2 + MAX_FUTURE_DAYS
"""A delivery bears on no event day that begins so many days after it: on none of its events, nor on the day after."""
WEEK = 7
"""Days that a delivery may at least be corrected for."""

Environment = Literal["local", "cluster"]


class BotSettings(Group):
    """When a person's events of a day are taken for a machine's."""

    max_events_per_day: int = Field(ge=1)
    max_events_per_minute: int = Field(ge=1)
    """In the busiest 60 seconds of the day."""
    regular_events: int = Field(ge=3)
    """From so many events on, the gaps between them are looked at."""
    regular_variation: float = Field(ge=0, le=100)
    """Gaps whose coefficient of variation is smaller are too regular for a person's."""


class DoubleTapSettings(Group):
    """When doing the same to the same content again counts as one."""

    seconds: float = Field(ge=0, le=3600)
    actions: list[Action]


class VolumeSettings(Group):
    """How many rows a delivery may have, as a ratio to the median of the same weekday's past."""

    weeks: int = Field(ge=1, le=52)
    """Weeks of the past that are looked at."""
    min_past: int = Field(ge=1)
    """Deliveries that the past must hold for anything to be said."""
    min_ratio: float = Field(ge=0)
    max_ratio: float = Field(gt=0)


class ThresholdSettings(Group):
    """When a delivery is too odd to be taken: it is held, and the run ends with exit code 3."""

    min_rows: int = Field(ge=1)
    """Below so many rows (in the delivery, and in the past that it is compared with) nothing is held."""
    max_shares: dict[str, Share]
    """Reason -> the most of a delivery's rows that may be rejected or excluded for it; `default` is for all others."""
    volume: VolumeSettings

    @model_validator(mode="after")
    def _has_a_default(self) -> "ThresholdSettings":
        if "default" not in self.max_shares:
            raise ValueError("max_shares needs a `default`")
        return self


class CleanSettings(Group):
    """How deliveries become interactions."""

    max_lateness_days: int = Field(ge=0, le=MAX_LATENESS_DAYS)
    """An event may be delivered at most this many days after its UTC day."""
    future_tolerance_minutes: int = Field(ge=0, le=MAX_FUTURE_DAYS * 24 * 60)
    """An event may lie this far after the end of its delivery day, UTC, before it counts as a future event. Logs whose
    days are those of a zone west of UTC need its distance more."""
    max_id_length: int = Field(ge=1)
    """Longest id that is believed, in characters."""
    max_dwell_s: float = Field(gt=0)
    max_value: float = Field(gt=0)
    bot: BotSettings
    double_tap: DoubleTapSettings
    thresholds: ThresholdSettings
    attempts: int = Field(ge=1)
    """How often a day is settled again because another run changed what it rests on meanwhile."""


class ProfileSettings(Group):
    """How user and content profiles are built."""

    window_days: int = Field(ge=1, le=MAX_DAYS)
    """Days of history, the as-of day included."""
    interest_half_life_days: float = Field(gt=0)
    """After this many days an interaction counts half towards the interest tags."""
    interest_tags: int = Field(ge=1)
    """At most this many tags a person."""
    dormant_after_days: int = Field(ge=1, le=MAX_DAYS)
    """No interaction for this many days makes a person dormant."""


class MetricSettings(Group):
    """How daily facts are measured."""

    segment_attributes: list[str]
    """Attributes of silver.users that audience_daily and recommender_evaluation are split by, beside `all`."""
    positive_actions: list[Action] = Field(min_length=1)
    """Actions that count as engagement."""


class PrivacySettings(Group):
    """What published tables tell of few people."""

    min_cell_people: int = Field(ge=1)
    """Figures of gold's aggregates that are about fewer people are null (`suppressed_cells` counts them); 1 shows all.
    Another value measures every day anew; releases stay as they were published."""


class RetentionSettings(Group):
    """How many days, the as-of day of jobs/apply_retention.py included, each layer keeps; null for ever.

    Releases and their snapshots, dimensions, what other datasets delivered (dimensions are made of it) and ledgers are
    not affected. Recommenders see no more of the past than silver keeps.
    """

    bronze_days: int | None = Field(ge=1, le=MAX_DAYS)
    """Delivery days of bronze.events, which holds raw ids. Older deliveries are refused from then on, and what they
    may have bearing on stays in silver as it is."""
    silver_days: int | None = Field(ge=56, le=MAX_DAYS)
    """Event days of silver.interactions and silver.excluded_events, delivery days of silver.rejected_events. What was
    measured of a day whose 28-day window is not whole any more stays as it is."""
    gold_days: int | None = Field(ge=1, le=MAX_DAYS)
    """Event days of gold.content_daily and gold.audience_daily."""

    @model_validator(mode="after")
    def _bronze_is_shortest(self) -> "RetentionSettings":
        if self.silver_days is not None and (self.bronze_days is None or self.bronze_days > self.silver_days):
            raise ValueError(f"bronze_days ({self.bronze_days}) must be at most silver_days ({self.silver_days})")
        return self


class ReleaseSettings(Group):
    """How releases are published, and how long they stay."""

    publish_attempts: int = Field(ge=1)
    """How often publishing is tried when other runs publish at the same time."""
    retention_days: int | None = Field(ge=1, le=MAX_DAYS)
    """Days, the as-of day of jobs/delete_old_releases.py included, that a release stays after a row in force named it
    last, or after it was opened; null for ever."""
    register_views: bool
    """Whether publishing and rolling back register tables and `current.*` views in the session's catalog: of use where
    that is a Hive metastore (spark.sql.catalogImplementation=hive), in which other sessions find them."""


class ErasureSettings(Group):
    """What becomes of releases, models and old files when people are erased."""

    releases: Literal["redact", "withdraw"]
    """`redact`: the people's rows leave the snapshots of every release, which stay in force. `withdraw`: moreover the
    release in force no longer names any snapshot of a release that held them; make a new one then."""
    models: Literal["keep", "retire"]
    """Files that hold the people's own factors never stay. `keep`: a model in force is saved anew without them, and
    what only learned from them stays. `retire`: every model of the platform that was saved before they were erased
    goes."""
    vacuum_retention_hours: int = Field(ge=0, le=168)
    """Files that tables no longer use are deleted when they are unused for so long: at most a week, behind which Delta
    forgets when that was. Shorter than the longest run of a job, 0 above all, fails whoever still reads them: erase
    while no other job is running then."""


class SimulationSettings(Group):
    """Size and shape of simulated logs, per platform."""

    truth: str = Field(min_length=1)
    """Folder for what the simulator planted, a path or a Hadoop URL."""
    users: int = Field(ge=1)
    contents: int = Field(ge=1)
    days: int = Field(ge=1, le=MAX_DAYS)
    events: int = Field(ge=1)
    """Wanted number of rows of the interaction logs of both platforms together, roughly."""
    topics: int = Field(ge=2, le=24)
    seed: int
    partitions: int = Field(ge=1)
    """Spark partitions that the work is split into; the rows do not depend on it."""
    dirt_share: float = Field(ge=0, lt=0.5)
    """Share of rows that are spoilt, over all kinds of dirt together."""


class Settings(Group):
    """Everything a job may be told beside its interval and its release."""

    logs: str = Field(min_length=1)
    """Folder of the raw logs, a path or a Hadoop URL."""
    warehouse: str = Field(min_length=1)
    """Folder of the tables and models, a path or a Hadoop URL."""
    platforms: list[str] = Field(min_length=1)
    """Platforms to read, each described by conf/sources/<platform>.yaml."""
    clean: CleanSettings
    profiles: ProfileSettings
    recommend: RecommendSettings
    engagement: EngagementSettings
    metrics: MetricSettings
    privacy: PrivacySettings
    retention: RetentionSettings
    release: ReleaseSettings
    erasure: ErasureSettings
    simulate: SimulationSettings

    @field_validator("platforms")
    @classmethod
    def _each_once(cls, platforms: list[str]) -> list[str]:
        if len(set(platforms)) < len(platforms):
            raise ValueError("names a platform twice")
        return platforms

    @model_validator(mode="after")
    def _late_deliveries_meet_their_neighbours(self) -> "Settings":
        kept, least = self.retention.bronze_days, self.clean.max_lateness_days + AHEAD_DAYS + WEEK
        if kept is not None and kept < least:
            raise ValueError(
                f"retention.bronze_days ({kept}) must be at least {least}: {WEEK} days for corrections beside "
                f"clean.max_lateness_days ({self.clean.max_lateness_days}) and {AHEAD_DAYS}"
            )
        return self

    def hash(self) -> str:
        """Return the SHA-256 over all settings, in hex."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def load_settings(
    conf_dir: Path, env: Environment, variables: Mapping[str, str], overrides: Sequence[str] = ()
) -> Settings:
    """Merge the layers and check the result.

    Args:
        conf_dir: folder with base.yaml and <env>.yaml.
        env: which environment file to lay over the base file.
        variables: environment variables; SALIENCE_RECOMMEND__ALS__RANK=32 sets recommend.als.rank.
        overrides: `key=value` strings, like `recommend.als.rank=32`; values are YAML.

    Raises:
        SettingsError: a file is missing or no YAML, a setting is unknown, of the wrong type or out of range.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for file in (conf_dir / "base.yaml", conf_dir / f"{env}.yaml"):
        _merge(merged, read_yaml(file), (), str(file), origins)
    for name, text in sorted(variables.items()):
        if name.startswith(VARIABLE_PREFIX) and not name.startswith(NOT_SETTINGS):
            path = name.removeprefix(VARIABLE_PREFIX).lower().split("__")
            _set(merged, path, text, f"variable {name}", origins)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise SettingsError(f"--set {override}: write it as key=value, like recommend.als.rank=32")
        _set(merged, key.split("."), text, f"--set {key}", origins)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError(describe(error, "settings", origins)) from None


WHOLE = {("recommend", "ladder"), ("recommend", "blend")}
"""Settings whose keys tell an order, or belong together: a layer replaces them as a whole."""


def _merge(
    into: dict[str, Any], layer: dict[str, Any], path: tuple[str, ...], origin: str, origins: dict[str, str]
) -> None:
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and (*path, str(key)) not in WHOLE:
            _merge(into[key], value, (*path, str(key)), origin, origins)
        else:
            into[key] = value
            origins[".".join((*path, str(key)))] = origin


def _set(into: dict[str, Any], path: Sequence[str], text: str, origin: str, origins: dict[str, str]) -> None:
    try:
        value = parsed(text)
    except yaml.YAMLError:
        raise SettingsError(f"{origin}: {text!r} is not valid YAML") from None
    node = into
    for part in path[:-1]:
        node = node.get(part)  # type: ignore[assignment]
        if not isinstance(node, dict):
            raise SettingsError(f"{origin}: there is no setting {'.'.join(path)}; conf/base.yaml lists them all")
    node[path[-1]] = value
    origins[".".join(path)] = origin


def settings_as_json(group: BaseModel, only: set[str] | None = None) -> str:
    """Return a settings group, or only some of its settings, as compact JSON with sorted keys."""
    return json.dumps(group.model_dump(mode="json", include=only), sort_keys=True, separators=(",", ":"))
