"""What all messages about a booking have in common; who is due, each of them says for itself.

A booking's messages are service messages, and true only while the booking is as it was when they
were planned: the same guest, venue and state, and the occasion that it has now. Whatever else has
changed (a party size, the hour in a confirmation) is read when the message is written.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db.models import (
    DateTimeField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Value,
)
from django.db.models.expressions import Combinable

from regulars.automations.evidence import Evidence, Outlook
from regulars.automations.policy import Policy
from regulars.automations.triggers import DUE_COLUMNS, Trigger
from regulars.customers.models import Purpose
from regulars.hospitality import facts, variables
from regulars.hospitality.models import Reservation, ReservationState
from regulars.hospitality.triggers.audience import Joined, among
from regulars.organizations.models import Organization
from regulars.runs.models import Message, MessageState

# As many bookings as a person wants to read about.
MOST_BOOKINGS = 5


class ReservationTrigger(Trigger):
    """A booking in the future, in the state `status`."""

    purpose = Purpose.TRANSACTIONAL
    rank = 0
    policy = Policy(cooldown_days=0)
    variables = {
        "reservation": (
            "The booking: reservation.date, reservation.time, reservation.starts_at (local to the "
            "venue), reservation.party_size, reservation.id"
        )
    }
    optional = frozenset({"reservation.party_size"})
    sample = {
        "reservation": {
            "id": 1,
            "date": "2026-06-20",
            "time": "21:00",
            "starts_at": "2026-06-20T21:00",
            "party_size": 4,
        }
    }
    events = frozenset({"reservations"})
    status: ClassVar[str] = ReservationState.CONFIRMED

    def occasion(self) -> Joined:
        """The occasion of a booking, from its own columns."""
        raise NotImplementedError

    def booked(
        self, organization: Organization, now: datetime, customers: Sequence[int] | None
    ) -> "QuerySet[Reservation]":
        """The bookings of these customers that are still to come."""
        mine = Reservation.objects.filter(among(customers), organization=organization)
        return mine.filter(status=self.status, starts_at__gt=now)

    def rows(
        self, bookings: "QuerySet[Any]", due_at: Combinable, expires_at: Combinable
    ) -> "QuerySet[Any, Any]":
        """One row of `DUE_COLUMNS` for each booking."""
        found: QuerySet[Any, Any] = bookings.annotate(
            occasion=self.occasion(), due_at=due_at, expires_at=expires_at, reference=F("pk")
        ).values_list(*DUE_COLUMNS)
        return found

    def ahead(self, organization: Organization, now: datetime, customer_id: int) -> "QuerySet[Reservation]":
        """All bookings of this customer that are still to come, in whatever state."""
        mine = Reservation.objects.filter(organization=organization, customer_id=customer_id)
        return mine.filter(starts_at__gt=now).select_related("venue").order_by("starts_at", "pk")

    def told(self, row: Reservation, parameters: Any) -> list[Evidence]:
        """What there is to say of one booking to whoever asks why it is due or not."""
        return [facts.booking(row)]

    def outlook(
        self, organization: Organization, parameters: Any, now: datetime, customer_id: int
    ) -> Outlook:
        """The bookings ahead, and when the next of them falls due by the mere passing of time."""
        rows = list(self.ahead(organization, now, customer_id)[:MOST_BOOKINGS])
        if not rows:
            return Outlook((Evidence("no_booking", "There is no booking ahead."),))
        seen = tuple(fact for row in rows for fact in self.told(row, parameters))
        return Outlook(seen, self.next_due(organization, parameters, now, customer_id))

    def next_due(
        self, organization: Organization, parameters: Any, now: datetime, customer_id: int
    ) -> datetime | None:
        """When, after `now`, a booking of this customer falls due if nothing happens meanwhile."""
        coming = self.later(organization, parameters, now, [customer_id])
        return None if coming is None else min((at for _, at in coming), default=None)

    def still_valid(self, now: datetime) -> Q | None:
        """The booking is still to come, for the same guest, venue and occasion (E11, E12)."""
        same = Reservation.objects.annotate(occasion_now=self.occasion()).filter(
            pk=OuterRef("reference"),
            customer_id=OuterRef("customer_id"),
            venue_id=OuterRef("venue_id"),
            occasion_now=OuterRef("occasion"),
            status=self.status,
            starts_at__gt=now,
        )
        return Q(Exists(same))

    def details(self, references: Sequence[int]) -> "QuerySet[Any, Any] | None":
        """The booking that each reference names, with its venue's zone."""
        return Reservation.objects.filter(pk__in=references).values(
            "starts_at", "party_size", reference=F("id"), timezone=F("venue__timezone")
        )

    def present(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"reservation": variables.reservation(row)}


def shifted(moment: "str | F | OuterRef", span: timedelta) -> "ExpressionWrapper[Any]":
    """A moment so much later."""
    start = F(moment) if isinstance(moment, str) else moment
    return ExpressionWrapper(start + Value(span, DurationField()), output_field=DateTimeField())


def confirmations() -> "QuerySet[Message]":
    """Every message planned to confirm the outer booking, whatever became of it."""
    return Message.objects.filter(
        customer_id=OuterRef("customer_id"), occasion=Joined("reservation:", OuterRef("pk"), ":confirmed")
    )


def never_told() -> Q:
    """A confirmation of the outer booking was planned, and none has left: the guest knows nothing of it."""
    planned = Exists(confirmations().filter(state__in=UNSENT))
    return Q(planned) & ~Q(Exists(confirmations().exclude(state__in=UNSENT)))


# What never left: nobody has read it.
UNSENT = (MessageState.QUEUED, MessageState.WITHHELD)
