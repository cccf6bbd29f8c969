"""Cleans one dataset of one platform: its deliveries go into bronze, and silver is settled where they touch it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from time import sleep

from pyspark.sql import DataFrame

from salience.errors import ConflictError
from salience.interactions.audits import audit_counts, audit_events, forget, hold, share_audits, volume_audits
from salience.interactions.dimensions import DIMENSIONS, rebuilt, tallied, tells_refusals
from salience.interactions.pseudonyms import PseudonymKey
from salience.interactions.redaction import erased, redact
from salience.interactions.retention import refuse_closed
from salience.interactions.rules import DAY_RULES, ROW_RULES
from salience.interactions.settling import EventDays, Where
from salience.interactions.staging import ByDay, Staged, staged
from salience.settings import CleanSettings
from salience.sources.deliveries import Delivery, find_deliveries, is_as_found
from salience.sources.mapping import BRONZE_TABLES, Dataset, SourceMapping
from salience.tables import bronze, silver
from salience.tables.audits import Audit, record, require_passed
from salience.tables.conflicts import CONFLICTS, PAUSES_S
from salience.tables.contract import Table
from salience.tables.erasing import sweep
from salience.tables.staged import Commit
from salience.tables.warehouse import Warehouse

Note = Callable[[Table, Commit], None]
Say = Callable[[str], None]
Outcome = tuple[list[Delivery], ByDay]
"""Deliveries with what became of them, and of those taken: day -> emitted, rejected, excluded, accepted, and more."""


@dataclass(frozen=True)
class Source:
    """A platform's logs: where they lie, how they are read, and under which key its people's ids are put."""

    logs: str
    mapping: SourceMapping
    key: PseudonymKey
    ready: Callable[[], object] = lambda: None
    """Returns once all is settled that verdicts on events rest on, like who refuses; raises what prevented it."""


class _ChangedError(Exception):
    """Deliveries were delivered again while they were read, and nothing was written."""

    def __init__(self, deliveries: Sequence[Delivery], changed: Sequence[date]) -> None:
        super().__init__()
        self.deliveries = list(deliveries)
        self.changed = set(changed)


def clean_dataset(
    warehouse: Warehouse,
    source: Source,
    dataset: Dataset,
    days: Sequence[date],
    settings: CleanSettings,
    say: Say,
    note: Note,
) -> Outcome:
    """Take the deliveries of these days into bronze, settle silver, and return what became of each.

    A delivery that cannot be used, or is past a threshold, is left out and changes nothing.

    Args:
        warehouse: the tables.
        source: the platform.
        dataset: one that its mapping has.
        days: delivery days.
        settings: thresholds.
        say: told what is being done.
        note: told of every commit.

    Raises:
        AuditError: emitted = rejected + excluded + accepted does not hold; the tables stay as they were.
        ConflictError: other runs kept changing the same days.
    """
    outcomes: dict[date, Delivery] = {}
    counts: dict[date, Mapping[str, int]] = {}
    audits: list[Audit] = []
    left, restless = list(days), set[date]()
    try:
        for attempt in range(1, settings.attempts + 1):
            written: ByDay = {}
            changed: set[date] | None = None
            try:
                found, written = _clean_once(warehouse, source, dataset, left, settings, say, note, audits)
            except _ChangedError as error:
                found, changed = error.deliveries, error.changed
            outcomes |= {d.day: _as_told(d, outcomes.get(d.day), counts.get(d.day), changed is None) for d in found}
            counts |= written
            # Whoever delivered again meanwhile, and cleaned it, must not lose to what was read here before.
            taken = [delivery for delivery in found if delivery.state == "taken"]
            left = [d.day for d in taken if changed is not None or not is_as_found(warehouse.spark, source.mapping, d)]
            if changed and attempt == settings.attempts - 1:
                # The others are not to wait for those for ever.
                restless |= changed
                left = [day for day in left if day not in changed]
            if not left:
                break
    finally:
        # Judged again, a delivery is audited again: the last audit counts.
        record(warehouse, list({(audit.table, audit.rule, audit.place): audit for audit in audits}.values()))
    outcomes |= {day: _restless(outcomes[day], counts.get(day)) for day in {*left, *restless}}
    gone = "its folder was taken away while it was read; deliver it again"
    outcomes |= {d.day: d.refused(gone) for d in outcomes.values() if d.state == "taken" and d.day not in counts}
    return [_with_consent_told(outcomes[day]) for day in days if day in outcomes], counts


def _as_told(now: Delivery, before: Delivery | None, counts: Mapping[str, int] | None, is_written: bool) -> Delivery:
    """Return what became of a delivery that was looked at again: what this run took of it before stays told."""
    if before is None or counts is None or (is_written and now.state == "taken"):
        return now
    if now.state == "taken":
        return before
    what = now.problem or "it is not complete"
    return before.taken_though(f"{counts['rows']} rows were taken before it was delivered again, and now {what}")


def _restless(delivery: Delivery, counts: Mapping[str, int] | None) -> Delivery:
    changing = "its files kept changing while they were read"
    remedy = "clean it again once it is delivered"
    if counts is None:
        return delivery.refused(f"{changing}; {remedy}")
    return delivery.taken_though(f"{changing}: {counts['rows']} rows were taken; {remedy}")


def _with_consent_told(delivery: Delivery) -> Delivery:
    """Return the delivery; where it could have said who refuses, and is not taken, its problem says what follows."""
    if not tells_refusals(delivery.dataset) or delivery.state not in ("held", "refused"):
        return delivery
    return replace(delivery, problem=f"{delivery.problem}; until it is taken, refusals of consent in it have no effect")


def _clean_once(
    warehouse: Warehouse,
    source: Source,
    dataset: Dataset,
    days: Sequence[date],
    settings: CleanSettings,
    say: Say,
    note: Note,
    audits: list[Audit],
) -> Outcome:
    mapping, platform = source.mapping, source.mapping.platform
    say(f"taking {platform}/{dataset} into bronze")
    found = refuse_closed(warehouse, find_deliveries(warehouse.spark, source.logs, mapping, dataset, days), settings)
    forget(audits, found)
    if dataset != "interactions" and not any(delivery.state == "taken" for delivery in found):
        if dataset in DIMENSIONS and not _is_settled(warehouse, platform, dataset):
            _settle_dimension(warehouse, source.key, dataset, note)
        return found, {}
    found = hold(found, volume_audits(warehouse, found, settings), audits)
    gone = erased(warehouse, platform)
    with staged(warehouse, mapping, dataset, source.key, found, settings, gone.people) as whole:
        shares = {d.day: share_audits(d, whole.counts[d.day], ROW_RULES[dataset], settings) for d in whole.deliveries}
        stage = whole.left_with(hold(whole.outcomes, shares, audits))
        if dataset == "interactions":
            outcome = _take_events(warehouse, source, stage, settings, say, note, audits)
        else:
            outcome = _take_dimension(warehouse, source, dataset, stage, say, note, audits)
    now = erased(warehouse, platform)
    if now.people is not None and now.version != gone.version:
        # Somebody was erased after these rows were read, perhaps before they were written.
        redact_and_settle(warehouse, source.key, dataset, now.people, settings, note)
        if dataset == "interactions" and warehouse.exists(silver.EXCLUDED_EVENTS):
            # Of frozen days, which are not settled anew.
            for commit in sweep(warehouse, silver.EXCLUDED_EVENTS, platform, now.people):
                note(silver.EXCLUDED_EVENTS, commit)
    return outcome


def _take_dimension(
    warehouse: Warehouse,
    source: Source,
    dataset: Dataset,
    stage: Staged,
    say: Say,
    note: Note,
    audits: list[Audit],
) -> Outcome:
    tallies = tallied(stage.rows, dataset, stage.days) if stage.rows else {}
    counts = {day: {**stage.counts[day], **tallies[day]} for day in stage.days}
    rule = "rows that contradict another of the same key in their delivery"
    audits += (balance := audit_counts(BRONZE_TABLES[dataset], stage.deliveries, counts, "contradicting", rule))
    require_passed(balance)
    if stage.days:
        note(*_into_bronze(warehouse, source, dataset, stage))
    if dataset in DIMENSIONS and (stage.days or not _is_settled(warehouse, source.mapping.platform, dataset)):
        say(f"settling {source.mapping.platform}/{dataset} in silver")
        _settle_dimension(warehouse, source.key, dataset, note)
    return list(stage.outcomes), counts


def _settle_dimension(warehouse: Warehouse, key: PseudonymKey, dataset: Dataset, note: Note) -> None:
    """Rebuild a dimension, again where another run took deliveries meanwhile: no older reading may end over a newer.

    Raises:
        ConflictError: other runs kept taking deliveries.
    """
    table, taken = DIMENSIONS[dataset].table, BRONZE_TABLES[dataset]
    for pause in PAUSES_S:
        read = warehouse.version(taken)
        try:
            rows = rebuilt(warehouse, dataset, key)
            about = {"platform": key.platform, "bronze": read}
            note(table, warehouse.replace(table, rows, {"platform": [key.platform]}, about))
        except CONFLICTS:
            sleep(pause)
            continue
        if not any(about.get("platform") == key.platform for _, about, _ in warehouse.notes_since(taken, read)):
            return
    raise ConflictError(f"{key.platform}/{dataset}: other runs kept taking deliveries; clean the same days again")


def redact_and_settle(
    warehouse: Warehouse, key: PseudonymKey, dataset: Dataset, people: DataFrame, settings: CleanSettings, note: Note
) -> int:
    """Redact what bronze holds of erased people, and settle silver; return how many rows were redacted.

    Args:
        warehouse: the tables.
        key: the platform's key.
        dataset: whose tables they are.
        people: user_id of the erased, each once.
        settings: thresholds.
        note: told of every commit.

    Raises:
        ConflictError: other runs kept changing the same days.
    """
    rows = 0
    event_days = EventDays(warehouse, key, settings, note)

    def settle() -> None:
        left = event_days.readings.left()
        if left.deliveries or left.event_days:
            event_days.settle((), (), ())

    for commit in redact(warehouse, dataset, key, people):
        note(BRONZE_TABLES[dataset], commit)
        rows += commit.rows
        if dataset == "interactions":
            settle()
    if dataset in DIMENSIONS and not _is_settled(warehouse, key.platform, dataset):
        _settle_dimension(warehouse, key, dataset, note)
    elif dataset == "interactions" and warehouse.exists(bronze.EVENTS):
        settle()  # what a run left that died between the two
    return rows


def _is_settled(warehouse: Warehouse, platform: str, dataset: Dataset) -> bool:
    """Return whether a dimension was rebuilt since the platform's last delivery; a run that died may not have."""
    newest = {}
    for table in (BRONZE_TABLES[dataset], DIMENSIONS[dataset].table):
        notes = warehouse.notes_since(table) if warehouse.exists(table) else ()
        newest[table.layer] = next(((n, about) for n, about, _ in notes if about.get("platform") == platform), (-1, {}))
    return bool(newest["bronze"][0] <= newest["silver"][1].get("bronze", -1))


def _take_events(
    warehouse: Warehouse,
    source: Source,
    stage: Staged,
    settings: CleanSettings,
    say: Say,
    note: Note,
    audits: list[Audit],
) -> Outcome:
    """Judge the event days as they will be with the staged deliveries, and only then take these."""
    event_days, platform = EventDays(warehouse, source.key, settings, note), source.mapping.platform
    source.ready()
    while True:
        if not stage.days and not warehouse.exists(bronze.EVENTS):
            return list(stage.outcomes), {}
        say(f"judging {platform}/interactions")
        with event_days.judge(stage.days, stage.rows) as judged:
            verdicts = event_days.count(judged, stage.days)
            counts = {day: {**stage.counts[day], **verdicts[day]} for day in stage.days}
            shares = {d.day: share_audits(d, counts[d.day], DAY_RULES, settings) for d in stage.deliveries}
            tried: list[Audit] = []
            kept = stage.left_with(hold(stage.outcomes, shares, tried))
            if kept.days != stage.days:
                forget(tried, kept.deliveries)  # they are judged again, without those that are held
                audits += tried
                stage = kept
                continue
            audits += tried
            audits += (balance := audit_events(stage.deliveries, counts))
            require_passed(balance)
            say(f"settling {platform}/interactions in silver")
            own = None
            if stage.days:
                table, commit = _into_bronze(warehouse, source, "interactions", stage)
                note(table, commit)
                own = commit.version
            is_newest = event_days.write(judged, own)
        if not is_newest:
            verdicts = event_days.settle(judged.deliveries, judged.event_days, stage.days)
            # Of a delivery that another run took anew, the verdicts are on rows that are not ours.
            anew = event_days.readings.taken_since(own or judged.versions[str(bronze.EVENTS)])
            counts |= {day: {**stage.counts[day], **verdicts[day]} for day in stage.days if day not in anew}
            forget(audits, stage.deliveries, silver.INTERACTIONS)
            audits += (balance := audit_events(stage.deliveries, counts))
            require_passed(balance)
        return list(stage.outcomes), counts


def _into_bronze(warehouse: Warehouse, source: Source, dataset: Dataset, stage: Staged) -> tuple[Table, Commit]:
    """Write what is staged, again where another run writes the same deliveries at this moment.

    Raises:
        _ChangedError: the files are not those any more that were read; nothing is written.
        ConflictError: other runs kept writing these deliveries.
    """
    table, platform = BRONZE_TABLES[dataset], source.mapping.platform
    assert stage.files is not None, "there is nothing to write"
    where: Where = {"platform": [platform], "delivery_date": stage.days}
    about = {"platform": platform, "delivery_days": [day.isoformat() for day in stage.days]}
    for pause in PAUSES_S:
        # Another run may have taken what they are now, and ours may die before it looks again.
        changed = [d.day for d in stage.deliveries if not is_as_found(warehouse.spark, source.mapping, d)]
        if changed:
            raise _ChangedError(stage.outcomes, changed)
        try:
            return table, warehouse.replace_by_staged(stage.files, where, about)
        except CONFLICTS:
            sleep(pause)
    raise ConflictError(f"{platform}/{dataset}: other runs kept writing these deliveries; clean the same days again")
