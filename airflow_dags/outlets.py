"""Which tables each job writes beside the ledgers: the assets that its tasks update."""

OUTLETS = {
    "clean_interactions": (
        "bronze.events",
        "bronze.contents",
        "bronze.users",
        "bronze.accounts",
        "bronze.assignments",
        "bronze.campaigns",
        "bronze.costs",
        "bronze.identifiers",
        "bronze.blocklist",
        "silver.interactions",
        "silver.rejected_events",
        "silver.excluded_events",
        "silver.contents",
        "silver.users",
        "silver.accounts",
        "silver.assignments",
        "silver.campaigns",
        "silver.costs",
        "silver.blocklist",
    ),
    "build_profiles": (
        "gold.user_profiles",
        "gold.content_profiles",
    ),
    "find_candidates": ("gold.recommendation_candidates",),
    "recommend": (
        "gold.recommendations",
        "gold.recommendation_shortfalls",
    ),
    "find_audiences": (
        "gold.content_audiences",
        "gold.creator_recommendations",
    ),
    "train_recommender": (
        "gold.recommender_evaluation",
        "gold.content_similarity",
        "gold.user_similarity",
    ),
    "learn_confidence": ("gold.confidence_ablation",),
    "measure_outcomes": ("gold.recommendation_outcomes",),
    "score_engagement": (
        "gold.engagement_scores",
        "gold.return_scores",
    ),
    "train_engagement": (
        "gold.engagement_evaluation",
        "gold.engagement_calibration",
        "gold.engagement_coefficients",
    ),
    "measure_drift": (
        "gold.feature_drift",
        "gold.engagement_calibration_drift",
    ),
    "measure_audience": (
        "gold.content_daily",
        "gold.audience_daily",
    ),
}
