"""SQL names for the tables in a session's own catalog."""

from salience.tables import catalog, releases
from salience.tables.contract import Kind
from salience.tables.stored import quoted
from salience.tables.warehouse import Warehouse

CURRENT = "current"
"""Database of the views that show what is in force."""


def register(warehouse: Warehouse) -> list[str]:
    """Register every table as `<layer>.<table>` and what readers should see as `current.<table>`; return the names.

    A snapshot's view holds the rows that the newest release names, and exists once a release names any; bronze and ops
    have no view.
    """
    in_force = releases.newest(warehouse)
    names = []
    for database in (CURRENT, *sorted({table.layer for table in catalog.TABLES})):
        warehouse.spark.sql(f"CREATE DATABASE IF NOT EXISTS `{database}`")
    for table in catalog.TABLES:
        if not warehouse.exists(table):
            continue
        path = warehouse.path(table)
        warehouse.spark.sql(f"CREATE TABLE IF NOT EXISTS {table} USING DELTA LOCATION {quoted(path)}")
        names.append(str(table))
        condition = "true"
        if table.kind is Kind.SNAPSHOT:
            release_id = in_force.tables.get(str(table)) if in_force else None
            if release_id is None:
                warehouse.spark.sql(f"DROP VIEW IF EXISTS {CURRENT}.{table.name}")
                continue
            condition = f"release_id = '{release_id}'"
        if table.layer in ("silver", "gold"):
            view = f"{CURRENT}.{table.name}"
            warehouse.spark.sql(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM delta.`{path}` WHERE {condition}")
            names.append(view)
    return names
