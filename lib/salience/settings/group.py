"""What every group of settings is, and the values that several of them take."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from salience.actions import ACTIONS

MAX_DAYS = 36_500
"""The longest window, a century."""


def _known_action(name: str) -> str:
    if name not in ACTIONS:
        raise ValueError(f"there is no action {name!r}; there are {', '.join(ACTIONS)}")
    return name


Weight = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Action = Annotated[str, AfterValidator(_known_action)]


class Group(BaseModel):
    """Settings that belong together; immutable, and none but those declared."""

    # Strict: YAML knows what is a number, and a yes is none.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _fits_into_spark(cls, value: object) -> object:
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("has more than 64 bits")
        return value
