"""Which guests have promised to come: they get no "we miss you" (E19)."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from regulars.automations.evidence import Outlook
from regulars.hospitality.facts import booking
from regulars.hospitality.models import Reservation, ReservationState
from regulars.organizations.models import Organization

if TYPE_CHECKING:
    from django.db.models import QuerySet

# A request that nobody has confirmed yet is a promise all the same.
PROMISED = (ReservationState.REQUESTED, ReservationState.CONFIRMED)


def guests_who_booked(organization: Organization, now: datetime) -> "QuerySet[Any, Any]":
    """`customer_id` of everybody with a booking that starts after `now`."""
    return Reservation.objects.filter(
        organization=organization, status__in=PROMISED, starts_at__gt=now
    ).values("customer_id")


def bookings_ahead(organization: Organization, now: datetime, customer_id: int) -> Outlook:
    """The bookings that make a guest one of them; over when the last of them has begun."""
    ahead = (
        Reservation.objects.filter(
            organization=organization, status__in=PROMISED, starts_at__gt=now, customer_id=customer_id
        )
        .select_related("venue")
        .order_by("starts_at", "pk")
    )
    rows = list(ahead)
    return Outlook(tuple(booking(row) for row in rows), rows[-1].starts_at if rows else None)
