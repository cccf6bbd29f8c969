"""Thresholds past which a delivery is too odd to be taken: the share of each reason, and its volume."""

from collections.abc import Mapping, Sequence
from statistics import median

from salience.errors import SettingsError
from salience.interactions.rules import MEANINGS
from salience.settings import ThresholdSettings
from salience.tables.audits import Audit

_SETTINGS = "clean.thresholds"


def require_known_reasons(settings: ThresholdSettings) -> None:
    """Check that thresholds are for rules that there are.

    Raises:
        SettingsError: one is not.
    """
    known = {"default", *MEANINGS}
    for reason in settings.max_shares:
        if reason not in known:
            listed = ", ".join(sorted(known))
            raise SettingsError(f"settings: clean.thresholds.max_shares.{reason}: no such rule; there are {listed}")


def audit_shares(
    table: str, place: str, emitted: int, by_reason: Mapping[str, int], settings: ThresholdSettings
) -> list[Audit]:
    """Return an audit for each reason that a delivery has rows of: their share of all emitted rows."""
    if emitted < settings.min_rows:
        return []
    return [
        Audit(
            table,
            f"share of {reason} of emitted rows ({_SETTINGS}.max_shares.{reason})",
            place,
            rows / emitted,
            settings.max_shares.get(reason, settings.max_shares["default"]),
        )
        for reason, rows in sorted(by_reason.items())
        if rows
    ]


def audit_volume(table: str, place: str, rows: int, past: Sequence[int], settings: ThresholdSettings) -> list[Audit]:
    """Return the audits of a delivery's rows against the same weekday's median, if there is enough of a past."""
    if len(past) < settings.volume.min_past:
        return []
    expected = median(past)
    if max(rows, expected) < settings.min_rows or not expected:
        return []
    ratio = rows / expected
    return [
        Audit(
            table,
            f"rows over the same weekday's median ({_SETTINGS}.volume.max_ratio)",
            place,
            ratio,
            settings.volume.max_ratio,
        ),
        Audit(
            table,
            f"share of the same weekday's median that is missing (1 - {_SETTINGS}.volume.min_ratio)",
            place,
            1 - ratio,
            1 - settings.volume.min_ratio,
        ),
    ]
