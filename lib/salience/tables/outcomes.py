"""Gold outcomes: what became of what was recommended."""

from salience.stats.small_cells import Cell, Segments, SmallCells
from salience.tables.contract import Column, Kind, Table, required
from salience.tables.recommendations import ARMS
from salience.tables.shared import PLATFORM, SUPPRESSED_CELLS, one_of, with_ends, with_interval

_BY_LISTS = "95 % delta-method interval, clustered by person"


_SHOWN = ("shown", *with_ends("shown_rate_by_recommended"))
_ENGAGED = ("engaged", *with_ends("engaged_rate_by_recommended"))
_ENGAGERS_LESS, _ENGAGEMENTS_LESS = "engager_rate_less_held_out", "engagements_by_served_less_held_out"
_COMPARED = with_ends(_ENGAGERS_LESS, _ENGAGEMENTS_LESS)
_ENGAGERS = (
    "engagers",
    *with_ends("engager_rate_by_served"),
    "engagements",
    *with_ends("engagements_by_served"),
    *_COMPARED,
)
_ALL = ("served", "recommended", *_SHOWN, *_ENGAGED, *_ENGAGERS)

_CELLS = (
    Cell("served", _ALL),
    # People of the arm who have no such entry.
    Cell("people['elsewhere']", ("served",)),
    Cell("people['shown']", _SHOWN),
    Cell("people['not_shown']", _SHOWN, told_by=("recommended", "shown")),
    Cell("people['engaged']", _ENGAGED),
    Cell("people['not_engaged']", _ENGAGED, told_by=("recommended", "engaged")),
    Cell("engagers", _ENGAGERS),
    Cell("served - engagers", _ENGAGERS, told_by=("served", "engagers")),
    # The difference to them would tell what is hidden in their row.
    Cell("people['held_out_engagers']", _COMPARED),
    Cell("people['held_out_others']", _COMPARED),
)

OUTCOMES = Table(
    layer="gold",
    name="recommendation_outcomes",
    kind=Kind.DAY,
    made_by="measure_outcomes",
    comment="What people did in the 24 hours after their recommendations came into force (or until others did), by arm",
    columns=(
        required("event_date", "date", "UTC day on which these 24 hours end"),
        PLATFORM,
        required("release_id", "string", "release whose lists were in force"),
        required("arm", "string", "personalised; held_out of what is personal, by a draw; or not_personalised"),
        required(
            "segment", "string", "all, or of those entries rank=<n>, source=<s>, model=<m> (none: not ranked by one)"
        ),
        Column("served", "bigint", "people with such an entry in their list"),
        Column("recommended", "bigint", "entries of lists: pairs of person and content"),
        Column("shown", "bigint", "those that the platform showed (an impression or a view)"),
        *with_interval("shown_rate_by_recommended", "shown / recommended", _BY_LISTS),
        Column("engaged", "bigint", "those that the person engaged with (recommend.relevant_actions)"),
        *with_interval("engaged_rate_by_recommended", "engaged / recommended", _BY_LISTS),
        Column("engagers", "bigint", "people served who engaged with anything, recommended or not; of segment all"),
        *with_interval("engager_rate_by_served", "engagers / served", "95 % Wilson interval"),
        Column("engagements", "bigint", "how often they engaged with anything; of segment all"),
        *with_interval("engagements_by_served", "engagements / served", _BY_LISTS),
        *with_interval(
            _ENGAGERS_LESS,
            "engager_rate_by_served less that of held_out: what personal recommendations are worth; of arm "
            "personalised, segment all, where both arms are large enough (recommend.holdout.min_people)",
            "95 % interval (Newcombe)",
        ),
        *with_interval(
            _ENGAGEMENTS_LESS,
            "engagements_by_served less that of held_out, where the other difference is told",
            "95 % interval (Zou and Donner)",
        ),
        SUPPRESSED_CELLS,
    ),
    key=("event_date", "platform", "arm", "segment"),
    partitions=("event_date", "platform"),
    checks={
        "known_arm": one_of("arm", ARMS),
        "shown_within_recommended": "shown <= recommended",
        "engaged_within_recommended": "engaged <= recommended",
        "engagers_within_served": "engagers <= served",
    },
    # Days before which nothing came into force have none.
    may_be_empty=True,
    small_cells=SmallCells(
        _CELLS, segments=Segments(("event_date", "platform", "arm"), "segment", "all", overlap=True)
    ),
)
