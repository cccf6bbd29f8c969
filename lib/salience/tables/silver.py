"""Silver: accepted interactions, one row per real event, and the rest with its reasons. Ids are pseudonyms."""

from salience.actions import ACTIONS, CONTENTLESS_ACTIONS
from salience.tables.bronze import CONTENT_DETAILS, EVENT_DETAILS, USER_DETAILS
from salience.tables.contract import Column, Kind, Table, required
from salience.tables.shared import (
    CONTENT,
    DELIVERY_DATE,
    EVENT_DATE,
    PLATFORM,
    ROW_HASH,
    SOURCE_FILE,
    USER,
    one_of,
)

_EVENT_ID = required("event_id", "string", "the source's id of the event, or a hash of its identifying columns")
_CREATOR = Column("creator_id", "string", "pseudonym of the creator's account; null where the source has none")
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
        Column("event_id", "string", "the source's id of the event, if it had one"),
        ROW_HASH,
        SOURCE_FILE,
    ),
    key=(),
    partitions=("delivery_date", "platform"),
    checks={"has_a_reason": "size(reasons) > 0"},
    may_be_empty=True,
)

EXCLUDED_EVENTS = Table(
    layer="silver",
    name="excluded_events",
    kind=Kind.DAY,
    made_by="clean_interactions",
    comment="Rows that pass the row rules but not the day rules, with the reason",
    columns=(
        EVENT_DATE,
        PLATFORM,
        required("reason", "string", "day rule: duplicate (double_tap, bot, consent, erased are reserved)"),
        _EVENT_ID,
        Column("winner_event_id", "string", "event that stands for this one, for duplicates"),
        DELIVERY_DATE,
        ROW_HASH,
    ),
    key=(),
    partitions=("event_date", "platform"),
    checks={"known_reason": one_of("reason", ("duplicate", "double_tap", "bot", "consent", "erased"))},
    may_be_empty=True,
)

CONTENTS = Table(
    layer="silver",
    name="contents",
    kind=Kind.DIMENSION,
    made_by="clean_interactions",
    comment="Contents with their history",
    columns=(PLATFORM, CONTENT, _CREATOR, *CONTENT_DETAILS, _VALID_FROM, _VALID_TO),
    key=("platform", "content_id", "valid_from"),
    partitions=("platform",),
    checks={"valid_interval": "valid_to IS NULL OR valid_to > valid_from"},
)

USERS = Table(
    layer="silver",
    name="users",
    kind=Kind.DIMENSION,
    made_by="clean_interactions",
    comment="People with their history",
    columns=(PLATFORM, USER, *USER_DETAILS, _VALID_FROM, _VALID_TO),
    key=("platform", "user_id", "valid_from"),
    partitions=("platform",),
    checks={
        "valid_interval": "valid_to IS NULL OR valid_to > valid_from",
        "pseudonymous_user": "length(user_id) = 64",
    },
)
