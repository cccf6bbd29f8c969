"""Gold daily facts: what happened to each content and how large the audience was."""

from salience.tables.contract import Column, Kind, Table, required
from salience.tables.shared import CONTENT, EVENT_DATE, PLATFORM

_BY_IMPRESSIONS = "95 % delta-method interval, clustered by user"


def _rate(name: str, meaning: str, interval: str) -> tuple[Column, Column, Column]:
    return (
        Column(name, "double", f"{meaning}; null where the denominator is 0"),
        Column(f"{name}_ci_low", "double", f"lower end of its {interval}"),
        Column(f"{name}_ci_high", "double", f"upper end of its {interval}"),
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
        required("impressions", "bigint", "impressions of the day"),
        required("impressions_paid", "bigint", "impressions of the day known to be paid"),
        required("impressions_organic", "bigint", "impressions of the day known not to be paid"),
        required("reach", "bigint", "people with an impression"),
        Column("frequency", "double", "impressions / reach"),
        required("plays", "bigint", "plays of the day"),
        required("watch_time_s", "double", "dwell and watch time, seconds"),
        Column(
            "completion_rate_by_plays",
            "double",
            "plays watched to at least 95 % / plays of known watch time and length",
        ),
        required("engagements", "bigint", "positive actions of the day"),
        required("engagers", "bigint", "people with a positive action"),
        required("engaged_reach", "bigint", "people with both an impression and a positive action"),
        *_rate("engagement_rate_by_impressions", "engagements / impressions", _BY_IMPRESSIONS),
        *_rate("engagement_rate_by_reach", "engaged_reach / reach", "95 % Wilson interval"),
        *_rate("amplification_rate_by_impressions", "shares / impressions", _BY_IMPRESSIONS),
        *_rate("comment_rate_by_impressions", "comments / impressions", _BY_IMPRESSIONS),
        *_rate("save_rate_by_impressions", "favourites / impressions", _BY_IMPRESSIONS),
        *_rate("purchase_rate_by_impressions", "purchases / impressions", _BY_IMPRESSIONS),
    ),
    key=("event_date", "platform", "content_id"),
    partitions=("event_date", "platform"),
    checks={"engaged_within_reach": "engaged_reach <= reach", "reach_within_impressions": "reach <= impressions"},
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
        required("dau", "bigint", "people with an interaction on the day"),
        required("wau_7d", "bigint", "people with an interaction on the day or the 6 days before"),
        required("mau_28d", "bigint", "people with an interaction on the day or the 27 days before"),
        Column("stickiness_dau_over_mau", "double", "dau / mau_28d"),
        Column("watch_time_s_by_active_user", "double", "dwell and watch time of the day / dau, seconds"),
        required("is_complete", "boolean", "true when the log covers all 28 days of the window"),
    ),
    key=("event_date", "platform", "segment"),
    partitions=("event_date", "platform"),
    checks={"nested_windows": "dau <= wau_7d AND wau_7d <= mau_28d"},
)
