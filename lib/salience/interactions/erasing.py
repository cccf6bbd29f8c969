"""Erases people of one platform from every layer: what erase_users does, step by step.

Each step brings the tables in line with silver.erasures, whoever was put there and when. So a run that died is healed
by the next one, whatever its list, and what was made meanwhile of what had been there before is found as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.interactions.cleaning import Note, redact_and_settle
from salience.interactions.dimensions import RAW_IDS
from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms
from salience.interactions.redaction import erased, raw_ids_in
from salience.interactions.rules import malformed
from salience.models import erasing as models
from salience.models.store import ModelStore
from salience.settings import CleanSettings, Settings
from salience.sources.mapping import BRONZE_TABLES
from salience.tables import erasing, publishing, releases, silver
from salience.tables.contract import Table
from salience.tables.storage import open_folder, opening
from salience.tables.upkeep import Kept, vacuum
from salience.tables.warehouse import Warehouse

Say = Callable[[str], None]
_SHOWN = 10


@dataclass
class Done:
    """What a run did."""

    rows: dict[str, int] = field(default_factory=dict)
    """Table -> rows that were redacted, deleted or changed; only of tables where there were any."""
    models: list[str] = field(default_factory=list)
    """What became of models, a line each."""
    releases: list[str] = field(default_factory=list)
    """Ids of the releases whose snapshots held erased people."""
    kept: list[Kept] = field(default_factory=list)
    """Files that are still there."""


def read_list(warehouse: Warehouse, file: str, key: PseudonymKey, settings: CleanSettings) -> DataFrame:
    """Return line, raw_id and user_id (the pseudonym) of each line of a text file.

    Args:
        warehouse: the tables.
        file: a path or a Hadoop URL; one raw id a line, UTF-8.
        key: the platform's key.
        settings: the longest id.

    Raises:
        InputError: there is no such file, it names nobody, or lines are no ids; the message tells their numbers.
    """
    spark = warehouse.spark
    with opening("--list", file):
        file_system, path = open_folder(spark, file)
        is_file = file_system.exists(path) and file_system.getFileStatus(path).isFile()
    if not is_file:
        raise InputError(f"{file}: no such file; --list names a text file with one id a line")
    text = spark.read.text(file, wholetext=True).where(F.length("value") > 0)
    whole = text.select(F.split(F.regexp_replace("value", r"\r?\n\z", ""), r"\r?\n").alias("lines"))
    lines = whole.select(F.posexplode("lines").alias("line", "raw_id")).withColumn("line", F.col("line") + 1)
    if lines.isEmpty():
        raise InputError(f"{file}: names nobody; write one id a line")
    unfit = malformed("raw_id")(settings) | F.contains("raw_id", F.lit("\ufffd"))
    told = _told(lines.where(unfit))
    if told:
        raise InputError(
            f"{file}: {told} no id: empty, with blanks around it or control characters, not UTF-8, or longer than "
            f"clean.max_id_length; correct the list"
        )
    return with_pseudonyms(spark, lines.withColumn("user_id", F.col("raw_id")), key, {"user_id": "user_id"})


def require_known(warehouse: Warehouse, file: str, key: PseudonymKey, asked: DataFrame) -> None:
    """Check that something is held of everybody on the list, or that they were erased before.

    Args:
        warehouse: the tables.
        file: the list, for the message.
        key: the platform's key.
        asked: from `read_list`.

    Raises:
        InputError: nothing is held of some; the message tells their lines.
    """
    platform = key.platform
    in_bronze = [
        raw_ids_in(warehouse, table, platform, raw).select("raw_id")
        for table, raw in _raw_columns()
        if warehouse.exists(table)
    ]
    left = _without(asked, in_bronze, "raw_id")
    if not left.isEmpty():
        # Bronze may be gone already, or redacted by the first run of this list.
        beyond = [
            frame
            for table in filter(warehouse.exists, erasing.tables_of_people())
            for frame in erasing.pseudonyms_in(warehouse, table, platform)
        ]
        before = erased(warehouse, platform).people
        left = _without(left, [*beyond, *([before] if before else [])], "user_id")
    told = _told(left)
    if told:
        raise InputError(
            f"{file}: {told} an id of which {platform} holds nothing; correct the list, or record it all the same, "
            f"ahead of what may be delivered, with --allow-unknown"
        )


def erase(
    warehouse: Warehouse,
    store: ModelStore,
    key: PseudonymKey,
    asked: DataFrame,
    settings: Settings,
    say: Say,
    note: Note,
) -> Done:
    """Erase people from every layer, and see to it that they stay erased.

    Args:
        warehouse: the tables.
        store: the models.
        key: the platform's key.
        asked: user_id of whom to erase; with them goes whoever is in silver.erasures and still somewhere.
        settings: policies, and thresholds of cleaning.
        say: told what is being done.
        note: told of every commit.

    Raises:
        ConflictError: other runs kept changing the same rows; what was done so far stays done.
    """
    done, platform = Done(), key.platform
    _record(warehouse, platform, asked, note)
    people = erased(warehouse, platform).people
    assert people is not None, "the list names somebody"
    people = people.persist()
    try:
        for dataset, table in BRONZE_TABLES.items():
            say(f"redacting {table}")
            rows = redact_and_settle(warehouse, key, dataset, people, settings.clean, note)
            if rows:
                done.rows[str(table)] = rows
        say("looking for people in releases and models")
        done.releases = sorted(erasing.releases_of(warehouse, platform, people))
        doomed = _leave_out(warehouse, store, platform, asked, people, settings, done)
        for table in filter(warehouse.exists, erasing.tables_of_people()):
            say(f"sweeping {table}")
            for commit in erasing.sweep(warehouse, table, platform, people):
                note(table, commit)
                done.rows[str(table)] = done.rows.get(str(table), 0) + commit.rows
        # Only now: nothing names them any more.
        for folder in doomed:
            models.delete(store, folder)
        say("deleting files that tables use no more")
        # Rejected events have no id of a person, but named events of theirs.
        of_people = [*BRONZE_TABLES.values(), silver.REJECTED_EVENTS, *erasing.tables_of_people()]
        there = [table for table in of_people if warehouse.exists(table)]
        done.kept = vacuum(warehouse, there, settings.erasure.vacuum_retention_hours)
    finally:
        people.unpersist()
    return done


def _record(warehouse: Warehouse, platform: str, asked: DataFrame, note: Note) -> None:
    """Put pseudonyms that are not there yet into silver.erasures."""
    known = erased(warehouse, platform).people
    new = asked.select("user_id").distinct()
    if known is not None:
        new = new.join(known, on="user_id", how="left_anti")
    if not new.isEmpty():
        stamped = new.select(F.lit(platform).alias("platform"), "user_id", F.lit(datetime.now(UTC)).alias("erased_at"))
        note(silver.ERASURES, warehouse.append(silver.ERASURES, stamped, {"platform": platform}))


def _leave_out(
    warehouse: Warehouse,
    store: ModelStore,
    platform: str,
    asked: DataFrame,
    people: DataFrame,
    settings: Settings,
    done: Done,
) -> list[models.Folder]:
    """Name in ops.releases what is to be in force instead of what held people; return the models to delete then."""
    found = models.folders(store, platform)
    holding = {folder.path for folder in found if models.holds(store, folder, people)}
    retires = settings.erasure.models == "retire"
    if retires:
        listed = warehouse.read(silver.ERASURES).where(F.col("platform") == platform)
        listed = listed.join(asked.select("user_id").distinct(), on="user_id", how="left_semi")
        (newest,) = listed.agg(F.max(F.unix_micros("erased_at"))).collect()[0]
        # Nobody can tell of whom a model learned, so all of that time have to go.
        learned = {folder.path for folder in found if folder.saved_at.timestamp() * 1_000_000 <= newest}
        holding |= learned
    doomed = [folder for folder in found if folder.path in holding]
    in_force = releases.newest(warehouse)
    named = {store.below(model.path) for model in in_force.models.values()} if in_force else set[str]()
    # Of every one: whoever publishes meanwhile may name one that was not in force yet.
    instead: dict[str, releases.SavedModel | None] = {}
    for folder in doomed:
        place = store.below(folder.path)
        is_kept = place in named and folder.is_whole and not retires
        instead[place] = models.save_without(store, folder, people) if is_kept else None
        done.models.append(f"{place}: {'saved anew without them' if is_kept else 'deleted'}")
    withdrawn = done.releases if settings.erasure.releases == "withdraw" else []
    publishing.leave_out(
        warehouse,
        withdrawn,
        lambda model: instead.get(store.below(model.path), model),
        settings.release.publish_attempts,
    )
    return doomed


def report(done: Done, platform: str, logs: str) -> list[str]:
    """Return what a run did and what is left to do, for a person to read."""
    lines = [f"{table}: {rows} rows" for table, rows in done.rows.items()]
    lines += [f"model {line}" for line in done.models]
    if not lines:
        lines.append("nothing was left of them in tables and models")
    if done.releases:
        lines.append(f"releases that held them: {', '.join(done.releases)}")
    if done.kept:
        files, until = sum(kept.files for kept in done.kept), max(kept.until for kept in done.kept)
        lines.append(
            f"{files} files that {len(done.kept)} tables use no more may hold them until they are deleted: run this "
            f"job again after {until:%Y-%m-%d %H:%M} UTC (erasure.vacuum_retention_hours)"
        )
    else:
        lines.append("no file is left that tables use no more")
    lines.append(
        f"the logs below {logs}/{platform} are not changed: what is delivered there of them is redacted as it comes"
    )
    return lines


def _raw_columns() -> list[tuple[Table, str]]:
    tables = [(table, {column.name for column in table.columns}) for table in BRONZE_TABLES.values()]
    return [(table, raw) for table, names in tables for raw in RAW_IDS if raw in names]


def _without(asked: DataFrame, found: Sequence[DataFrame], name: str) -> DataFrame:
    """Return the lines whose id is in none of the frames."""
    if not found:
        return asked
    wanted = F.broadcast(asked.select(name).distinct())
    # The list is the smaller side by far: only what is on it is told from the rest.
    there = reduce(DataFrame.union, [frame.select(name) for frame in found]).join(wanted, on=name, how="left_semi")
    return asked.join(there.distinct(), on=name, how="left_anti")


def _told(lines: DataFrame) -> str:
    """Return how many lines there are and which the first are; nothing for none."""
    count = lines.count()
    first = [str(row["line"]) for row in lines.select("line").orderBy("line").limit(_SHOWN).collect()]
    more = ", ..." if count > _SHOWN else ""
    return (
        ""
        if not count
        else f"{count} line{'s' if count > 1 else ''} ({', '.join(first)}{more}) {'hold' if count > 1 else 'holds'}"
    )
