"""Confirmations of bookings."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

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
from django.db.models.functions import Least
from pydantic import Field

from regulars.automations.policy import Policy
from regulars.automations.triggers import DUE_COLUMNS, Parameters, Trigger
from regulars.customers.models import Purpose
from regulars.hospitality import variables
from regulars.hospitality.models import Reservation, ReservationState
from regulars.hospitality.triggers.audience import Joined, among
from regulars.organizations.models import Organization


class ReservationConfirmationParameters(Parameters):
    """How late a confirmation may be."""

    max_late_hours: int = Field(
        default=24, ge=1, le=24 * 30, description="Hours after the booking was confirmed (E15)"
    )


class ReservationConfirmation(Trigger):
    """Due as soon as a booking is confirmed, until it starts or the message would be too late."""

    kind = "reservation_confirmation"
    label = "Reservation confirmation"
    purpose = Purpose.TRANSACTIONAL
    rank = 0
    parameters = ReservationConfirmationParameters
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
        too_late = ExpressionWrapper(
            F("confirmed_at") + Value(late, DurationField()), output_field=DateTimeField()
        )
        return (
            Reservation.objects.filter(among(customers), organization=organization)
            .filter(
                status=ReservationState.CONFIRMED,
                starts_at__gt=now,
                confirmed_at__lte=now,
                confirmed_at__gt=now - 2 * late,
            )
            .annotate(
                occasion=Joined("reservation:", F("pk"), ":confirmed"),
                due_at=F("confirmed_at"),
                expires_at=Least(too_late, F("starts_at")),
                reference=F("pk"),
            )
            .values_list(*DUE_COLUMNS)
        )

    def still_valid(self, now: datetime) -> Q | None:
        """The booking is still confirmed and still to come (E11)."""
        return Q(
            Exists(
                Reservation.objects.filter(
                    pk=OuterRef("reference"),
                    status=ReservationState.CONFIRMED,
                    starts_at__gt=now,
                )
            )
        )

    def details(self, references: Sequence[int]) -> "QuerySet[Any, Any] | None":
        """The booking that each reference names, with its venue's zone."""
        return Reservation.objects.filter(pk__in=references).values(
            "starts_at", "party_size", reference=F("id"), timezone=F("venue__timezone")
        )

    def present(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"reservation": variables.reservation(row)}
