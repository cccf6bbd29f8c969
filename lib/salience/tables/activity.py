"""Gold daily facts: what happened to each content and how large the audience was."""

from salience.stats.small_cells import Cell, Segments, SmallCells
from salience.tables.contract import Column, Kind, Table, required
from salience.tables.shared import (
    COMPLETION,
    COMPLETION_CELLS,
    CONTENT,
    EVENT_DATE,
    PLATFORM,
    SUPPRESSED_CELLS,
    by_reach,
    with_ends,
    with_interval,
)

_BY_IMPRESSIONS = "95 % delta-method interval, clustered by user"


def _rate(name: str, meaning: str, interval: str) -> tuple[Column, Column, Column]:
    return with_interval(name, f"{meaning}; null where the denominator is 0", interval)


_BY_REACH = with_ends("engagement_rate_by_reach")
_ENGAGEMENTS = ("engagements", *with_ends("engagement_rate_by_impressions"))
_PARTS = {"sharers": "amplification", "commenters": "comment", "savers": "save", "purchasers": "purchase"}
"""People behind a part of the engagements -> its rate by impressions."""
_OF_PARTS = with_ends(*(f"{rate}_rate_by_impressions" for rate in _PARTS.values()))
_OF_IMPRESSIONS = ("impressions", "impressions_paid", "impressions_organic", "frequency")
_OF_REACH = ("reach", *_OF_IMPRESSIONS, "engaged_reach", *_BY_REACH, *_ENGAGEMENTS[1:], *_OF_PARTS)

_CELLS_OF_CONTENT = (
    Cell("people['everyone']", (*_OF_REACH, *_ENGAGEMENTS, "engagers", "plays", "watch_time_s", COMPLETION.name)),
    Cell("reach", _OF_REACH),
    # The impressions of which it is unknown whether they are paid are what both leave of all.
    *(
        Cell(f"people['{of}']", ("impressions_paid", "impressions_organic"))
        for of in ("paid", "organic", "unknown_paid")
    ),
    Cell("people['players']", ("plays",)),
    Cell("people['watchers']", ("watch_time_s",)),
    *COMPLETION_CELLS,
    Cell("engagers", ("engagers", *_ENGAGEMENTS, "engaged_reach", *_BY_REACH)),
    *by_reach(*_BY_REACH),
    *(Cell(f"people['{who}']", with_ends(f"{rate}_rate_by_impressions")) for who, rate in _PARTS.items()),
    # All engagements but those parts; where there are no others, a hidden part is what the others leave of all.
    Cell("people['other_engagers']", _ENGAGEMENTS),
    *(Cell(f"if(people['other_engagers'] = 0, people['{who}'], 0)", _ENGAGEMENTS) for who in _PARTS),
)

CONTENT_DAILY = Table(
    layer="gold",
    name="content_daily",
    kind=Kind.DAY,
    made_by="measure_audience",
    comment="One row per content and day with at least one interaction",
    columns=(
        EVENT_DATE,
        PLATFORM,
        CONTENT,
        Column("impressions", "bigint", "impressions of the day"),
        Column("impressions_paid", "bigint", "impressions of the day known to be paid"),
        Column("impressions_organic", "bigint", "impressions of the day known not to be paid"),
        Column("reach", "bigint", "people with an impression"),
        Column("frequency", "double", "impressions / reach"),
        Column("plays", "bigint", "plays of the day"),
        Column("watch_time_s", "double", "dwell and watch time, seconds"),
        COMPLETION,
        Column("engagements", "bigint", "positive actions of the day"),
        Column("engagers", "bigint", "people with a positive action"),
        Column("engaged_reach", "bigint", "people with both an impression and a positive action"),
        *_rate("engagement_rate_by_impressions", "engagements / impressions", _BY_IMPRESSIONS),
        *_rate("engagement_rate_by_reach", "engaged_reach / reach", "95 % Wilson interval"),
        *_rate("amplification_rate_by_impressions", "shares / impressions", _BY_IMPRESSIONS),
        *_rate("comment_rate_by_impressions", "comments / impressions", _BY_IMPRESSIONS),
        *_rate("save_rate_by_impressions", "favourites / impressions", _BY_IMPRESSIONS),
        *_rate("purchase_rate_by_impressions", "purchases / impressions", _BY_IMPRESSIONS),
        SUPPRESSED_CELLS,
    ),
    key=("event_date", "platform", "content_id"),
    partitions=("event_date", "platform"),
    checks={"engaged_within_reach": "engaged_reach <= reach", "reach_within_impressions": "reach <= impressions"},
    small_cells=SmallCells(_CELLS_OF_CONTENT),
)

_OF_DAY = ("dau", "stickiness_dau_over_mau", "watch_time_s_by_active_user")
_CELLS_OF_AUDIENCE = (
    Cell("mau_28d", ("mau_28d", "wau_7d", *_OF_DAY)),
    Cell("wau_7d", ("wau_7d",)),
    Cell("dau", _OF_DAY),
    Cell("mau_28d - wau_7d", ("wau_7d",), told_by=("wau_7d", "mau_28d")),
    Cell("mau_28d - dau", _OF_DAY, told_by=("dau", "mau_28d")),
    Cell("wau_7d - dau", _OF_DAY, told_by=("dau", "wau_7d")),
    Cell("people['watchers']", ("watch_time_s_by_active_user",)),
)

AUDIENCE_DAILY = Table(
    layer="gold",
    name="audience_daily",
    kind=Kind.DAY,
    made_by="measure_audience",
    comment="Active people per day, and how often they come back",
    columns=(
        EVENT_DATE,
        PLATFORM,
        required("segment", "string", "name=value, or all for everyone"),
        Column("dau", "bigint", "people with an interaction on the day"),
        Column("wau_7d", "bigint", "people with an interaction on the day or the 6 days before"),
        Column("mau_28d", "bigint", "people with an interaction on the day or the 27 days before"),
        Column("stickiness_dau_over_mau", "double", "dau / mau_28d"),
        Column("watch_time_s_by_active_user", "double", "dwell and watch time of the day / dau, seconds"),
        required("is_complete", "boolean", "true when the log covers all 28 days of the window"),
        SUPPRESSED_CELLS,
    ),
    key=("event_date", "platform", "segment"),
    partitions=("event_date", "platform"),
    checks={"nested_windows": "dau <= wau_7d AND wau_7d <= mau_28d"},
    small_cells=SmallCells(_CELLS_OF_AUDIENCE, segments=Segments(("event_date", "platform"), "segment", "all")),
)
