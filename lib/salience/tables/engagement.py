"""Gold engagement model: scores and how far they can be trusted."""

from enum import StrEnum

from salience.stats.small_cells import Cell, Segments, SmallCells
from salience.tables.contract import Column, Kind, Table, required
from salience.tables.shared import CI_HIGH, CI_LOW, CONTENT, PEOPLE, PLATFORM, RELEASE, SUPPRESSED_CELLS, USER, one_of

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
        Column(
            "contributions",
            "array<struct<feature:string,contribution:double>>",
            "what counted most, largest first: log odds before calibration, against the average of the rows "
            "that taught the model; null unless asked for",
        ),
    ),
    key=("platform", "user_id", "content_id", "model"),
    partitions=("release_id",),
    checks={"is_a_probability": "p_engage_24h BETWEEN 0 AND 1"},
)

RETURN_SCORES = Table(
    layer="gold",
    name="return_scores",
    kind=Kind.SNAPSHOT,
    made_by="score_engagement",
    comment="Who is expected back within a week of the as-of day, of everyone who has not left long ago",
    columns=(
        RELEASE,
        PLATFORM,
        USER,
        required("model", "string", "logistic"),
        required("p_return_7d", "double", "probability of any visit within the 7 days after the as-of day"),
    ),
    key=("platform", "user_id", "model"),
    partitions=("release_id",),
    checks={"is_a_probability": "p_return_7d BETWEEN 0 AND 1"},
)

_MODEL = required(
    "model",
    "string",
    "logistic; mlp; or what they must beat: base_rate (the training window's share of positives), content_rate "
    "(the content's own so far)",
)
_LABEL = required(
    "label",
    "string",
    "engage_24h: a positive action on the content within 24 h of the exposure; return_7d: any visit within 7 days of "
    "the day",
)


def _by_people(*figures: str) -> tuple[Cell, ...]:
    """Return the cells of people behind figures about how many labels are positive, with `rows`."""
    return (
        Cell("people['everyone']", ("rows", *figures)),
        # Metrics of a model that says the same of everybody tell how many labels are positive.
        *(Cell(f"people['{who}']", figures) for who in ("engaged", "unengaged")),
    )


EVALUATION = Table(
    layer="gold",
    name="engagement_evaluation",
    kind=Kind.SNAPSHOT,
    made_by="train_engagement",
    comment="Quality of the engagement models on later exposures than they were trained on",
    columns=(
        RELEASE,
        PLATFORM,
        _MODEL,
        _LABEL,
        required("trained_at", "timestamp", "end of the training window, UTC"),
        required("protocol", "string", "windows of training, embargo and test"),
        required("segment", "string", "name=value, or all"),
        required(
            "metric",
            "string",
            "roc_auc, pr_auc (average precision), log_loss, normalised_entropy (log_loss / that of the share of "
            "positives), brier, ece (15 bins of equal numbers of rows), calibration_slope, calibration_intercept, "
            "lift@<n> (share of positives in the n-th tenth by descending p / overall share), precision@threshold, "
            "recall@threshold, profit_per_exposure@threshold (shown where p >= cost / value)",
        ),
        Column("value", "double", "the metric on the test window; null where it is not defined"),
        CI_LOW,
        CI_HIGH,
        Column("rows", "bigint", "labelled rows (exposures, or days of a person) in the test window"),
        Column("positives", "bigint", "rows among them whose label is 1"),
        PEOPLE,
        SUPPRESSED_CELLS,
    ),
    key=("platform", "model", "label", "segment", "metric"),
    partitions=("release_id",),
    small_cells=SmallCells(
        _by_people("positives", "value", "ci_low", "ci_high"),
        segments=Segments(("release_id", "platform", "model", "label", "metric"), "segment", "all", overlap=True),
    ),
)

CALIBRATION = Table(
    layer="gold",
    name="engagement_calibration",
    kind=Kind.SNAPSHOT,
    made_by="train_engagement",
    comment="Reliability diagram of each engagement model: what it said and what happened, in bins of what it said",
    columns=(
        RELEASE,
        PLATFORM,
        _MODEL,
        _LABEL,
        required(
            "bin",
            "int",
            "from 1, ascending probabilities: 15 bins of equal numbers of rows, merged until each has 20 positives",
        ),
        Column("predicted", "double", "mean predicted probability"),
        Column("observed", "double", "positives / rows"),
        Column("rows", "bigint", "labelled rows (exposures, or days of a person) in the test window"),
        Column("positives", "bigint", "rows among them whose label is 1"),
        Column("ci_low", "double", "lower end of the 95 % interval of observed, people resampled"),
        Column("ci_high", "double", "upper end of the 95 % interval of observed, people resampled"),
        PEOPLE,
        SUPPRESSED_CELLS,
    ),
    key=("platform", "model", "label", "bin"),
    partitions=("release_id",),
    checks={"bin_from_one": "bin >= 1"},
    small_cells=SmallCells(_by_people("positives", "observed", "ci_low", "ci_high")),
)


class Status(StrEnum):
    """Whether a coefficient was estimated, and if not, why."""

    ESTIMATED = "estimated"
    CONSTANT = "constant"
    """The feature has one value; the others are fitted without it."""
    COLLINEAR = "collinear"
    """The feature is a linear combination of earlier ones; the others are fitted without it."""
    ONE_LABEL = "one label only"
    TOO_FEW_EVENTS = "too few events"
    """The rarer label occurs fewer than 20 times a parameter that would be fitted, the intercept included."""
    TOO_FEW_PEOPLE = "too few people"
    """There are no more than parameters, or one of them alone tells the coefficient, or all tell just the same."""
    SEPARATED = "separated"
    """Some combination of the features never misjudges the label: the likelihood has no maximum."""


_STATUSES = tuple(status.value for status in Status)

COEFFICIENTS = Table(
    layer="gold",
    name="engagement_coefficients",
    kind=Kind.SNAPSHOT,
    made_by="train_engagement",
    comment="What each feature says about the label, fitted without penalty, with errors that count people",
    columns=(
        RELEASE,
        PLATFORM,
        _MODEL,
        _LABEL,
        required("feature", "string", "feature of the engagement model, or (intercept)"),
        Column("coefficient", "double", "log odds per standard deviation of the feature in the training window"),
        Column(
            "std_error", "double", "standard error of the coefficient, clustered by person (Mancl and DeRouen 2001)"
        ),
        Column("odds_ratio", "double", "exp(coefficient); null where a double cannot hold it"),
        Column(
            "ci_low", "double", "lower end of the coefficient's 95 % interval, t with people - 1 degrees of freedom"
        ),
        Column("ci_high", "double", "upper end of the coefficient's 95 % interval"),
        Column("p_value", "double", "probability of so large a coefficient, of either sign, if the true one were 0"),
        Column("rows", "bigint", "labelled rows (exposures, or days of a person) that the coefficients are fitted to"),
        Column("positives", "bigint", "rows among them whose label is 1"),
        required("status", "string", f"{', '.join(_STATUSES)}; figures are null unless estimated"),
        PEOPLE,
        SUPPRESSED_CELLS,
    ),
    key=("platform", "model", "label", "feature"),
    partitions=("release_id",),
    checks={"is_a_probability": "p_value BETWEEN 0 AND 1", "known_status": one_of("status", _STATUSES)},
    small_cells=SmallCells(
        _by_people("positives", "coefficient", "std_error", "odds_ratio", "ci_low", "ci_high", "p_value")
    ),
)

FEATURE_DRIFT = Table(
    layer="gold",
    name="feature_drift",
    kind=Kind.SNAPSHOT,
    made_by="measure_drift",
    comment="How far the features and scores of recent days are from those that the engagement model was trained on",
    columns=(
        RELEASE,
        PLATFORM,
        _LABEL,
        required("feature", "string", "feature of the engagement model, or score: what the model says"),
        required("window", "date", "UTC day that is compared with the training window"),
        required(
            "psi",
            "double",
            "population stability index: sum over bins of (a - e) ln(a / e), a the day's share and e the training "
            "window's (Siddiqi 2006); bins of half a standard deviation, or categories",
        ),
        required("psi_expected", "double", "mean of psi without drift: (bins - 1) (1 / rows + 1 / rows trained on)"),
        required("rows", "bigint", "rows of the day (exposures, or days of a person)"),
    ),
    key=("platform", "label", "feature", "window"),
    partitions=("release_id",),
    may_be_empty=True,
)

CALIBRATION_DRIFT = Table(
    layer="gold",
    name="engagement_calibration_drift",
    kind=Kind.SNAPSHOT,
    made_by="measure_drift",
    comment="How many engaged on recent days for each that the engagement model expected to",
    columns=(
        RELEASE,
        PLATFORM,
        _LABEL,
        _MODEL,
        required("window", "date", "UTC day of the predictions"),
        Column("rows", "bigint", "labelled rows (exposures, or days of a person) of the day"),
        Column("positives", "bigint", "rows among them whose label is 1"),
        Column("expected", "double", "sum of the predicted probabilities of the rows"),
        Column("log_ratio", "double", "ln(positives / expected); null without positives"),
        Column(
            "ci_low",
            "double",
            "lower end of the 95 % interval of log_ratio, people being independent; null where the ratio's is not "
            "above 0, or it has none",
        ),
        Column("ci_high", "double", "upper end of the 95 % interval of log_ratio; null where it has none"),
        PEOPLE,
        SUPPRESSED_CELLS,
    ),
    key=("platform", "label", "model", "window"),
    partitions=("release_id",),
    may_be_empty=True,
    small_cells=SmallCells(_by_people("positives", "expected", "log_ratio", "ci_low", "ci_high")),
)
