"""Gold profiles: what is known of each person and each content as of a day."""

from salience.stats.small_cells import Cell, SmallCells
from salience.tables.contract import Column, Kind, Table, required
from salience.tables.shared import (
    COMPLETION,
    COMPLETION_CELLS,
    CONTENT,
    PEOPLE,
    PLATFORM,
    RELEASE,
    SUPPRESSED_CELLS,
    USER,
    by_reach,
)

USER_PROFILES = Table(
    layer="gold",
    name="user_profiles",
    kind=Kind.SNAPSHOT,
    made_by="build_profiles",
    comment="One row per person with at least one interaction in the profile window who does not refuse analysis",
    columns=(
        RELEASE,
        PLATFORM,
        USER,
        required("recency_days", "int", "days from the last interaction to the as-of day; 0 for the same day"),
        required("frequency", "int", "days with at least one interaction in the window"),
        Column("monetary", "decimal(22,4)", "sum of purchase values in the window; null for none, or mixed currencies"),
        Column("monetary_currency", "string", "ISO 4217 code of `monetary`; null where the source does not say"),
        required("watch_time_s", "double", "dwell and watch time in the window, seconds"),
        required("active_hours", "array<double>", "share of interactions per local hour 0..23; sums to 1"),
        required(
            "active_weekdays", "array<double>", "share of interactions per local weekday, Monday first; sums to 1"
        ),
        required(
            "interest_tags",
            "array<struct<tag:string,weight:double>>",
            "tags of engaged contents, weighted by action and age, strongest first; weights sum to 1",
        ),
        required("favourite_creators", "array<string>", "creators engaged with most, strongest first (at most 5)"),
        required(
            "lifecycle_status",
            "string",
            "new (first seen in the window's last 7 days), active, dormant (dormant_after_days)",
        ),
    ),
    key=("platform", "user_id"),
    partitions=("release_id",),
    checks={
        "recency_not_negative": "recency_days >= 0",
        "hours_of_the_day": "size(active_hours) = 24",
        "days_of_the_week": "size(active_weekdays) = 7",
    },
)

_BY_REACH = tuple(f"engagement_rate_by_reach{end}" for end in ("", "_ci_low", "_ci_high"))
_OF_REACH = ("reach", "impressions", "engaged_reach", *_BY_REACH)
_CELLS_OF_CONTENT = (
    Cell("people['everyone']", (*_OF_REACH, "actions", "engagers", "watch_time_s", COMPLETION.name)),
    Cell("reach", _OF_REACH),
    Cell("engagers", ("engagers", "engaged_reach", *_BY_REACH)),
    *by_reach(*_BY_REACH),
    Cell("people['watchers']", ("watch_time_s",)),
    *COMPLETION_CELLS,
)

CONTENT_PROFILES = Table(
    layer="gold",
    name="content_profiles",
    kind=Kind.SNAPSHOT,
    made_by="build_profiles",
    comment="One row per content with at least one interaction in the profile window",
    columns=(
        RELEASE,
        PLATFORM,
        CONTENT,
        Column("actions", "map<string,bigint>", "events per action in the window; absent for none, null if suppressed"),
        Column("impressions", "bigint", "impressions in the window"),
        Column("reach", "bigint", "people with an impression in the window"),
        Column("engagers", "bigint", "people with a positive action in the window"),
        Column("engaged_reach", "bigint", "people with an impression and a positive action in the window"),
        Column("engagement_rate_by_reach", "double", "engaged_reach / reach; null without reach"),
        Column("engagement_rate_by_reach_ci_low", "double", "lower end of its 95 % Wilson interval"),
        Column("engagement_rate_by_reach_ci_high", "double", "upper end of its 95 % Wilson interval"),
        Column("watch_time_s", "double", "dwell and watch time in the window, seconds"),
        COMPLETION,
        Column("tags", "array<string>", "tags of the content's version on the as-of day"),
        Column("freshness_days", "double", "days from publication to the end of the as-of day"),
        PEOPLE,
        SUPPRESSED_CELLS,
    ),
    key=("platform", "content_id"),
    partitions=("release_id",),
    checks={"engaged_within_reach": "engaged_reach <= reach"},
    small_cells=SmallCells(_CELLS_OF_CONTENT, maps=("actions",)),
)
