"""Notices that a booking has changed."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Least
from pydantic import Field

from regulars.automations.triggers import Parameters
from regulars.hospitality.triggers.audience import Joined
from regulars.hospitality.triggers.reservations import (
    ReservationTrigger,
    confirmations,
    never_told,
    shifted,
)
from regulars.organizations.models import Organization
from regulars.runs.models import MessageState

# A confirmation accepted later than this after a change was written after it.
_WRITTEN_ANEW = timedelta(minutes=1)


class ReservationChangeParameters(Parameters):
    """How late a notice may be."""

    max_late_hours: int = Field(default=24, ge=1, le=24 * 30, description="Hours after the change (E15)")


class ReservationChange(ReservationTrigger):
    """Due when a confirmed booking gets another time, venue or party size, or is taken up again after it
    was cancelled; once for each change (E12).

    Only the last change counts: a notice that has not left yet is replaced. A confirmation that has
    not left yet says what the booking is now, and is the notice.
    """

    kind = "reservation_change"
    label = "Reservation change"
    parameters = ReservationChangeParameters

    def occasion(self) -> Joined:
        """Once for each revision."""
        return Joined("reservation:", F("pk"), ":changed:", F("revision"))

    def due(
        self,
        organization: Organization,
        parameters: ReservationChangeParameters,
        now: datetime,
        customers: Sequence[int] | None = None,
    ) -> "QuerySet[Any, Any]":
        """One row for each changed booking in the future; late ones for one limit more."""
        late = timedelta(hours=parameters.max_late_hours)
        told = confirmations().filter(
            Q(state=MessageState.QUEUED) | Q(accepted_at__gt=shifted(OuterRef("changed_at"), _WRITTEN_ANEW))
        )
        bookings = (
            self.booked(organization, now, customers)
            .filter(changed_at__lte=now, changed_at__gt=now - 2 * late)
            .filter(Q(confirmed_at=None) | Q(confirmed_at__lt=F("changed_at")))
            .exclude(Exists(told))
            .exclude(never_told())
        )
        return self.rows(bookings, F("changed_at"), Least(shifted("changed_at", late), F("starts_at")))
