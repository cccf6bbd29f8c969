"""People's factors as of a cut, for everything that ranks by what a model knows of a person."""

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.models.store import LoadedModel
from salience.recommend.arms import PERSONALISED
from salience.recommend.confidence import aged, preferences
from salience.recommend.foldin import fold_in
from salience.recommend.gate import in_force
from salience.recommend.models.interface import histories
from salience.recommend.training import for_tasks
from salience.settings.recommend import RecommendSettings


def personal_factors(
    people: DataFrame, interactions: DataFrame, cut: datetime, model: LoadedModel, settings: RecommendSettings
) -> DataFrame:
    """Solve for the factors of each person of the personalised arm with a history that the model knows.

    Args:
        people: user_id, arm.
        interactions: rows of silver.interactions of one platform.
        cut: what happened at this time or later is unknown; UTC.
        model: of ALS, with the frame item_factors; people are solved for with the weights that it was fitted with.
        settings: those of today.

    Returns:
        user_id, features (array<double>).
    """
    weighing, fitted = in_force(model.manifest, settings), for_tasks(model, settings)
    history = histories(aged(preferences(interactions, cut, weighing), cut))
    asking = people.where(F.col("arm") == PERSONALISED).select("user_id").join(history, "user_id", how="inner")
    return fold_in(asking, fitted).where(F.col("features").isNotNull()).select("user_id", "features")
