"""Confirmations of bookings."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Least
from pydantic import Field

from regulars.automations.evidence import Evidence
from regulars.automations.triggers import Parameters
from regulars.hospitality import facts
from regulars.hospitality.models import Reservation, ReservationState
from regulars.hospitality.triggers.audience import Joined
from regulars.hospitality.triggers.reservations import ReservationTrigger, shifted
from regulars.organizations.models import Organization


class ReservationConfirmationParameters(Parameters):
    """How late a confirmation may be."""

    max_late_hours: int = Field(
        default=24, ge=1, le=24 * 30, description="Hours after the booking was confirmed (E15)"
    )


class ReservationConfirmation(ReservationTrigger):
    """Due as soon as a booking is confirmed, until it starts or the message would be too late."""

    kind = "reservation_confirmation"
    label = "Reservation confirmation"
    parameters = ReservationConfirmationParameters

    def occasion(self) -> Joined:
        """Once for each booking, however often it changes."""
        return Joined("reservation:", F("pk"), ":confirmed")

    def due(
        self,
        organization: Organization,
        parameters: ReservationConfirmationParameters,
        now: datetime,
        customers: Sequence[int] | None = None,
    ) -> "QuerySet[Any, Any]":
        """One row for each confirmed booking in the future; late ones for one limit more.

        A booking of which nobody knows when it was confirmed is never due: it may be months old,
        and a confirmation out of the blue alarms (E15, E51).
        """
        late = timedelta(hours=parameters.max_late_hours)
        bookings = self.booked(organization, now, customers).filter(
            confirmed_at__lte=now, confirmed_at__gt=now - 2 * late
        )
        return self.rows(bookings, F("confirmed_at"), Least(shifted("confirmed_at", late), F("starts_at")))

    def told(self, row: Reservation, parameters: ReservationConfirmationParameters) -> list[Evidence]:
        """The booking; and where it is confirmed, since when, and until when one may say so."""
        if row.status != ReservationState.CONFIRMED:
            return [facts.booking(row)]
        if row.confirmed_at is None:
            unknown = Evidence("no_confirmation", "When it was confirmed is not known, so it is never due.")
            return [facts.booking(row), unknown]
        over = min(row.confirmed_at + timedelta(hours=parameters.max_late_hours), row.starts_at)
        return [
            facts.booking(row),
            facts.due_from(row.confirmed_at, row.confirmed_at),
            facts.too_late(over, over),
        ]

    def next_due(
        self,
        organization: Organization,
        parameters: ReservationConfirmationParameters,
        now: datetime,
        customer_id: int,
    ) -> datetime | None:
        """A source whose clock is ahead may have confirmed a booking in our future."""
        confirmed = self.ahead(organization, now, customer_id).filter(
            status=ReservationState.CONFIRMED, confirmed_at__gt=now, starts_at__gt=F("confirmed_at")
        )
        return confirmed.order_by("confirmed_at").values_list("confirmed_at", flat=True).first()
