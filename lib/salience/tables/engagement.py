"""Gold engagement model: scores and how far they can be trusted."""

from salience.stats.small_cells import Cell, SmallCells
from salience.tables.contract import Column, Kind, Table, required
from salience.tables.shared import CI_HIGH, CI_LOW, CONTENT, PEOPLE, PLATFORM, RELEASE, SUPPRESSED_CELLS, USER

SCORES = Table(
    layer="gold",
    name="engagement_scores",
    kind=Kind.SNAPSHOT,
    made_by="score_engagement",
    comment="Predicted engagement of each candidate if shown right after the as-of day",
    columns=(
        RELEASE,
        PLATFORM,
        USER,
        CONTENT,
        required("model", "string", "logistic"),
        required("p_engage_24h", "double", "probability of a positive action within 24 h of being shown"),
    ),
    key=("platform", "user_id", "content_id", "model"),
    partitions=("release_id",),
    checks={"is_a_probability": "p_engage_24h BETWEEN 0 AND 1"},
)

_OF_LABELS = ("positives", "value", "ci_low", "ci_high")

EVALUATION = Table(
    layer="gold",
    name="engagement_evaluation",
    kind=Kind.SNAPSHOT,
    made_by="train_engagement",
    comment="Quality of the engagement model on later exposures than it was trained on",
    columns=(
        RELEASE,
        PLATFORM,
        required("model", "string", "logistic, base_rate"),
        required("label", "string", "engage_24h: a positive action on the content within 24 h of the exposure"),
        required("trained_at", "timestamp", "end of the training window, UTC"),
        required("protocol", "string", "windows of training, embargo and test"),
        required("segment", "string", "name=value, or all"),
        required("metric", "string", "roc_auc, log_loss, brier"),
        Column("value", "double", "the metric on the test window"),
        CI_LOW,
        CI_HIGH,
        Column("rows", "bigint", "exposures in the test window"),
        Column("positives", "bigint", "exposures among them that were followed by engagement"),
        PEOPLE,
        SUPPRESSED_CELLS,
    ),
    key=("platform", "model", "label", "segment", "metric"),
    partitions=("release_id",),
    small_cells=SmallCells(
        (
            Cell("people['everyone']", ("rows", *_OF_LABELS)),
            # Metrics of a model that says the same of everybody tell how many labels are positive.
            *(Cell(f"people['{who}']", _OF_LABELS) for who in ("engaged", "unengaged")),
        )
    ),
)
