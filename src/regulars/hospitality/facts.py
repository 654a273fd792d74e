"""What a restaurant's triggers tell about one guest: visits and bookings as evidence.

Pure: rows of the database go in. Dates are service days, moments are in the venue's zone.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from regulars.automations.evidence import Evidence, Term
from regulars.hospitality.models import Reservation, Visit

NO_VISIT = Evidence("no_visit", "There is no visit on record.")


def last_visit(visit: Visit) -> Evidence:
    """When and where the guest ate last."""
    return Evidence(
        "last_visit",
        "The last visit was on %(date)s, at %(venue)s.",
        {"date": visit.service_date, "venue": visit.venue.name},
        visit.visited_at,
        visit.pk,
    )


def booking(reservation: Reservation) -> Evidence:
    """A booking and its state."""
    starts = reservation.starts_at.astimezone(ZoneInfo(reservation.venue.timezone))
    return Evidence(
        "booking",
        "There is a booking for %(moment)s, at %(venue)s (%(state)s).",
        {
            "moment": starts,
            "venue": reservation.venue.name,
            "state": Term(reservation.status.replace("_", " ")),
        },
        reservation.starts_at,
        reservation.pk,
    )


def due_from(day: date | datetime, at: datetime) -> Evidence:
    """Since when, or from when on, an occasion is due."""
    return Evidence("due_from", "It is due from %(date)s.", {"date": day}, at)


def too_late(day: date | datetime, at: datetime) -> Evidence:
    """Since when, or from when on, it is too late."""
    return Evidence("too_late", "It is too late from %(date)s.", {"date": day}, at)
