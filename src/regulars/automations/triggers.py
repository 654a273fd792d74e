"""The trigger contract and its registry. Packs register triggers; nobody here imports a pack.

A trigger is a query: who is due, about what, from when until when. The same path serves a run by
hand, the schedule, and events; an event merely passes the customers it is about.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from pydantic import BaseModel, ConfigDict

from regulars.automations.evidence import Outlook
from regulars.automations.policy import Policy
from regulars.customers.models import Purpose
from regulars.organizations.models import Organization

# The columns of `Trigger.due`, in this order.
DUE_COLUMNS = ("customer_id", "occasion", "due_at", "expires_at", "venue_id", "reference")


class Parameters(BaseModel):
    """Base of a trigger's parameters: unknown names are refused, so that a typo is not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Trigger(ABC):
    """What makes customers due.

    Class attributes:
        kind: its name in the API (`inactive`, ...).
        label: its name for people.
        purpose: marketing or transactional; decides consent, cooldown and caps.
        family: automations of one family share a cooldown; empty means each its own.
        rank: its automations' place in the organization's list until the owner moves them: the lower
            goes first where the cap allows one message (E44).
        parameters: the model of its settings with their defaults.
        policy: the default policy.
        variables: names a template may use besides the common ones, with their meaning.
        sample: an example value for each of `variables`, to check templates with.
        optional: full names (`visit.amount`) of those that may have no value: a template must give
            them a fallback before it is switched on (E27).
        events: what it hears of (`visits`, `reservations`): a change there may make somebody due.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    purpose: ClassVar[Purpose]
    family: ClassVar[str] = ""
    rank: ClassVar[int] = 90
    parameters: ClassVar[type[Parameters]]
    policy: ClassVar[Policy] = Policy()
    variables: ClassVar[dict[str, str]] = {}
    sample: ClassVar[dict[str, Any]] = {}
    optional: ClassVar[frozenset[str]] = frozenset()
    events: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def due(
        self,
        organization: Organization,
        parameters: Any,
        now: datetime,
        customers: Sequence[int] | None = None,
    ) -> "QuerySet[Any, Any]":
        """Rows `DUE_COLUMNS` (a values_list): every (customer, occasion) that is due at `now`.

        `due_at` and `expires_at` are moments; `expires_at` may be null (never too late). Rows whose
        lateness limit has passed are still returned for one limit's length, so that they are
        skipped as `expired` with a record instead of vanishing. `venue_id` may be null; `reference`
        is the id of the visit or reservation that the occasion is about, or null. At most one row
        per (customer, occasion).
        """

    def once_a_guest(self, parameters: Any) -> bool:
        """Whether `due` has at most one row a customer; a promise that saves sorting all of them."""
        return False

    def still_valid(self, now: datetime) -> Q | None:
        """A condition over `Message` (OuterRef: `reference`, `customer_id`, `occasion`) that must hold
        at the moment of hand-over, or None where nothing can change (E11)."""
        return None

    @property
    def follows_event(self) -> bool:
        """Whether what comes in makes customers due at any minute, so that it may run as it happens."""
        return bool(self.events)

    def outlook(
        self, organization: Organization, parameters: Any, now: datetime, customer_id: int
    ) -> Outlook:
        """Why one customer is due or not, in facts; asked by people, never by a run.

        `next_at` is the first moment after `now` at which a further occasion falls due if nothing
        happens meanwhile: then, and not before, `due` returns a row with that `due_at`. None: it
        takes more than time (a visit, a booking, a tier).
        """
        return Outlook()

    def later(
        self, organization: Organization, parameters: Any, now: datetime, customers: Sequence[int]
    ) -> "QuerySet[Any, Any] | None":
        """Rows `(customer_id, at)` (a values_list): when, after `now`, these customers become due by the
        mere passing of time. None: who is due because of an event is due at once."""
        return None

    def details(self, references: Sequence[int]) -> "QuerySet[Any, Any] | None":
        """Rows of `values("reference", <variables...>)` for these references, or None if there are none."""
        return None

    def present(self, row: dict[str, Any]) -> dict[str, Any]:
        """Turn a row of `details`, plus `now`, into template variables (moments into local time)."""
        return row


_triggers: dict[str, Trigger] = {}
_venues: list[Callable[[Sequence[int]], "QuerySet[Any, Any]"]] = []
_timezones: list[Callable[[Organization], "QuerySet[Any, Any]"]] = []
_clocks: list[Callable[[Organization], "QuerySet[Any, Any]"]] = []
_upcoming: list[Callable[[Organization, datetime], "QuerySet[Any, Any]"]] = []
_promises: list[Callable[[Organization, datetime, int], Outlook]] = []


class UnknownTriggerError(LookupError):
    """There is no trigger of this kind."""


def register(trigger: Trigger) -> None:
    """Make a trigger known; called by a pack when it is loaded."""
    _triggers[trigger.kind] = trigger


def get(kind: str) -> Trigger:
    """The trigger called `kind`.

    Raises:
        UnknownTriggerError: with the names that exist.
    """
    try:
        return _triggers[kind]
    except KeyError:
        names = ", ".join(sorted(_triggers))
        raise UnknownTriggerError(f"There is no trigger “{kind}”. Known triggers: {names}.") from None


def all_triggers() -> list[Trigger]:
    """Every registered trigger, in the order of registration."""
    return list(_triggers.values())


def register_upcoming(query: Callable[[Organization, datetime], "QuerySet[Any, Any]"]) -> None:
    """A pack tells which customers have promised to come: a query of `customer_id` values."""
    _upcoming.append(query)


def upcoming(organization: Organization, now: datetime) -> list["QuerySet[Any, Any]"]:
    """The queries of customers who have booked after `now` (E19)."""
    return [query(organization, now) for query in _upcoming]


def register_promises(tell: Callable[[Organization, datetime, int], Outlook]) -> None:
    """A pack tells what one customer has promised: the bookings, and when the last of them is over."""
    _promises.append(tell)


def promises(organization: Organization, now: datetime, customer_id: int) -> list[Outlook]:
    """What the packs know about why this customer is among the `upcoming`."""
    return [tell(organization, now, customer_id) for tell in _promises]


def register_venues(query: Callable[[Sequence[int]], "QuerySet[Any, Any]"]) -> None:
    """A pack tells what a `venue_id` means: a query of `values("id", "name", "timezone")`."""
    _venues.append(query)


def register_timezones(query: Callable[[Organization], "QuerySet[Any, Any]"]) -> None:
    """A pack tells in which zones an organization has places: a query of `timezone` values."""
    _timezones.append(query)


def timezones(organization: Organization) -> list[str]:
    """The zones in which a schedule may be meant: the organization's own first, then its venues'."""
    found = {zone for query in _timezones for zone in query(organization)} - {organization.timezone}
    return [organization.timezone, *sorted(found)]


def venues(ids: Sequence[int]) -> list["QuerySet[Any, Any]"]:
    """The queries of the venues with these ids."""
    return [query(ids) for query in _venues]


def register_clocks(query: Callable[[Organization], "QuerySet[Any, Any]"]) -> None:
    """A pack tells by what clock its venues live: a query of `values("id", "timezone", "quiet_hours")`,
    the last as JSON, null where the organization's hold."""
    _clocks.append(query)


def clocks(organization: Organization) -> list["QuerySet[Any, Any]"]:
    """The queries of the clocks of an organization's venues."""
    return [query(organization) for query in _clocks]
