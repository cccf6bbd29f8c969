"""Settings of the engagement models: how they are trained, judged and watched."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from salience.settings.group import MAX_DAYS, Action, Group


class DriftSettings(Group):
    """When the engagement model is said to have drifted."""

    days: int = Field(ge=1, le=MAX_DAYS)
    """Days, the as-of day included, whose exposures are compared with the training window, each by itself."""
    most_psi: float = Field(gt=0)
    """Of a feature or of the scores: the population stability index of a day against the training window."""
    most_miscalibration: float = Field(gt=0)
    """Of a day: |log(engagements / sum of their probabilities)|, where its interval leaves 0 out."""


class EngagementSettings(Group):
    """How the engagement model is trained and judged."""

    window_days: int = Field(ge=2, le=MAX_DAYS)
    """Days of exposures, the as-of day included."""
    history_days: int = Field(ge=0, le=MAX_DAYS)
    """Days before these that counters know too, so that the oldest exposures have a past like the newest."""
    label_hours: int = Field(ge=1, le=24 * MAX_DAYS)
    """An exposure is positive if engagement follows within this many hours."""
    positive_actions: list[Action] = Field(min_length=1)
    validation_days: float = Field(gt=0, le=MAX_DAYS)
    """Length, in days, of the window that chooses the regularisation and calibrates."""
    test_days: float = Field(gt=0, le=MAX_DAYS)
    """Length of the test window, in days; an embargo as long as a label's window lies before each of the two."""
    half_lives_days: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Of the counters; each of them has one feature a half-life."""
    prior_exposures: float = Field(gt=0)
    """Smoothing of rates: this many exposures at the overall rate are added to each."""
    hash_buckets: int = Field(ge=2)
    """Places for the values of each categorical feature."""
    regularisations: list[Annotated[float, Field(ge=0)]] = Field(min_length=1)
    elastic_nets: list[Annotated[float, Field(ge=0, le=1)]] = Field(min_length=1)
    """Share of the absolute values in the penalty; the rest is squares."""
    negatives_per_positive: float | None = Field(gt=0)
    """Of the exposures without engagement as many teach, by lot; null: all of them. Probabilities are corrected."""
    calibration: Literal["platt", "isotonic", "none"]
    mlp_hidden_units: int = Field(ge=0)
    """Of the neural network that is judged beside the logistic model; 0 for none."""
    seed: int
    exposure_cost: float = Field(gt=0)
    engagement_value: float = Field(gt=0)
    """What is gained by an engagement, in the unit of exposure_cost: shown is what costs less than it brings."""
    new_user_exposures: int = Field(ge=1)
    """A person with fewer exposures so far is a new user, in the evaluation's segments."""
    cold_content_exposures: int = Field(ge=1)
    """A content with fewer exposures so far is cold."""
    inference_rows: int = Field(ge=1000)
    """Coefficients with standard errors are estimated on whole people of about as many exposures at most."""
    bootstrap_replicates: int = Field(ge=100)
    drift: DriftSettings

    @model_validator(mode="after")
    def _numbers_are_large_enough(self) -> "EngagementSettings":
        # Sums of 2^(age / half-life) have to stay below the largest double, 2^1024.
        least = (self.window_days + self.history_days) / 1000
        if min(self.half_lives_days) < least:
            raise ValueError(f"half_lives_days must be at least (window_days + history_days) / 1000, {least:g}")
        if len(set(self.half_lives_days)) < len(self.half_lives_days):
            raise ValueError("half_lives_days names one twice")
        least_days = self.validation_days + self.test_days + 3 * self.label_hours / 24
        if self.window_days <= least_days:
            raise ValueError(
                f"window_days ({self.window_days}) leaves nothing to train on: validation_days, test_days and three "
                f"label windows of label_hours take {least_days:g}"
            )
        if self.exposure_cost >= self.engagement_value:
            raise ValueError("exposure_cost must be below engagement_value: nothing would ever pay")
        return self
