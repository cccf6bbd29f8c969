"""Which tables a task changes for readers: assets, which other DAGs may be scheduled on."""

AT_ONCE = {
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
    "measure_outcomes": ("gold.recommendation_outcomes",),
    "measure_audience": (
        "gold.content_daily",
        "gold.audience_daily",
    ),
}
"""Job -> the tables that readers see as soon as it has written them."""
WHEN_PUBLISHED = {
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
}
"""Job -> its snapshots, which readers see once the release is published."""
