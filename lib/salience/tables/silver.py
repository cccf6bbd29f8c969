"""Silver: accepted interactions, one row per real event, and the rest with its reasons. Ids are pseudonyms."""

from salience.actions import ACTIONS, CONTENTLESS_ACTIONS
from salience.tables.bronze import (
    ACCOUNT_DETAILS,
    ASSIGNMENT_DETAILS,
    BLOCK_DETAILS,
    CAMPAIGN_DETAILS,
    CONTENT_DETAILS,
    COST_DETAILS,
    EVENT_DETAILS,
    USER_DETAILS,
)
from salience.tables.contract import Column, Kind, Table, required
from salience.tables.shared import (
    CONTENT,
    DELIVERY_DATE,
    EVENT_DATE,
    PLATFORM,
    SOURCE_FILE,
    USER,
    one_of,
)

_EVENT_ID = required("event_id", "string", "the source's id of the event, or a hash of its identifying columns")
_CREATOR = Column("creator_id", "string", "pseudonym of the creator's account; null where the source has none")
_KEYED_HASH = required("row_hash", "bigint", "hash of bronze's row_hash under the platform's key: tells rows apart")
_VALID_FROM = required("valid_from", "timestamp", "from when this version holds, UTC (start of its delivery day)")
_VALID_TO = Column("valid_to", "timestamp", "until when it holds (exclusive); null for the newest version")

_ALWAYS_THERE = ("action", "event_time")

INTERACTIONS = Table(
    layer="silver",
    name="interactions",
    kind=Kind.DAY,
    made_by="clean_interactions",
    comment="One row per real event, accepted by every row rule and day rule",
    columns=(
        EVENT_DATE,
        PLATFORM,
        _EVENT_ID,
        USER,
        _CREATOR,
        *(required(c.name, c.type, c.comment) if c.name in _ALWAYS_THERE else c for c in EVENT_DETAILS),
        DELIVERY_DATE,
    ),
    key=("platform", "event_id", "event_time"),
    partitions=("event_date", "platform"),
    checks={
        "known_action": one_of("action", ACTIONS),
        "content_unless_follow": f"content_id IS NOT NULL OR {one_of('action', CONTENTLESS_ACTIONS)}",
        "dwell_not_negative": "dwell_s >= 0",
        "pseudonymous_user": "length(user_id) = 64",
    },
)

REJECTED_EVENTS = Table(
    layer="silver",
    name="rejected_events",
    kind=Kind.DAY,
    made_by="clean_interactions",
    comment="Emitted rows that break row rules, with every reason; no payload and no raw id",
    columns=(
        DELIVERY_DATE,
        PLATFORM,
        required("reasons", "array<string>", "row rules that the row breaks, sorted"),
        Column("event_id", "string", "the source's id of the event; null where it had none, or a malformed one"),
        _KEYED_HASH,
        SOURCE_FILE,
    ),
    key=(),
    partitions=("delivery_date", "platform"),
    checks={"has_a_reason": "size(reasons) > 0"},
    may_be_empty=True,
)

DAY_REASONS = ("erased", "consent", "duplicate", "bot", "double_tap")
"""Reasons of the day rules; where several hold, the first of them stands in `reason`."""

EXCLUDED_EVENTS = Table(
    layer="silver",
    name="excluded_events",
    kind=Kind.DAY,
    made_by="clean_interactions",
    comment="Rows that pass the row rules but not the day rules, with the reason",
    columns=(
        EVENT_DATE,
        PLATFORM,
        required("reason", "string", f"day rule that excludes it, the first of {', '.join(DAY_REASONS)} that does"),
        Column("reasons", "array<string>", "every day rule that excludes it, in that order"),
        _EVENT_ID,
        Column("event_time", "timestamp", "when it happened, UTC"),
        Column("user_id", "string", "pseudonym of the person; null for an erased one"),
        Column(
            "winner_event_id",
            "string",
            "for a duplicate the event that stands for it, for a double tap the one just before it",
        ),
        DELIVERY_DATE,
        _KEYED_HASH,
    ),
    key=(),
    partitions=("event_date", "platform"),
    checks={"known_reason": one_of("reason", DAY_REASONS)},
    may_be_empty=True,
)


def _dimension(
    name: str, comment: str, key: tuple[str, ...], columns: tuple[Column, ...], checks: dict[str, str] | None = None
) -> Table:
    return Table(
        layer="silver",
        name=name,
        kind=Kind.DIMENSION,
        made_by="clean_interactions",
        comment=f"{comment} with their history",
        columns=(PLATFORM, *columns, _VALID_FROM, _VALID_TO),
        key=("platform", *key, "valid_from"),
        partitions=("platform",),
        checks={"valid_interval": "valid_to IS NULL OR valid_to > valid_from", **(checks or {})},
        may_be_empty=True,
    )


_PSEUDONYMOUS_USER = {"pseudonymous_user": "length(user_id) = 64"}
_CAMPAIGN = required("campaign_id", "string", "campaign's id on this platform")

CONTENTS = _dimension("contents", "Contents", ("content_id",), (CONTENT, _CREATOR, *CONTENT_DETAILS))
USERS = _dimension("users", "People", ("user_id",), (USER, *USER_DETAILS), _PSEUDONYMOUS_USER)
ACCOUNTS = _dimension(
    "accounts",
    "Accounts that the team runs",
    ("creator_id",),
    (required("creator_id", "string", "pseudonym of the account"), *ACCOUNT_DETAILS),
)
ASSIGNMENTS = _dimension(
    "assignments",
    "Assignments to the arms of experiments",
    ("experiment_id", "unit", "unit_id"),
    (
        required("experiment_id", "string", "experiment's id"),
        required("unit", "string", "what was assigned: user or content"),
        required("unit_id", "string", "pseudonym of the person, or the content's id"),
        *ASSIGNMENT_DETAILS,
    ),
    {"known_unit": one_of("unit", ("user", "content"))},
)
CAMPAIGNS = _dimension("campaigns", "Campaigns", ("campaign_id",), (_CAMPAIGN, *CAMPAIGN_DETAILS))
COSTS = _dimension(
    "costs",
    "Costs of campaigns",
    ("campaign_id", "channel", "cost_date", "currency"),
    (
        _CAMPAIGN,
        Column("channel", "string", "channel that the money was spent on; null where the source does not say"),
        required("cost_date", "date", "day that the money was spent for"),
        *COST_DETAILS,
    ),
)
BLOCKLIST = _dimension(
    "blocklist",
    "Contents and creators that may not be shown",
    ("content_id", "creator_id"),
    (
        Column("content_id", "string", "the blocked content; null where a creator is blocked"),
        Column("creator_id", "string", "pseudonym of the blocked creator; null where a content is blocked"),
        *BLOCK_DETAILS,
    ),
    {"one_of_both": "(content_id IS NULL) <> (creator_id IS NULL)"},
)

ERASURES = Table(
    layer="silver",
    name="erasures",
    kind=Kind.LEDGER,
    made_by="erase_users",
    comment="Pseudonyms of people who were erased and may not come back",
    columns=(PLATFORM, USER, required("erased_at", "timestamp", "when the erasure was recorded, UTC")),
    key=("platform", "user_id"),
    may_be_empty=True,
)
