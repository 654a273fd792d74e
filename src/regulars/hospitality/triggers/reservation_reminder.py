"""Reminders of bookings."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Self

from django.db.models import F, Func, Q, QuerySet, TextField
from pydantic import Field, model_validator

from regulars.automations.triggers import Parameters
from regulars.hospitality.triggers.audience import Joined
from regulars.hospitality.triggers.reservations import ReservationTrigger, shifted
from regulars.organizations.models import Organization


class ReservationReminderParameters(Parameters):
    """When a reminder goes, and until when it may."""

    hours_before: int = Field(default=24, ge=1, le=24 * 30, description="Hours before the booking")
    latest_hours_before: int = Field(
        default=1, ge=0, le=24 * 30, description="Not sent when fewer hours than this are left"
    )

    @model_validator(mode="after")
    def _some_time_between(self) -> Self:
        if self.latest_hours_before >= self.hours_before:
            raise ValueError("latest_hours_before must be less than hours_before")
        return self


class _Minute(Func):
    """A moment as `2026-06-20T19:00`, in UTC whatever the session's zone."""

    template = "to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI')"
    output_field = TextField()


class ReservationReminder(ReservationTrigger):
    """Due `hours_before` a confirmed booking begins; once for each time that it is booked for.

    Not where it was confirmed or changed later than that: the guest has it fresh in mind (E16).
    """

    kind = "reservation_reminder"
    label = "Reservation reminder"
    parameters = ReservationReminderParameters

    def occasion(self) -> Joined:
        """The time is part of it: a booking that is moved to another day is reminded of anew."""
        return Joined("reservation:", F("pk"), ":reminder:", _Minute(F("starts_at")))

    def due(
        self,
        organization: Organization,
        parameters: ReservationReminderParameters,
        now: datetime,
        customers: Sequence[int] | None = None,
    ) -> "QuerySet[Any, Any]":
        """One row for each booking that is so near; those for which it is too late until they begin."""
        before = timedelta(hours=parameters.hours_before)
        bookings = self._reminded(organization, now, customers, before).filter(starts_at__lte=now + before)
        latest = timedelta(hours=parameters.latest_hours_before)
        return self.rows(bookings, shifted("starts_at", -before), shifted("starts_at", -latest))

    def later(
        self,
        organization: Organization,
        parameters: ReservationReminderParameters,
        now: datetime,
        customers: Sequence[int],
    ) -> "QuerySet[Any, Any] | None":
        """Their bookings that are not so near yet."""
        before = timedelta(hours=parameters.hours_before)
        bookings = self._reminded(organization, now, customers, before).filter(starts_at__gt=now + before)
        return bookings.values_list("customer_id", shifted("starts_at", -before))

    def _reminded(
        self,
        organization: Organization,
        now: datetime,
        customers: Sequence[int] | None,
        before: timedelta,
    ) -> "QuerySet[Any]":
        at = shifted("starts_at", -before)
        return self.booked(organization, now, customers).filter(
            Q(confirmed_at=None) | Q(confirmed_at__lte=at), Q(changed_at=None) | Q(changed_at__lte=at)
        )
