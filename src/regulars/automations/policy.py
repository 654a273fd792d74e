"""The policy of an automation: how often, how late, to whom not. Pure data, no input or output."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Delivery = Literal["at_most_once", "at_least_once"]


class Policy(BaseModel):
    """Settings that bound an automation besides its trigger. Absent ones take the trigger's defaults.

    Quiet hours, caps and budget are those of the organization (`automations.tact`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cooldown_days: int = Field(
        default=30, ge=0, le=3650, description="Least days before this automation's family writes again"
    )
    skip_upcoming_reservation: bool = Field(
        default=False, description="Leave out guests who have a booking in the future"
    )
    holdout_percent: int = Field(
        default=0,
        ge=0,
        le=50,
        description="Share of those who would be written to that are left out, always the same ones, to "
        "measure the effect (marketing only)",
    )
    minimum_age: int | None = Field(
        default=None,
        ge=0,
        le=120,
        description="Only guests who are known to be so old, as for an offer of wine (18); null: of any age "
        "at which the law lets them agree to marketing",
    )
    delivery: Delivery = Field(
        default="at_most_once",
        description="When it is not known whether a message arrived: at_most_once leaves that to a person, "
        "at_least_once sends it again (transactional automations only; a guest may get it twice)",
    )
    fallback: bool = Field(
        default=False,
        description="Where a channel certainly cannot reach a guest (no WhatsApp, a number that does not "
        "exist), the same message goes by the next channel that the guest has agreed to; never where it is "
        "not known whether the first arrived, and never after a guest said stop",
    )

    @model_validator(mode="after")
    def _one_message_an_occasion(self) -> "Policy":
        if self.fallback and self.delivery == "at_least_once":
            raise ValueError(
                "Choose one of fallback and at_least_once: a message that may have arrived already "
                "must not go by another channel as well."
            )
        return self
