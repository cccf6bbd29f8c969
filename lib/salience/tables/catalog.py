"""Every table there is."""

from salience.tables import activity, bronze, engagement, ops, outcomes, profiles, recommendations, silver
from salience.tables.contract import Kind, Table

TABLES: tuple[Table, ...] = tuple(
    value
    for module in (bronze, silver, profiles, recommendations, outcomes, engagement, activity, ops)
    for value in vars(module).values()
    if isinstance(value, Table)
)

SNAPSHOTS: tuple[Table, ...] = tuple(table for table in TABLES if table.kind is Kind.SNAPSHOT)


def by_name(name: str) -> Table:
    """Return the table with the SQL name `<layer>.<table>`.

    Raises:
        KeyError: there is no such table.
    """
    return {str(table): table for table in TABLES}[name]
