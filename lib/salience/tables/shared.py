"""Columns that many tables share, so that each means the same everywhere."""

from salience.stats.small_cells import Cell
from salience.tables.contract import Column, required

PLATFORM = required("platform", "string", "platform that the row comes from, as named in conf/sources")
RELEASE = required("release_id", "string", "release that the snapshot belongs to: as-of date and generation")
USER = required("user_id", "string", "pseudonym of the person on this platform (HMAC-SHA-256, hex)")
CONTENT = required("content_id", "string", "content's id on this platform")
CI_LOW = Column("ci_low", "double", "lower end of the 95 % interval of the value; null where none is computed")
CI_HIGH = Column("ci_high", "double", "upper end of the 95 % interval of the value; null where none is computed")
DELIVERY_DATE = required("delivery_date", "date", "day named by the delivery's folder")
EVENT_DATE = required("event_date", "date", "UTC day of the event")
SOURCE_FILE = Column("source_file", "string", "file that the row was read from, below the logs folder")
ROW_HASH = required("row_hash", "bigint", "xxHash64 over the raw columns that the mapping declares")
VIOLATIONS = required(
    "violations", "array<string>", "row rules that the row breaks, all of them, sorted; empty if clean"
)

PEOPLE = Column(
    "people",
    "map<string,bigint>",
    "people behind figures whose own columns do not say it; null once the release is published",
)
SUPPRESSED_CELLS = Column(
    "suppressed_cells",
    "int",
    "figures of the row that are null because they are about fewer than privacy.min_cell_people people",
)

COMPLETION = Column(
    "completion_rate_by_plays", "double", "plays watched to at least 95 % / plays of known watch time and length"
)
COMPLETION_CELLS = tuple(
    Cell(f"people['{who}']", (COMPLETION.name,)) for who in ("measured_players", "completers", "non_completers")
)


def with_interval(name: str, meaning: str, interval: str) -> tuple[Column, Column, Column]:
    """Return the columns of a figure and of the ends of its interval."""
    return (
        Column(name, "double", meaning),
        Column(f"{name}_ci_low", "double", f"lower end of its {interval}"),
        Column(f"{name}_ci_high", "double", f"upper end of its {interval}"),
    )


def with_ends(*figures: str) -> tuple[str, ...]:
    """Return the names of those columns, of several figures."""
    return tuple(f"{figure}{end}" for figure in figures for end in ("", "_ci_low", "_ci_high"))


def by_reach(*rate: str) -> tuple[Cell, ...]:
    """Return the cells of people reached who engaged, or did not, and of people who engaged unreached.

    Args:
        rate: the columns of engaged_reach / reach.
    """
    hides = ("engaged_reach", *rate)
    return (
        Cell("engaged_reach", hides),
        Cell("reach - engaged_reach", hides, told_by=("engaged_reach", "reach")),
        Cell("engagers - engaged_reach", hides, told_by=("engaged_reach", "engagers")),
    )


def one_of(column: str, values: tuple[str, ...]) -> str:
    """Return the SQL condition that `column` holds one of `values`."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"
