"""`/api/organization`: how the caller's organization treats its guests, and whose turn comes first."""

from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from regulars.api.callers import Caller, caller_of
from regulars.api.errors import ApiError
from regulars.api.parsing import Id
from regulars.api.schemas import Strict, answers
from regulars.automations import order
from regulars.automations.problems import DefinitionError
from regulars.automations.tact import tact_of
from regulars.automations.tact_settings import change_tact, parse_quiet_hours
from regulars.hospitality import venues
from regulars.lib import clock
from regulars.organizations import audit
from regulars.organizations.access import Permission

router = Router(tags=["organization"])


class Hours(Strict):
    """Local hours of silence."""

    starts: str = Field(alias="from", max_length=8, examples=["21:00"])
    ends: str = Field(alias="until", max_length=8, examples=["10:00"])


class CapIn(Strict):
    """At most so many marketing messages to one guest in so many days."""

    messages: int = Field(ge=1, le=1000)
    days: int = Field(ge=1, le=366)


Channel = Literal["whatsapp", "sms", "email"]
Amount = Annotated[Decimal, Field(ge=0, le=1_000_000)]


class PriceIn(Strict):
    """What one message (of an SMS: one part) costs through an account."""

    account: str = Field(max_length=100, description="Its name")
    channel: Channel
    country: str = Field(default="", max_length=2, description="ISO 3166; empty: any other")
    amount: Amount


class TactChange(Strict):
    """Only what is to change; lists are replaced as a whole."""

    quiet_hours: Hours | None = Field(default=None, description="null: none, but for what the law says")
    caps: list[CapIn] = Field(default=[], max_length=4)
    ask_above_percent: int = Field(default=20, ge=0, le=100)
    prices: list[PriceIn] = Field(default=[], max_length=500)
    monthly_limits: dict[Channel, Amount] = Field(default={}, description="By channel; none: no limit")


class VenueHours(Strict):
    """A venue's own quiet hours; null: those of the organization."""

    id: Id
    quiet_hours: Hours | None


class OrganizationChange(Strict):
    """Only what is to change."""

    tact: TactChange = Field(default_factory=TactChange)
    automations: list[UUID] = Field(
        default=[], max_length=1000, description="Ids, the one that goes first on top; the others follow"
    )
    venues: list[VenueHours] = Field(default=[], max_length=1000)


class Place(Schema):
    """One automation of the list."""

    id: UUID
    name: str
    enabled: bool


class VenueOut(Schema):
    """A venue's clock."""

    id: int
    timezone: str
    quiet_hours: dict[str, str] | None


class OrganizationOut(Schema):
    """The organization's tact, its venues' clocks, and its automations in their order."""

    slug: str
    name: str
    timezone: str
    country: str
    language: str
    tact: dict[str, Any]
    automations: list[Place]
    venues: list[VenueOut]


@router.get("/organization", response=answers(OrganizationOut), operation_id="read_organization")
def read_organization(request: HttpRequest) -> Any:
    """Quiet hours, caps, and the order of the automations."""
    return _present(caller_of(request))


@router.patch("/organization", response=answers(OrganizationOut), operation_id="change_organization")
def change_organization(request: HttpRequest, change: OrganizationChange) -> Any:
    """Change some of it; all or nothing. It holds also for messages that wait already."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_AUTOMATIONS)
    try:
        with transaction.atomic():
            change_tact(caller.organization, change.tact.model_dump(exclude_unset=True, by_alias=True))
            if change.automations:
                order.reorder(caller.organization, change.automations)
            for number, venue in enumerate(change.venues):
                _give_hours(caller, number, venue)
            audit.record(caller.organization, caller.user, "organization.changed", now=clock.now())
    except DefinitionError as error:
        raise ApiError(422, "This cannot be so: see details.", details=error.details) from error
    except order.OrderError as error:
        details = [{"path": "automations", "problem": str(error)}]
        raise ApiError(422, str(error), details=details) from error
    return _present(caller)


def _give_hours(caller: Caller, number: int, venue: VenueHours) -> None:
    given = venue.quiet_hours and venue.quiet_hours.model_dump(by_alias=True)
    hours = parse_quiet_hours(given, "venues", number, "quiet_hours")
    if not venues.set_quiet_hours(caller.organization, venue.id, hours):
        words = "There is no such venue."
        raise DefinitionError([{"path": f"venues[{number}].id", "problem": words}])


def _present(caller: Caller) -> dict[str, Any]:
    names = ("slug", "name", "timezone", "country", "language")
    return {name: getattr(caller.organization, name) for name in names} | {
        "tact": tact_of(caller.organization.tact).stored(),
        "automations": order.ordered(caller.organization),
        "venues": list(venues.clocks(caller.organization).order_by("id")),
    }
