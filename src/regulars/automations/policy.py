"""The policy of an automation: how often, how late, to whom not. Pure data, no input or output."""

from pydantic import BaseModel, ConfigDict, Field


class Policy(BaseModel):
    """Settings that bound an automation besides its trigger. Absent ones take the trigger's defaults.

    Frequency caps, quiet hours, budget and holdout join here with the rules that read them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cooldown_days: int = Field(
        default=30, ge=0, le=3650, description="Least days before this automation's family writes again"
    )
    skip_upcoming_reservation: bool = Field(
        default=False, description="Leave out guests who have a booking in the future"
    )
