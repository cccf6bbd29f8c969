"""Every recommender there is, by name."""

from collections.abc import Sequence

from salience.recommend.models.als import Als
from salience.recommend.models.ease import Ease
from salience.recommend.models.interface import Recommender, points
from salience.recommend.models.popular import Popularity, SegmentPopular
from salience.recommend.models.similarity import Alike, Similarity
from salience.recommend.models.svd import Svd
from salience.recommend.models.tags import Tags
from salience.settings.recommend import RecommendSettings


def catalogue(settings: RecommendSettings, timed: bool) -> dict[str, Recommender]:
    """Return the recommenders with what a search tries.

    Args:
        settings: `als` and `search`.
        timed: whether to try how fast weights fade: only a split by time can tell.
    """
    tried, als = settings.search, settings.als
    lives: Sequence[float | None] = tried.half_lives_days if timed else [None]
    popular: Sequence[float | None] = tried.popularity_half_lives_days if timed else [None]
    of_als = points(
        lives,
        iterations=tried.als_iterations,
        rank=tried.als_ranks,
        alpha=tried.als_alphas,
        regularisation=tried.als_regularisations,
    )
    near = (tried.shrinkages, [0.0], lives, tried.longest_history)
    return {
        "als": Als(als, tuple(of_als)),
        "similarity": Similarity(tried.neighbours, *near),
        "user_similarity": Alike(tried.user_neighbours, *near),
        "ease": Ease(
            tried.ease_regularisations,
            tried.ease_dropouts,
            tried.ease_normalisations,
            tried.powers,
            lives,
            tried.longest_history,
            tried.ease_memory_mb,
        ),
        "svd": Svd(tried.svd_ranks, tried.svd_tapers, tried.svd_normalisations, tried.svd_powers, lives),
        "tags": Tags([0.0], lives, tried.tag_vocabulary),
        "popularity": Popularity(popular),
        "segment_popular": SegmentPopular(popular, tried.segment_prior_pairs),
    }
