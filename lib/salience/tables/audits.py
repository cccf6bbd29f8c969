"""Audits: what must hold before anything becomes visible, each recorded in ops.audits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.errors import AuditError
from salience.tables import counted, ops
from salience.tables.contract import Table
from salience.tables.warehouse import Warehouse

_PERSON = ["platform", "user_id"]


@dataclass(frozen=True)
class Audit:
    """One thing that was checked: it passes while `observed` is at most `threshold`."""

    table: str
    rule: str
    place: str
    observed: float
    threshold: float = 0

    @property
    def passed(self) -> bool:
        """Whether what was found is within the threshold."""
        return self.observed <= self.threshold

    def __str__(self) -> str:
        return f"{self.table}: {self.short()} in {self.place}"

    def short(self) -> str:
        """Return rule and amount, for who knows table and place."""
        return f"{self.rule}: {self.observed:g} (at most {self.threshold:g})"


def enforce(warehouse: Warehouse, audits: Sequence[Audit]) -> None:
    """Record the audits and stop if one failed.

    Raises:
        AuditError: at least one failed; each is listed with rule, amount and place.
    """
    record(warehouse, audits)
    require_passed(audits)


def require_passed(audits: Sequence[Audit]) -> None:
    """Stop if an audit failed.

    Raises:
        AuditError: at least one failed; each is listed with rule, amount and place.
    """
    failed = [str(audit) for audit in audits if not audit.passed]
    if failed:
        raise AuditError(f"nothing was published: {'; '.join(failed)}")


def record(warehouse: Warehouse, audits: Sequence[Audit]) -> None:
    """Record the audits in ops.audits, and count them."""
    rows = [
        {
            "run_id": warehouse.run_id,
            "table": audit.table,
            "rule": audit.rule,
            "place": audit.place,
            "observed": float(audit.observed),
            "threshold": float(audit.threshold),
            "passed": audit.passed,
            "audited_at": datetime.now(UTC),
        }
        for audit in audits
    ]
    warehouse.append_rows(ops.AUDITS, rows)
    failed = sum(not audit.passed for audit in audits)
    counted.add(warehouse.spark, audits_failed=failed, audits_passed=len(audits) - failed)


def audit_snapshot(table: Table, rows: DataFrame, release_id: str) -> list[Audit]:
    """Return the audits that every snapshot must pass: a unique key, and rows unless the contract allows none."""
    beyond, total = _beyond_key(table, rows)
    audits = [Audit(str(table), _one_per_key(table), release_id, beyond)]
    if not table.may_be_empty:
        audits.append(Audit(str(table), "is empty", release_id, int(total == 0)))
    return audits


def audit_days(table: Table, rows: DataFrame, place: str, sums: Mapping[str, int]) -> list[Audit]:
    """Return the audits of days about to be written: a unique key, and columns that add up to what they are made of.

    Args:
        table: a day table.
        rows: what is about to be written; read twice.
        place: the days, for the messages.
        sums: column -> what its sum must be.
    """
    audits = [Audit(str(table), _one_per_key(table), place, _beyond_key(table, rows)[0])]
    if sums:
        found = rows.agg(*(F.coalesce(F.sum(name), F.lit(0)) for name in sums)).head()
        assert found is not None
        for (name, expected), made in zip(sums.items(), found, strict=True):
            rule = f"{name} lost or made: |sum - {expected} in the input|"
            audits.append(Audit(str(table), rule, place, abs(made - expected)))
    return audits


def _one_per_key(table: Table) -> str:
    return f"rows beyond one per {', '.join(table.key)}"


def _beyond_key(table: Table, rows: DataFrame) -> tuple[int, int]:
    """Return how many rows there are beyond one a key, and how many in all."""
    counted = rows.groupBy(*table.key).count()
    total, keys = counted.agg(F.coalesce(F.sum("count"), F.lit(0)), F.count("*")).head()  # type: ignore[misc]
    return total - keys, total


def audit_lists(snapshots: Mapping[str, DataFrame], k: int, release_id: str) -> list[Audit]:
    """Return the audits that everyone has a full list, as far as a release has made what tells it.

    Args:
        snapshots: table -> the release's rows.
        k: the length that every list should have.
        release_id: the release, for the messages.
    """
    names = ("gold.recommendation_candidates", "gold.recommendations", "gold.recommendation_shortfalls")
    candidates, lists, shortfalls = map(snapshots.get, names)
    if lists is None or shortfalls is None:
        return []
    found = audit_full_lists(lists, shortfalls, k, release_id)
    return found if candidates is None else found + audit_everyone_served(candidates, lists, shortfalls, release_id)


def audit_full_lists(recommendations: DataFrame, shortfalls: DataFrame, k: int, release_id: str) -> list[Audit]:
    """Return the audits of recommendation lists: ranks without gaps, and k contents for everyone.

    Args:
        recommendations: the release's rows of gold.recommendations.
        shortfalls: the release's rows of gold.recommendation_shortfalls, which count towards a person's list.
        k: the length that every list should have.
        release_id: the release, for the messages.
    """
    lists = recommendations.groupBy(*_PERSON).agg(F.count("*").alias("length"), F.max("rank").alias("last"))
    with_gaps = lists.where("length <> last").count()
    missing = shortfalls.groupBy(*_PERSON).agg(F.sum("missing").alias("missing"))
    whole = F.coalesce("length", F.lit(0)) + F.coalesce("missing", F.lit(0))
    of_other_length = lists.join(missing, on=_PERSON, how="full").where(whole != k).count()
    table = "gold.recommendations"
    return [
        Audit(table, "lists with a gap in their ranks", release_id, with_gaps),
        Audit(table, f"people whose list and shortfall are not {k} long together", release_id, of_other_length),
    ]


def audit_everyone_served(
    candidates: DataFrame, recommendations: DataFrame, shortfalls: DataFrame, release_id: str
) -> list[Audit]:
    """Return the audit that whoever has candidates has a list or a shortfall.

    Args:
        candidates, recommendations, shortfalls: the release's rows.
        release_id: the release, for the message.
    """
    served = recommendations.select(*_PERSON).union(shortfalls.select(*_PERSON))
    forgotten = candidates.select(*_PERSON).distinct().join(served, on=_PERSON, how="left_anti").count()
    rule = "people with candidates but neither list nor shortfall"
    return [Audit("gold.recommendations", rule, release_id, forgotten)]
