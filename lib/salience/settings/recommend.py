"""Settings of the recommenders: how they are trained, chosen, judged and used."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from salience.actions import UNDONE_BY
from salience.settings.group import MAX_DAYS, Action, Count, Group, NotNegative, Share, Weight

Source = Literal["als", "similarity", "ease", "svd", "blend", "tags", "segment_popular", "trending"]
"""What may propose contents to people."""
Part = Literal["als", "similarity", "ease", "svd"]
"""What a blend may be made of."""


class AlsSettings(Group):
    """MLlib ALS with implicit preferences; `alphas` and `regularisations` span the grid that is tried."""

    rank: int = Field(ge=1, le=512)
    iterations: int = Field(ge=1, le=100)
    alphas: list[Weight] = Field(min_length=1)
    """Confidence of a preference is 1 + alpha x weight."""
    regularisations: list[Weight] = Field(min_length=1)
    """MLlib multiplies it by the number of a user's (an item's) preferences."""
    blocks: int = Field(ge=1)
    """Blocks of users and of items, each worked on by one core: as many as there are cores to work on them."""
    checkpoint_interval: int = Field(ge=1, le=100)
    """The item factors are written to the warehouse's file system every so many iterations, so that a lost executor
    costs no more than these."""
    seed: int


class GateSettings(Group):
    """When a configuration takes the place of the one in force (jobs/train_recommender.py)."""

    margin: float = Field(ge=0, lt=1)
    """Its ndcg may be smaller by this share of that of the configuration in force: the lower end of the paired 95 %
    interval of the difference has to lie above that."""
    min_users: int = Field(ge=1)
    """With fewer people to judge, the configuration in force stays."""


class HoldoutSettings(Group):
    """Who is held out of personal recommendations, and gets what is popular, to tell what they are worth."""

    share: float = Field(ge=0, lt=1)
    """Of the people who do not refuse; drawn anew on each platform."""
    salt: str = Field(min_length=1)
    """Another one holds other people out."""
    min_people: int = Field(ge=2)
    """With fewer people in an arm, the arms are not compared."""


class SearchSettings(Group):
    """What jobs/evaluate_recommender.py tries for each model, the most promising value of each list first."""

    share: float = Field(gt=0, lt=1)
    """Share of train that an inner split hides. A small one leaves the density of the data as it is, on which the best
    regularisation depends."""
    folds: int = Field(ge=1, le=20)
    """Inner splits that each model's parameters are chosen on."""
    blend_folds: int = Field(ge=1, le=20)
    """Random splits that the weights of a blend are chosen on, the first `folds` among them: mixes differ by less than
    models do. Splits by time stay `folds`, for what is older tells less of what comes next."""
    half_lives_days: list[Weight | None] = Field(min_length=1)
    """After so many days a pair weighs half (null: never); tried only on splits by time."""
    popularity_half_lives_days: list[Weight | None] = Field(min_length=1)
    """The same for popularity."""
    powers: list[NotNegative] = Field(min_length=1)
    """Power that `ease` takes weights to; 0 counts each pair alike."""
    als_iterations: list[Count] = Field(min_length=1)
    als_ranks: list[Count] = Field(min_length=1)
    als_alphas: list[Weight] = Field(min_length=1)
    als_regularisations: list[Weight] = Field(min_length=1)
    ease_regularisations: list[Weight] = Field(min_length=1)
    """In units of the mean squared weight."""
    ease_dropouts: list[NotNegative] = Field(min_length=1)
    """Added to the ridge as this share of an item's own sum of squares."""
    ease_normalisations: list[Share] = Field(min_length=1)
    """Power of the sum of a person's weights that each of them is divided by; 0 leaves them as they are."""
    ease_memory_mb: float = Field(gt=0)
    """Memory of the driver that `ease` may take: a fit takes 3 x 8 bytes x items squared, and each other one that is
    held 8 bytes x items squared (jobs/evaluate_recommender.py holds up to 2 x folds, or as many as the splits that a
    blend is chosen on); 8 bytes x items squared on each worker."""
    neighbours: list[Count] = Field(min_length=1)
    """Of a content."""
    user_neighbours: list[Count] = Field(min_length=1)
    """Of a person; where few of them did something of late, many have to vote on what is new."""
    shrinkages: list[NotNegative] = Field(min_length=1)
    """In units of the mean squared weight."""
    svd_ranks: list[Count] = Field(min_length=1)
    svd_tapers: list[Share] = Field(min_length=1)
    """Share of the singular vectors, the last ones, that count less and less; 0 counts all of them alike."""
    svd_powers: list[NotNegative] = Field(min_length=1)
    """As `powers`, of `svd`."""
    svd_normalisations: list[Share] = Field(min_length=1)
    """As ease_normalisations, and the same of a content's sum."""
    longest_history: int = Field(ge=1)
    """Of somebody (or a content) with more pairs, the heaviest so many count when similarities are computed; of those
    that weigh alike, any."""
    tag_vocabulary: int = Field(ge=1)
    """The most frequent so many tags count."""
    segment_prior_pairs: float = Field(ge=0)
    """A segment is taken to hold so many pairs more, spread like everyone's."""

    @model_validator(mode="after")
    def _blends_on_no_fewer_folds(self) -> "SearchSettings":
        if self.blend_folds < self.folds:
            raise ValueError(f"blend_folds ({self.blend_folds}) must be at least folds ({self.folds})")
        return self


class ConfidenceSettings(Group):
    """What jobs/learn_confidence.py tries beside the settings in force."""

    half_lives_days: list[Weight]
    watch_time_weights: list[Weight]
    factors: list[Weight]
    """Each action's weight is tried at so many times what it is, and at nothing."""
    rounds: int = Field(ge=1, le=10)
    """The best change is adopted, and all are tried again, so many times at most."""
    windows: int = Field(ge=1, le=10)
    """Windows of evaluation_days, one after the other, that changes are judged on; a later one judges the outcome."""


class RankSettings(Group):
    """How candidates become lists (recommend.rank); people held out, or who refuse, keep their candidates' order."""

    action_values: dict[Action, NotNegative]
    """What an engagement by this action is worth, beside others; 1 for an absent one."""
    value_prior_engagements: NotNegative
    """A content's engagements are taken to be so many more, each worth what one is on its platform on average."""
    mmr_lambda: Share
    """Weight of relevance beside that of not being like what stands before it in the list; 1: relevance alone."""
    creator_cap: int | None = Field(ge=1)
    """At most so many contents of one creator in a list (null: any number), unless it would be shorter than k."""
    freshness_boost: NotNegative
    """What is published just now counts for this share more."""
    freshness_half_life_days: float = Field(gt=0)
    """After so many days, for half of that share."""
    exploration_slots: int = Field(ge=0)
    """So many places, the last of a list, are drawn by lot; fewer than k."""
    exploration_salt: str = Field(min_length=1)
    """Another one draws other contents."""
    frequency_floor: Share
    """A content may be shown to somebody again for as long as that earns this share of the first time's engagement."""
    frequency_min_impressions: int = Field(ge=1)
    """What fewer showings tell of an n-th time is not believed."""
    frequency_max: int = Field(ge=1, le=1000)
    """No suggestion is larger."""


class RecommendSettings(Group):
    """How recommenders are trained, judged and used."""

    k: int = Field(ge=1, le=1000)
    """Length of each person's list."""
    candidates: int = Field(ge=1, le=100_000)
    """Candidates a person before ranking; at least k."""
    block_mb: float = Field(gt=0)
    """Factors that are ranked take about so many 10^6 bytes of each task; larger ones are walked in blocks."""
    ladder: dict[Source, Weight]
    """Who proposes candidates, the one to prefer first, and its share of the list, as a ratio to the others'; what some
    leave free is filled in this order, also by those whose share is less than a place. `trending` is the last one: it
    always has something."""
    blend: dict[Part, Weight]
    """What `blend` is made of, and the weight of each part's standard scores."""
    recent_half_life_days: float = Field(gt=0)
    """`similarity`, `ease`, `svd` and `tags` propose what is like somebody's last contents: after so many days one of
    them counts half."""
    segment_by: list[str]
    """Attributes of silver.users that tell whose popularity `segment_popular` proposes to whom."""
    blocked_tags: list[str]
    """No content with one of these tags is shown to anybody."""
    blocked_brand_safety: list[str]
    """Nor one of these brand-safety classes, as the source names them."""
    window_days: int = Field(ge=1, le=MAX_DAYS)
    """Days of history, the as-of day included."""
    half_life_days: float = Field(gt=0)
    """After this many days an interaction weighs half."""
    action_weights: dict[Action, float]
    """Weight of one interaction by action; an absent action weighs nothing, nor does one that was undone."""
    excluding_actions: list[Action]
    """Actions that say no: who did one to a content has no preference for it, whatever else they did."""
    watch_time_weight: float = Field(ge=0)
    """Weight that an interaction gains for a video watched to its end, and its share for one watched in part."""
    rating_scale_max: float = Field(gt=0)
    """A `rate` interaction weighs action_weights.rate x rating / rating_scale_max."""
    relevant_actions: list[Action] = Field(min_length=1)
    """Actions on a new content that make it relevant when recommenders are judged."""
    relevant_rating: float
    """A `rate` interaction is relevant from this rating on."""
    similar: int = Field(ge=1, le=1000)
    """Neighbours of each content and of each person in gold.content_similarity and gold.user_similarity."""
    audience: int = Field(ge=1, le=1000)
    """People of each content in gold.content_audiences."""
    creators: int = Field(ge=1, le=1000)
    """Accounts to follow of each person in gold.creator_recommendations."""
    evaluation_days: float = Field(gt=0, le=MAX_DAYS)
    """Length of the choosing window and of the reporting window, in days."""
    evaluation_k: int = Field(ge=1)
    """The k of ndcg@k and recall@k."""
    compared: list[Literal["similarity", "user_similarity", "ease", "svd", "tags", "blend"]]
    """Recommenders that ALS is judged beside, each at the first point of its grid in `search`; `blend` brings its parts
    along."""
    popularity_half_lives_days: list[Weight] = Field(min_length=1)
    """Half-lives of the popularity baselines."""
    trending_half_life_days: float = Field(gt=0)
    """Half-life of the popularity that fills the lists of people whom ALS does not know."""
    bootstrap_replicates: int = Field(ge=100)
    als: AlsSettings
    gate: GateSettings
    holdout: HoldoutSettings
    rank: RankSettings
    search: SearchSettings
    confidence: ConfidenceSettings

    @field_validator("action_weights")
    @classmethod
    def _undo_has_no_weight(cls, weights: dict[str, float]) -> dict[str, float]:
        for undo in UNDONE_BY.values():
            if undo in weights:
                raise ValueError(f"{undo} takes back what it undoes, and has no weight of its own: leave it out")
        return weights

    @field_validator("ladder")
    @classmethod
    def _ends_with_trending(cls, ladder: dict[Source, float]) -> dict[Source, float]:
        if list(ladder)[-1:] != ["trending"]:
            raise ValueError("the last source must be trending, which has something for everyone")
        return ladder

    @model_validator(mode="after")
    def _values_what_counts(self) -> "RecommendSettings":
        if unknown := sorted(self.rank.action_values.keys() - set(self.relevant_actions)):
            raise ValueError(
                f"rank.action_values: {', '.join(unknown)} is not among relevant_actions, and has no value"
            )
        return self

    @model_validator(mode="after")
    def _blends_something(self) -> "RecommendSettings":
        if "blend" in self.ladder and not self.blend:
            raise ValueError("the ladder has a blend, but `blend` names no part of it")
        return self

    @model_validator(mode="after")
    def _candidates_cover_k(self) -> "RecommendSettings":
        if self.candidates < self.k:
            raise ValueError(f"candidates ({self.candidates}) must be at least k ({self.k})")
        return self

    @model_validator(mode="after")
    def _not_all_is_explored(self) -> "RecommendSettings":
        if self.rank.exploration_slots >= self.k:
            raise ValueError(f"rank.exploration_slots ({self.rank.exploration_slots}) must be less than k ({self.k})")
        return self

    def places(self) -> dict[str, int]:
        """Return how many of the candidates each source of the ladder may propose before the later ones do."""
        total = sum(self.ladder.values())
        return {name: int(self.candidates * share / total + 1e-9) for name, share in self.ladder.items()}
