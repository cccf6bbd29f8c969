"""The audits that a whole release must pass before it becomes visible: its snapshots and its models."""

from collections.abc import Callable

from pyspark.sql import functions as F

from salience.models.erasing import audit_model
from salience.models.store import ModelStore
from salience.tables import catalog
from salience.tables.audits import Audit, audit_lists, audit_snapshot
from salience.tables.erasing import audit_nobody_erased
from salience.tables.releases import produced
from salience.tables.warehouse import Warehouse


def audit_release(
    warehouse: Warehouse, store: ModelStore, release_id: str, k: int, say: Callable[[str], None]
) -> list[Audit]:
    """Return the audits of all that a release has made.

    Args:
        warehouse: the tables.
        store: the models.
        release_id: the release, whose figures are exact still.
        k: the length that every list should have.
        say: told what is audited now.
    """
    made, models, _ = produced(warehouse, release_id)
    frames = {name: warehouse.read(catalog.by_name(name)).where(F.col("release_id") == release_id) for name in made}
    found = []
    for name, rows in frames.items():
        say(f"auditing {name}")
        found += audit_snapshot(catalog.by_name(name), rows, release_id)
        found += audit_nobody_erased(warehouse, catalog.by_name(name), rows, release_id)
    for name, saved in models.items():
        say(f"auditing the model {name}")
        found += audit_model(store, warehouse, name, saved, release_id)
    say("auditing that everyone has a full list")
    return found + audit_lists(frames, k, release_id)
