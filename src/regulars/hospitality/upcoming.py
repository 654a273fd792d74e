"""Which guests have promised to come: they get no "we miss you" (E19)."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

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
