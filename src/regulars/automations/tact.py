"""An organization's tact: how it treats its guests whatever it has to say. Pure data.

Kept as JSON on the organization; what is absent takes the default of `domain`: silence by night, at
most two marketing messages in seven days and four in thirty.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from regulars.automations.quiet_hours import QuietHours


class Cap(BaseModel):
    """At most so many marketing messages to one guest in so many days, over all automations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: Annotated[int, Field(ge=1, le=1000)]
    days: Annotated[int, Field(ge=1, le=366)]


ChannelName = Literal["whatsapp", "sms", "email"]
Amount = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=5)]


class Price(BaseModel):
    """What one message (of an SMS: one part) costs through an account, in the organization's currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: Annotated[str, Field(max_length=100, description="Name of the provider account")]
    channel: ChannelName
    country: Annotated[str, Field(pattern=r"^([A-Z]{2})?$", description="ISO 3166; empty: any other")] = ""
    amount: Amount


class Tact(BaseModel):
    """The settings that all automations of an organization share; transactional ones are exempt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quiet_hours: QuietHours | None = Field(
        default=QuietHours(), description="Local hours without marketing; null: none (the law's remain)"
    )
    caps: Annotated[tuple[Cap, ...], Field(max_length=4)] = Field(
        default=(Cap(messages=2, days=7), Cap(messages=4, days=30)),
        description="Most marketing messages to one guest, over all automations and channels",
    )

    ask_above_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=20,
        description="An automation that would at once write to a larger share of the guests (and to more "
        "than 50) starts with what becomes due from now on, unless somebody agrees to the number",
    )

    prices: Annotated[tuple[Price, ...], Field(max_length=500)] = Field(
        default=(), description="Without a price a message counts as free"
    )
    monthly_limits: dict[ChannelName, Amount] = Field(
        default={},
        description="Most that marketing may cost in a calendar month, by channel; the last fifth is kept "
        "for the automations higher in the list",
    )

    numbers_confirmed_within_days: Annotated[int, Field(ge=1, le=3660)] | None = Field(
        default=None,
        description="No marketing to a telephone number whose guest has neither agreed to it nor written "
        "from it for so long: carriers give numbers to somebody else. Null: however long ago",
    )

    def stored(self) -> dict[str, Any]:
        """As JSON, every setting shown."""
        return self.model_dump(mode="json", by_alias=True)


def tact_of(stored: dict[str, Any]) -> Tact:
    """The tact that an organization's JSON states, defaults filled in."""
    return Tact.model_validate(stored)
