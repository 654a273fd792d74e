"""Notices that a booking is cancelled."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Least
from pydantic import Field

from regulars.automations.triggers import Parameters
from regulars.hospitality.models import ReservationState
from regulars.hospitality.triggers.audience import Joined
from regulars.hospitality.triggers.reservations import ReservationTrigger, never_told, shifted
from regulars.organizations.models import Organization


class ReservationCancellationParameters(Parameters):
    """How late a notice may be."""

    max_late_hours: int = Field(
        default=24, ge=1, le=24 * 30, description="Hours after the cancellation (E15)"
    )


class ReservationCancellation(ReservationTrigger):
    """Due when a confirmed booking is cancelled before its time.

    Not where our confirmation had not left yet: the guest never heard of the booking from us (E11).
    """

    kind = "reservation_cancellation"
    label = "Reservation cancellation"
    parameters = ReservationCancellationParameters
    status = ReservationState.CANCELLED

    def occasion(self) -> Joined:
        """Once for each booking as it was: one that is taken up again and changed is another."""
        return Joined("reservation:", F("pk"), ":cancelled:", F("revision"))

    def due(
        self,
        organization: Organization,
        parameters: ReservationCancellationParameters,
        now: datetime,
        customers: Sequence[int] | None = None,
    ) -> "QuerySet[Any, Any]":
        """One row for each cancelled booking in the future; late ones for one limit more.

        One of which nobody knows when it was cancelled is never due.
        """
        late = timedelta(hours=parameters.max_late_hours)
        bookings = (
            self.booked(organization, now, customers)
            .filter(cancelled_at__lte=now, cancelled_at__gt=now - 2 * late)
            .exclude(never_told())
        )
        return self.rows(bookings, F("cancelled_at"), Least(shifted("cancelled_at", late), F("starts_at")))
