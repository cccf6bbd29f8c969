"""Gold recommendations: candidates, the final lists, and how good the recommenders are."""

from salience.stats.small_cells import Cell, Segments, SmallCells
from salience.tables.contract import Column, Kind, Table, required
from salience.tables.shared import CI_HIGH, CI_LOW, CONTENT, PLATFORM, RELEASE, SUPPRESSED_CELLS, USER, one_of

SOURCES = ("als", "similarity", "ease", "svd", "blend", "tags", "segment_popular", "trending", "explore")
"""Where a recommendation can come from."""

ARMS = ("personalised", "held_out", "not_personalised")
"""What people get: what is personal; what is popular, by a draw, to tell what the former is worth; that by choice."""

SHORTFALL_REASONS = ("nothing_available", "catalogue_too_small", "catalogue_exhausted")
"""Why a list is short."""

_ARM = Column("arm", "string", "personalised; held_out of what is personal, by a draw; or not_personalised, by choice")
_PLACE = Column("place", "int", "where the sources put the content among the person's candidates, from 1, best first")
_SCORE = required("score", "double", "the source's own score; comparable within a source only")
_SOURCE = required("source", "string", "what proposed the content: " + ", ".join(SOURCES))
_BECAUSE = Column(
    "because",
    "array<struct<content_id:string,contribution:double,share:double>>",
    "the person's own contents that raised the score most; share is of the positive contributions; null for sources "
    "that are not personal",
)

CANDIDATES = Table(
    layer="gold",
    name="recommendation_candidates",
    kind=Kind.SNAPSHOT,
    made_by="find_candidates",
    comment="Contents worth ranking for each person: available, not blocked, neither seen by them before nor their own",
    columns=(RELEASE, PLATFORM, USER, _ARM, _PLACE, CONTENT, _SCORE, _SOURCE, _BECAUSE),
    key=("platform", "user_id", "content_id"),
    partitions=("release_id",),
    checks={
        "known_source": one_of("source", SOURCES),
        "known_arm": one_of("arm", ARMS),
        "place_from_one": "place >= 1",
    },
)

RECOMMENDATIONS = Table(
    layer="gold",
    name="recommendations",
    kind=Kind.SNAPSHOT,
    made_by="recommend",
    comment="Exactly k contents for each person, best first (or a row in recommendation_shortfalls)",
    columns=(
        RELEASE,
        PLATFORM,
        USER,
        _ARM,
        required("rank", "int", "place in the person's list, from 1"),
        CONTENT,
        _SCORE,
        Column("p_engage_24h", "double", "predicted probability of a positive action within 24 h of being shown"),
        _SOURCE,
        required("reason", "string", "why the content is here, for a person to read"),
        _BECAUSE,
        Column(
            "propensity",
            "double",
            "1 for a place by rank; for one by lot, the probability that the lot gives the content one of the list's "
            "places by lot: their number / that of the contents in the lot",
        ),
        Column(
            "suggested_frequency_cap",
            "int",
            "how often, at most, to show a content to somebody within 7 days: further times earn too little engagement "
            "beside the first; descriptive; null where too little was shown",
        ),
    ),
    key=("platform", "user_id", "rank"),
    partitions=("release_id",),
    checks={
        "known_source": one_of("source", SOURCES),
        "known_arm": one_of("arm", ARMS),
        "rank_from_one": "rank >= 1",
        "is_a_probability": "p_engage_24h BETWEEN 0 AND 1",
        "is_a_propensity": "propensity > 0 AND propensity <= 1",
        "frequency_cap_from_one": "suggested_frequency_cap >= 1",
    },
)

SHORTFALLS = Table(
    layer="gold",
    name="recommendation_shortfalls",
    kind=Kind.SNAPSHOT,
    made_by="recommend",
    comment="People whose list is shorter than k, and why",
    columns=(
        RELEASE,
        PLATFORM,
        USER,
        required("missing", "int", "how many of the k contents are missing"),
        required(
            "reason",
            "string",
            "nothing_available: no content may be shown; catalogue_too_small: fewer than k may be shown to anybody; "
            "catalogue_exhausted: the person has seen all else that may be",
        ),
    ),
    key=("platform", "user_id"),
    partitions=("release_id",),
    checks={"something_missing": "missing >= 1", "known_reason": one_of("reason", SHORTFALL_REASONS)},
    may_be_empty=True,
)

AUDIENCES = Table(
    layer="gold",
    name="content_audiences",
    kind=Kind.SNAPSHOT,
    made_by="find_audiences",
    comment="The people whom each content that may be shown suits best, of those who have not seen it and get what is "
    "personal; a content that the ALS model does not know (yet) has no rows",
    columns=(
        RELEASE,
        PLATFORM,
        CONTENT,
        required("rank", "int", "place among the content's people, from 1"),
        USER,
        required("score", "double", "predicted preference; comparable within a platform and release only"),
    ),
    key=("platform", "content_id", "rank"),
    partitions=("release_id",),
    checks={"rank_from_one": "rank >= 1"},
    may_be_empty=True,
)

CREATOR_SOURCES = ("als", "trending")
"""Where an account to follow can come from."""

CREATORS = Table(
    layer="gold",
    name="creator_recommendations",
    kind=Kind.SNAPSHOT,
    made_by="find_audiences",
    comment="Accounts to follow for each person, best first: not followed by them yet, not their own, not blocked, and "
    "with contents that may be shown; fewer than recommend.creators where there are no more",
    columns=(
        RELEASE,
        PLATFORM,
        USER,
        required("rank", "int", "place in the person's list, from 1"),
        required("creator_id", "string", "pseudonym of the account to follow"),
        required(
            "score",
            "double",
            "als: mean predicted preference over the account's contents that may be shown and that the model knows; "
            "trending: what everyone did with its contents that may be shown, weighed and faded; comparable within a "
            "source only",
        ),
        required("source", "string", "what proposed the account: " + ", ".join(CREATOR_SOURCES)),
    ),
    key=("platform", "user_id", "rank"),
    partitions=("release_id",),
    checks={
        "known_source": one_of("source", CREATOR_SOURCES),
        "rank_from_one": "rank >= 1",
        "is_another": "user_id <> creator_id",
    },
    may_be_empty=True,
)

EVALUATION = Table(
    layer="gold",
    name="recommender_evaluation",
    kind=Kind.SNAPSHOT,
    made_by="train_recommender",
    comment="Ranking quality of each recommender by the time protocol, beside its baselines",
    columns=(
        RELEASE,
        PLATFORM,
        required(
            "model",
            "string",
            "als, those of recommend.compared, popularity_all_time, popularity_<h>d, champion, or a difference 'a - b'",
        ),
        required("settings", "string", "the model's settings as JSON"),
        required("protocol", "string", "how the figure was obtained, with its cut times"),
        required(
            "segment",
            "string",
            "all, history=<contents that somebody had to do with before the cut>, or <attribute>=<value> "
            "(metrics.segment_attributes) as of the cut",
        ),
        required("metric", "string", "ndcg, recall, ..."),
        required("k", "int", "length of the ranked list"),
        Column("value", "double", "mean over users"),
        CI_LOW,
        CI_HIGH,
        Column("users", "bigint", "users that the mean is over"),
        required("is_published", "boolean", "true for the configuration that this release recommends with"),
        SUPPRESSED_CELLS,
    ),
    key=("platform", "model", "settings", "protocol", "segment", "metric", "k"),
    partitions=("release_id",),
    # A log that is shorter than the windows of the protocol says nothing yet.
    may_be_empty=True,
    small_cells=SmallCells(
        (Cell("users", ("users", "value", "ci_low", "ci_high")),),
        segments=Segments(("release_id", "platform", "model", "settings", "protocol", "metric", "k"), "segment", "all"),
    ),
)

_RANK = required("rank", "int", "place among the neighbours, from 1")
_SIMILARITY = required("similarity", "float", "0 to 1; comparable within a method only")
_METHOD = required("method", "string", "cosine: of who did something with them (what they did), shrunken")


def _similarity(name: str, whose: Column, similar: Column, comment: str) -> Table:
    return Table(
        layer="gold",
        name=name,
        kind=Kind.SNAPSHOT,
        made_by="train_recommender",
        comment=comment,
        columns=(RELEASE, PLATFORM, whose, _RANK, similar, _SIMILARITY, _METHOD),
        key=("platform", whose.name, "method", "rank"),
        partitions=("release_id",),
        checks={"rank_from_one": "rank >= 1", "is_another": f"{whose.name} <> {similar.name}"},
        may_be_empty=True,
    )


CONTENT_SIMILARITY = _similarity(
    "content_similarity",
    CONTENT,
    required("similar_content_id", "string", "the neighbour's id on this platform"),
    "The contents that are most alike, by who did something with them",
)

USER_SIMILARITY = _similarity(
    "user_similarity",
    USER,
    required("similar_user_id", "string", "the neighbour's pseudonym on this platform"),
    "The people who are most alike, by what they did something with",
)

ABLATION = Table(
    layer="gold",
    name="confidence_ablation",
    kind=Kind.SNAPSHOT,
    made_by="learn_confidence",
    comment="What each change of the interactions' weights does to the ranking of ALS: does adding shares help?",
    columns=(
        RELEASE,
        PLATFORM,
        required("step", "int", "round of the search, from 1; 0 for the outcome on a window that no choice has seen"),
        required("variant", "string", "the change: without <action>, <action> x <factor>, half-life, watch time"),
        required("settings", "string", "the weights and the half-life of the variant as JSON"),
        required("protocol", "string", "how the figure was obtained, with its cut times"),
        required("metric", "string", "ndcg"),
        required("k", "int", "length of the ranked list"),
        Column("value", "double", "mean over users and windows"),
        CI_LOW,
        CI_HIGH,
        Column("difference", "double", "value less that of the settings as they are at this step"),
        Column(
            "difference_ci_low",
            "double",
            "lower end of its paired interval: 95 % for all of the step's variants at once",
        ),
        Column("difference_ci_high", "double", "upper end of that interval"),
        Column("users", "bigint", "users that the mean is over"),
        required(
            "is_adopted",
            "boolean",
            "whether the search went on with this variant; of step 0, whether it is surely better",
        ),
        SUPPRESSED_CELLS,
    ),
    key=("platform", "step", "variant"),
    partitions=("release_id",),
    may_be_empty=True,
    small_cells=SmallCells(
        (
            Cell(
                "users",
                ("users", "value", "ci_low", "ci_high", "difference", "difference_ci_low", "difference_ci_high"),
            ),
        )
    ),
)
"""Written on request, by jobs/learn_confidence.py."""
