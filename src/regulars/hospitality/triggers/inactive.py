"""Guests who have stayed away: "we miss you"."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Self

from django.db.models import (
    Case,
    DateField,
    DateTimeField,
    Exists,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Cast
from pydantic import Field, model_validator

from regulars.automations.evidence import Evidence, Outlook
from regulars.automations.policy import Policy
from regulars.automations.triggers import DUE_COLUMNS, Parameters, Trigger
from regulars.customers.models import Purpose
from regulars.hospitality import facts, variables
from regulars.hospitality.calendar import (
    PlusDays,
    ServiceDay,
    day_start,
    day_start_sql,
    service_days,
)
from regulars.hospitality.models import Visit, VisitState, VisitSummary
from regulars.hospitality.triggers.audience import NOBODY, Iso, Joined, among
from regulars.organizations.models import Organization


class InactiveParameters(Parameters):
    """How long a guest must have stayed away; days are local service days (E7, E8)."""

    days: int = Field(default=60, ge=1, le=3650, description="Days since the last visit")
    min_visits: int = Field(default=2, ge=1, le=1000, description="Least number of visits so far")
    max_days: int = Field(
        default=365, ge=1, le=3650, description="Leave out guests who stayed away for longer"
    )
    repeat_days: int | None = Field(default=None, ge=1, le=3650, description="Days until it is written again")

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.max_days < self.days:
            raise ValueError(
                f"max_days ({self.max_days}) is less than days ({self.days}), so that nobody could "
                "ever match. Make max_days at least as large as days."
            )
        return self


class Inactive(Trigger):
    """Due when the last visit lies `days` to `max_days` local days back."""

    kind = "inactive"
    label = "We miss you"
    purpose = Purpose.MARKETING
    family = "win_back"
    rank = 60
    parameters = InactiveParameters
    policy = Policy(cooldown_days=60, skip_upcoming_reservation=True)
    variables = {"last_visit": "The last visit: last_visit.date, and last_visit.days since then"}
    sample = {"last_visit": {"date": "2026-04-12", "days": 64}}

    def due(
        self,
        organization: Organization,
        parameters: InactiveParameters,
        now: datetime,
        customers: Sequence[int] | None = None,
    ) -> "QuerySet[Any, Any]":
        """One row for each guest, about the last visit; the occasion carries its service date.

        A guest beyond `max_days` is no longer part of the audience, so is not returned as expired.
        """
        calendars = service_days(organization, now)
        lapsed = VisitSummary.objects.filter(
            among(customers), _lapsed(calendars, parameters), organization=organization
        )
        return (
            lapsed.filter(completed__gte=parameters.min_visits)
            .annotate(repeat=_repeat(calendars, parameters))
            .annotate(
                occasion=_occasion(parameters),
                due_at=_due_at(calendars, parameters),
                expires_at=_expires_at(calendars, parameters),
                venue_id=F("last_venue_id"),
                reference=F("last_visit_id"),
            )
            .values_list(*DUE_COLUMNS)
        )

    def once_a_guest(self, parameters: InactiveParameters) -> bool:
        return True

    def still_valid(self, now: datetime) -> Q | None:
        """The guest has not come since the visit that the message is about."""
        about = Visit.objects.filter(pk=OuterRef("reference"), state=VisitState.COMPLETED)
        return Q(Exists(about.filter(~Exists(_later_visits()))))

    def outlook(
        self, organization: Organization, parameters: InactiveParameters, now: datetime, customer_id: int
    ) -> Outlook:
        """The last visit, how many there were, and from when until when its lapse counts."""
        found = VisitSummary.objects.filter(organization=organization, customer_id=customer_id)
        summary = found.select_related("last_visit__venue").first()
        if summary is None:
            return Outlook((facts.NO_VISIT,))
        seen = (facts.last_visit(summary.last_visit), _visit_count(summary.completed, parameters))
        if summary.completed < parameters.min_visits:
            return Outlook(seen)
        since, over, later = _lapse(summary.last_visit, parameters, now)
        return Outlook((*seen, since, over), later)

    def details(self, references: Sequence[int]) -> "QuerySet[Any, Any] | None":
        """The visit each reference names, with what its venue's calendar needs."""
        return Visit.objects.filter(pk__in=references).values(
            "service_date",
            reference=F("id"),
            timezone=F("venue__timezone"),
            day_starts_at_hour=F("venue__day_starts_at_hour"),
        )

    def present(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"last_visit": variables.last_visit(row, row["now"])}


def _visit_count(completed: int, parameters: InactiveParameters) -> Evidence:
    return Evidence(
        "visit_count",
        "Visits so far: %(count)s. At least %(least)s are asked for.",
        {"count": completed, "least": parameters.min_visits},
    )


def _lapse(
    visit: Visit, parameters: InactiveParameters, now: datetime
) -> tuple[Evidence, Evidence, datetime | None]:
    """From when it is due, from when it is over, and the next message that falls due in between."""
    venue, seen = visit.venue, visit.service_date

    def start(days: int) -> datetime:
        return day_start(seen + timedelta(days=days), venue.timezone, venue.day_starts_at_hour)

    step = parameters.repeat_days or parameters.max_days
    turns = (start(days) for days in range(parameters.days, parameters.max_days + 1, step))
    since = facts.due_from(seen + timedelta(days=parameters.days), start(parameters.days))
    end = parameters.max_days + 1
    over = facts.too_late(seen + timedelta(days=end), start(end))
    return since, over, next((turn for turn in turns if turn > now), None)


def _window(day: ServiceDay, parameters: InactiveParameters) -> tuple[date, date]:
    """First and last service date that count as stayed away today."""
    return (
        day.today - timedelta(days=parameters.max_days),
        day.today - timedelta(days=parameters.days),
    )


def _lapsed(calendars: list[ServiceDay], parameters: InactiveParameters) -> Q:
    """The last visit's date is in the window of its own venue.

    Said as one range that an index answers, less what lies outside the window of some venue: where all
    venues agree what day it is (all day but for an hour or so), the range is all there is to say, and
    the database estimates it well.
    """
    if not calendars:
        return Q(customer_id=NOBODY)
    windows = [_window(day, parameters) for day in calendars]
    whole = (min(first for first, _ in windows), max(last for _, last in windows))
    matching = Q(last_service_date__range=whole)
    for day, window in zip(calendars, windows, strict=True):
        if window != whole:
            matching &= ~Q(Q(last_venue_id__in=day.venue_ids), ~Q(last_service_date__range=window))
    return matching


def _later_visits() -> "QuerySet[Any, Any]":
    """Completed visits of the same guest that come after the outer one."""
    same_guest = Visit.objects.filter(
        customer_id=OuterRef("customer_id"),
        state=VisitState.COMPLETED,
        # Implied by what follows; said apart because an index can answer it.
        service_date__gte=OuterRef("service_date"),
    )
    later_that_day = Q(visited_at__gt=OuterRef("visited_at")) | Q(
        visited_at=OuterRef("visited_at"), pk__gt=OuterRef("pk")
    )
    return same_guest.filter(Q(service_date__gt=OuterRef("service_date")) | later_that_day)


class _DaysBetween(Func):
    """`date - date`: whole days, as SQL."""

    template = "(%(expressions)s)"
    arg_joiner = " - "
    output_field = IntegerField()


def _repeat(calendars: list[ServiceDay], parameters: InactiveParameters) -> Any:
    """Which repeat of the message today's is: 0 for the first."""
    if parameters.repeat_days is None or not calendars:
        return Value(0)
    today = _by_venue([(day, Value(day.today)) for day in calendars], DateField())
    overdue = _DaysBetween(today, F("last_service_date")) - Value(parameters.days)
    return Cast(overdue, IntegerField()) / Value(parameters.repeat_days)


def _due_at(calendars: list[ServiceDay], parameters: InactiveParameters) -> Any:
    """The start of the service day on which this (repeat of the) message fell due."""
    after: Any = Value(parameters.days)
    if parameters.repeat_days is not None:
        after += F("repeat") * Value(parameters.repeat_days)
    branches = []
    for day in calendars:
        reach = (_window(day, parameters)[0] + timedelta(days=parameters.days), day.today)
        branches.append((day, _start(day, after, reach)))
    return _by_venue(branches, DateTimeField())


def _expires_at(calendars: list[ServiceDay], parameters: InactiveParameters) -> Any:
    """The start of the service day on which the guest is beyond `max_days`."""
    span = timedelta(days=parameters.max_days + 1)
    branches = []
    for day in calendars:
        first, last = _window(day, parameters)
        branches.append((day, _start(day, Value(span.days), (first + span, last + span))))
    return _by_venue(branches, DateTimeField())


def _start(day: ServiceDay, after: Any, reach: tuple[date, date]) -> Case:
    shifted = PlusDays(F("last_service_date"), after)
    return day_start_sql(shifted, reach, day.timezone, day.starts_at_hour)


def _by_venue(branches: list[tuple[ServiceDay, Any]], field: Any) -> Any:
    """The expression of the visit's venue; one calendar, as most have, needs no case."""
    if len(branches) == 1:
        return branches[0][1]
    if not branches:
        # No venue yet, so nobody is due; typed, because a bare NULL would be text.
        return Cast(Value(None), field)
    cases = (When(last_venue_id__in=day.venue_ids, then=value) for day, value in branches)
    return Case(*cases, output_field=field)


def _occasion(parameters: InactiveParameters) -> Any:
    """`lapse:<date>`, and `:<n>` for the n-th repeat."""
    lapse = ("lapse:", Iso(F("last_service_date")))
    if parameters.repeat_days is None:
        return Joined(*lapse)
    return Case(When(repeat=0, then=Joined(*lapse)), default=Joined(*lapse, ":", F("repeat")))
