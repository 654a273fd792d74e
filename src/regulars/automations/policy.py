"""The policy of an automation: how often, how late, to whom not. Pure data, no input or output."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Delivery = Literal["at_most_once", "at_least_once"]


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
    delivery: Delivery = Field(
        default="at_most_once",
        description="When it is not known whether a message arrived: at_most_once leaves that to a person, "
        "at_least_once sends it again (transactional automations only; a guest may get it twice)",
    )
