"""Ops ledgers: what ran, what was checked, what is published."""

from salience.tables.contract import Column, Kind, Table, required
from salience.tables.shared import PLATFORM

_RUN = required("run_id", "string", "run that wrote the row")


def _ledger(name: str, comment: str, columns: tuple[Column, ...], key: tuple[str, ...]) -> Table:
    return Table("ops", name, Kind.LEDGER, "every job", comment, columns, key)


RUNS = _ledger(
    "runs",
    "One row when a run of a job starts and one when it ends; one that has no second row goes on, or was killed",
    (
        _RUN,
        required("job", "string", "file name in jobs/ without its ending"),
        Column("application_id", "string", "Spark's id of the application, as the History Server names it"),
        Column("interval_from", "date", "first day of the interval that the caller named"),
        Column("interval_to", "date", "last day of that interval, included"),
        Column("release_id", "string", "release that the run's snapshots belong to"),
        required("code_version", "string", "version of the salience package, and a hash of its files"),
        required("settings_hash", "string", "SHA-256 over the settings in force (they hold no secrets)"),
        required("key_ids", "map<string,string>", "platform -> first 16 hex digits of a hash of its pseudonym key"),
        required("inputs", "map<string,bigint>", "table -> Delta version that was read"),
        required("outputs", "map<string,bigint>", "table -> Delta version that was written"),
        required("models", "map<string,struct<path:string,hash:string>>", "model -> where and what was saved"),
        required("rows_out", "map<string,bigint>", "table -> rows written"),
        required(
            "status", "string", "started, succeeded, failed, or killed (Python was told to end, by SIGTERM or Ctrl-C)"
        ),
        Column("error", "string", "the error's one line, for a run that failed or was killed"),
        required("started_at", "timestamp", "UTC"),
        Column("ended_at", "timestamp", "UTC; null in the row of its start"),
    ),
    ("run_id", "status"),
)

AUDITS = _ledger(
    "audits",
    "One row per audit that was made",
    (
        _RUN,
        required("table", "string", "table that was audited"),
        required("rule", "string", "what was checked"),
        Column("place", "string", "delivery, day or release that was checked"),
        required("observed", "double", "what was found"),
        required("threshold", "double", "the most that passes"),
        required("passed", "boolean", "whether observed <= threshold"),
        required("audited_at", "timestamp", "UTC"),
    ),
    ("run_id", "table", "rule", "place"),
)

DELIVERIES = _ledger(
    "deliveries",
    "One row each time a delivery was looked at",
    (
        _RUN,
        required("platform", "string", "platform as named in conf/sources"),
        required("dataset", "string", "dataset as named in the mapping: interactions, contents, users, ..."),
        required("delivery_date", "date", "day named by the folder"),
        required(
            "state",
            "string",
            "taken, incomplete (no signal yet), refused (unusable) or held (past a threshold)",
        ),
        required("files", "int", "data files found"),
        required("bytes", "bigint", "their size in bytes"),
        required("manifest_hash", "string", "SHA-256 over the files' names, sizes and modification times"),
        Column("manifest", "array<struct<name:string,bytes:bigint,modified_ms:bigint>>", "its data files, by name"),
        Column("rows", "bigint", "rows that the footers of its files count; null for a delivery that was not read"),
        Column("emitted", "bigint", "events (rows) taken into bronze; null for a delivery that was not taken"),
        Column("rejected", "bigint", "those that break row rules"),
        Column(
            "excluded", "bigint", "those that break day rules; of other datasets, those beside another of the same key"
        ),
        Column("accepted", "bigint", "the rest: emitted - rejected - excluded, counted by itself"),
        Column("problem", "string", "why it was not taken, or what is wrong though it was"),
        required("seen_at", "timestamp", "UTC"),
    ),
    ("run_id", "platform", "dataset", "delivery_date"),
)

PSEUDONYM_KEYS = _ledger(
    "pseudonym_keys",
    "Under which key a platform's pseudonyms are made: its row with the largest generation says so",
    (
        PLATFORM,
        required("generation", "int", "from 1; a next one only where the platform had no rows under the one before"),
        required("key_id", "string", "first 16 hex digits of a hash of the key"),
        _RUN,
        required("first_used_at", "timestamp", "UTC"),
    ),
    ("platform", "generation"),
)

RETENTION = _ledger(
    "retention",
    "One row for each platform and table that old days were deleted of, written ahead of the deletion",
    (
        _RUN,
        required("table", "string", "table that they were deleted of"),
        required("platform", "string", "platform as named in conf/sources"),
        required("deleted_before", "date", "its days (of delivery or event, as it is partitioned) before this one"),
        required("rows", "bigint", "rows that were there to delete"),
        required("applied_at", "timestamp", "UTC"),
    ),
    ("run_id", "table", "platform"),
)

OPENED_RELEASES = _ledger(
    "opened_releases",
    "Release ids that are taken, published or not",
    (
        required("release_id", "string", "as-of date and generation, like 2026-11-01.2"),
        required("as_of_date", "date", "last day that the release's snapshots look at"),
        required("generation", "int", "from 1 for each as-of date"),
        _RUN,
        required("opened_at", "timestamp", "UTC"),
    ),
    ("release_id",),
)

RELEASES = _ledger(
    "releases",
    "What readers see: the row with the largest release_seq names every snapshot and model in force",
    (
        required("release_seq", "bigint", "from 1, without gaps"),
        required("release_id", "string", "release that the row publishes, or returns to"),
        required("tables", "map<string,string>", "snapshot table -> release_id whose rows are in force"),
        required("models", "map<string,struct<path:string,hash:string>>", "model -> path and hash in force"),
        required("inputs", "map<string,bigint>", "table -> Delta version that the release's jobs read"),
        required(
            "action",
            "string",
            "publish, rollback, or erase: what was in force, without what held erased people; or delete: the same as "
            "before, but old releases are gone",
        ),
        Column("deleted", "array<string>", "ids of the releases that are gone with this row; null where none are"),
        _RUN,
        required("published_at", "timestamp", "UTC"),
    ),
    ("release_seq",),
)
