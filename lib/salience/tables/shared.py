"""Columns that many tables share, so that each means the same everywhere."""

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


def one_of(column: str, values: tuple[str, ...]) -> str:
    """Return the SQL condition that `column` holds one of `values`."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"
