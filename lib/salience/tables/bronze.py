"""Bronze: every delivered row, typed and judged by the row rules. Raw ids end here."""

from salience.tables.contract import Column, Kind, Table
from salience.tables.shared import DELIVERY_DATE, PLATFORM, ROW_HASH, SOURCE_FILE, VIOLATIONS

PAYLOAD = Column("payload", "string", "the raw row as JSON, only where there are violations")

EVENT_DETAILS = (
    Column("content_id", "string", "content's id on this platform; null only for follow and unfollow"),
    Column("action", "string", "what the person did, in Salience's words; null for an unknown one"),
    Column("event_time", "timestamp", "when it happened, UTC"),
    Column("utc_offset_min", "int", "local time minus UTC in minutes, where the source gives it"),
    Column("dwell_s", "decimal(12,3)", "time spent on the content or watched, seconds"),
    Column("video_length_s", "decimal(12,3)", "length of the video, seconds"),
    Column("rating", "double", "rating given, on the source's own scale"),
    Column("value", "decimal(18,4)", "money moved by the event, in `currency`"),
    Column("currency", "string", "ISO 4217 code of `value`"),
    Column("mechanism_id", "string", "poll, challenge or lottery that the event belongs to"),
    Column("reward_id", "string", "coupon or points grant that the event belongs to"),
    Column("campaign_id", "string", "campaign that the event is attributed to by the platform"),
    Column("channel", "string", "channel that brought the person"),
    Column("paid", "boolean", "true for paid reach, false for organic, null where the source does not say"),
    Column("device", "string", "device class as the source names it"),
    Column("request_id", "string", "request or page view that showed the content"),
    Column("position", "int", "slot that the content was shown in, from 1"),
    Column("propensity", "double", "probability with which the shower chose the content, where logged"),
)
"""The columns of an event beside its ids; bronze and silver hold the same ones."""

EVENTS = Table(
    layer="bronze",
    name="events",
    kind=Kind.DAY,
    made_by="clean_interactions",
    comment="Every emitted row of every delivery, typed and judged by the row rules",
    columns=(
        DELIVERY_DATE,
        PLATFORM,
        Column("event_id", "string", "the source's id of the event, or a hash of its identifying columns"),
        Column("raw_user_id", "string", "the source's id of the person; never leaves bronze"),
        Column("raw_creator_id", "string", "the source's id of the content's creator; never leaves bronze"),
        *EVENT_DETAILS,
        Column("event_date", "date", "UTC day of event_time"),
        SOURCE_FILE,
        ROW_HASH,
        VIOLATIONS,
        PAYLOAD,
    ),
    key=(),
    partitions=("delivery_date", "platform"),
)

CONTENT_DETAILS = (
    Column("tags", "array<string>", "topics of the content, as delivered"),
    Column("media_type", "string", "text, image, video, ... as the source names it"),
    Column("language", "string", "language tag as the source names it"),
    Column("published_at", "timestamp", "when the content became available, UTC"),
    Column("available_until", "timestamp", "when it stops being available, UTC; null for never"),
    Column("brand_safety", "string", "brand-safety class as the source names it"),
    Column("work_id", "string", "one work cross-posted under several content ids"),
)

USER_DETAILS = (
    Column("attributes", "map<string,string>", "what the source knows of the person, for segments"),
    Column(
        "consent_personalised",
        "boolean",
        "false where the person refused personalisation: in no model, no personalised list; null for not asked",
    ),
    Column("consent_analysis", "boolean", "false where the person refused any analysis; null for not asked"),
)

ACCOUNT_DETAILS = (Column("display_name", "string", "name that the account shows"),)

ASSIGNMENT_DETAILS = (
    Column("arm", "string", "arm of the experiment, as the source names it"),
    Column("assigned_at", "timestamp", "when the unit was assigned, UTC"),
    Column("propensity", "double", "probability of this arm for this unit, where logged"),
)

CAMPAIGN_DETAILS = (
    Column("name", "string", "name of the campaign"),
    Column("channel", "string", "channel that it runs on"),
    Column("starts_at", "timestamp", "when it begins, UTC"),
    Column("ends_at", "timestamp", "when it ends, UTC; null for not yet known"),
    Column("budget", "decimal(18,4)", "money that may be spent, in `currency`"),
    Column("currency", "string", "ISO 4217 code of `budget`"),
)

COST_DETAILS = (
    Column("cost", "decimal(18,4)", "money spent on the campaign and channel on that day, in `currency`"),
    Column("currency", "string", "ISO 4217 code of `cost`"),
)

BLOCK_DETAILS = (
    Column("reason", "string", "why it is blocked, as the source says"),
    Column("blocked_from", "timestamp", "from when it is blocked, UTC; null for always"),
    Column("blocked_to", "timestamp", "until when (exclusive), UTC; null for open end"),
)

_USER = Column("raw_user_id", "string", "the source's id of the person; never leaves bronze")
_CREATOR = Column("raw_creator_id", "string", "the source's id of the creator; never leaves bronze")
_CONTENT = Column("content_id", "string", "content's id on this platform")
_CAMPAIGN = Column("campaign_id", "string", "campaign's id on this platform")


def _delivered(name: str, comment: str, *columns: Column) -> Table:
    return Table(
        layer="bronze",
        name=name,
        kind=Kind.DAY,
        made_by="clean_interactions",
        comment=f"{comment} as delivered, typed and judged by the row rules",
        columns=(DELIVERY_DATE, PLATFORM, *columns, SOURCE_FILE, ROW_HASH, VIOLATIONS, PAYLOAD),
        key=(),
        partitions=("delivery_date", "platform"),
    )


CONTENTS = _delivered("contents", "Contents", _CONTENT, _CREATOR, *CONTENT_DETAILS)
USERS = _delivered("users", "People", _USER, *USER_DETAILS)
ACCOUNTS = _delivered("accounts", "Accounts that the team runs", _CREATOR, *ACCOUNT_DETAILS)
ASSIGNMENTS = _delivered(
    "assignments",
    "Assignments to the arms of experiments",
    Column("experiment_id", "string", "experiment's id"),
    Column("raw_user_id", "string", "the assigned person's id; never leaves bronze; null where a content is assigned"),
    Column("content_id", "string", "the assigned content's id; null where a person is assigned"),
    *ASSIGNMENT_DETAILS,
)
CAMPAIGNS = _delivered("campaigns", "Campaigns", _CAMPAIGN, *CAMPAIGN_DETAILS)
COSTS = _delivered(
    "costs",
    "What campaigns cost",
    _CAMPAIGN,
    Column("channel", "string", "channel that the money was spent on; null where the source does not say"),
    Column("cost_date", "date", "day that the money was spent for"),
    *COST_DETAILS,
)
IDENTIFIERS = _delivered(
    "identifiers",
    "What ties a person to other platforms",
    _USER,
    Column("kind", "string", "kind of identifier, like email_sha256 or device"),
    Column("identifier", "string", "the identifier, hashed by the source; never leaves bronze"),
)
BLOCKLIST = _delivered(
    "blocklist",
    "Contents and creators that may not be shown",
    Column("content_id", "string", "the blocked content's id; null for a blocked creator"),
    Column("raw_creator_id", "string", "the blocked creator's id; never leaves bronze; null for a blocked content"),
    *BLOCK_DETAILS,
)
