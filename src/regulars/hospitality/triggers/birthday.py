"""Birthdays, early enough to book a table."""

import calendar
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Case, DateField, F, Func, IntegerField, Q, QuerySet, Value, When
from pydantic import Field

from regulars.automations.evidence import Evidence, Outlook
from regulars.automations.policy import Policy
from regulars.automations.triggers import DUE_COLUMNS, Parameters, Trigger
from regulars.customers.models import Customer, Purpose
from regulars.hospitality import facts, variables
from regulars.hospitality.calendar import (
    PlusDays,
    birthdays_kept_on,
    day_start,
    day_start_sql,
    days_between,
    home,
    observed_birthday,
)
from regulars.hospitality.triggers.audience import Joined, among, number
from regulars.lib.clock import local_date
from regulars.organizations.models import Organization

# The bound of the lead. Between the end of a birthday and the first message of the next one
# lie at least 365 - 60 - 1 days, so that the default cooldown never blocks it: leap years and a
# changed lead included.
MOST_LEAD_DAYS = 60
# One reward a year even if the date is edited (E48); within one year the key sees to it as well.
COOLDOWN_DAYS = 300


class BirthdayParameters(Parameters):
    """How long before the day the message may go."""

    lead_days: int = Field(
        default=7, ge=0, le=MOST_LEAD_DAYS, description="Days before the birthday; 0: on the day"
    )


class Birthday(Trigger):
    """Due from `lead_days` before the birthday until its end, in the zone of the first venue."""

    kind = "birthday"
    label = "Birthday"
    purpose = Purpose.MARKETING
    rank = 20
    parameters = BirthdayParameters
    policy = Policy(cooldown_days=COOLDOWN_DAYS)
    variables = {"birthday": "The birthday: birthday.date, birthday.day, birthday.month"}
    sample = {"birthday": {"date": "2026-06-22", "day": 22, "month": 6}}

    def due(
        self,
        organization: Organization,
        parameters: BirthdayParameters,
        now: datetime,
        customers: Sequence[int] | None = None,
    ) -> "QuerySet[Any, Any]":
        """One row for each guest whose birthday is near; the occasion carries its year (E2).

        A birthday that has passed is returned for as many days again as the lead (at least one),
        so that a missed one is skipped as expired with a record (E3). `reference` is the
        customer's id.
        """
        where = home(organization)
        today = local_date(now, where.timezone)
        first = today - timedelta(days=max(parameters.lead_days, 1))
        last = today + timedelta(days=parameters.lead_days)
        reach = (first - timedelta(days=MOST_LEAD_DAYS), last + timedelta(days=1))
        kept = _kept_day(first, last)
        return (
            Customer.objects.filter(among(customers, "pk"), _birthdays(first, last))
            .filter(organization=organization)
            .annotate(
                customer_id=F("pk"),
                occasion=Joined("birthday:", _year(first, last)),
                due_at=day_start_sql(PlusDays(kept, Value(-parameters.lead_days)), reach, where.timezone),
                expires_at=day_start_sql(PlusDays(kept, Value(1)), reach, where.timezone),
                venue_id=number(where.venue_id),
                reference=F("pk"),
            )
            .values_list(*DUE_COLUMNS)
        )

    def once_a_guest(self, parameters: BirthdayParameters) -> bool:
        return True

    def outlook(
        self, organization: Organization, parameters: BirthdayParameters, now: datetime, customer_id: int
    ) -> Outlook:
        """The next birthday, and from which day on the message may go."""
        guest = Customer.objects.filter(organization=organization, pk=customer_id).first()
        if guest is None or guest.birth_month is None or guest.birth_day is None:
            return Outlook((Evidence("no_birthday", "The birthday is not known."),))
        zone = home(organization).timezone
        today, lead = local_date(now, zone), timedelta(days=parameters.lead_days)
        try:
            years = range(today.year, today.year + 3)
            kept = [observed_birthday(year, guest.birth_month, guest.birth_day) for year in years]
        except ValueError:
            return Outlook((Evidence("no_birthday", "The birthday on record is no day of any year."),))
        coming = next(day for day in kept if day >= today)
        starts = [day_start(day - lead, zone) for day in kept]
        birthday = Evidence(
            "birthday", "The birthday is on %(date)s.", {"date": coming}, day_start(coming, zone)
        )
        since = facts.due_from(coming - lead, day_start(coming - lead, zone))
        return Outlook((birthday, since), next(start for start in starts if start > now))

    def details(self, references: Sequence[int]) -> "QuerySet[Any, Any] | None":
        """Day and month of the customer that each reference names."""
        return Customer.objects.filter(pk__in=references).values(
            "birth_month", "birth_day", reference=F("id")
        )

    def present(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"birthday": variables.birthday(row, row["now"])}


def _birthdays(first: date, last: date) -> Q:
    """Born on a day that is kept between these dates."""
    days: dict[int, list[int]] = defaultdict(list)
    for kept in days_between(first, last):
        for month, day in birthdays_kept_on(kept):
            days[month].append(day)
    matching = Q()
    for month, numbers in days.items():
        matching |= Q(birth_month=month, birth_day__in=numbers)
    return matching


def _year_of_month(month: int, first: date, last: date) -> int:
    """The year in which `month` lies between two dates less than a year apart."""
    return first.year if month >= first.month else last.year


def _year(first: date, last: date) -> Any:
    """The year of the birthday: there are two candidates only where the dates span a new year."""
    if first.year == last.year:
        return Value(first.year)
    return Case(
        When(birth_month__gte=first.month, then=Value(first.year)),
        default=Value(last.year),
        output_field=IntegerField(),
    )


class _NthDay(Func):
    """A day of a year. Never an error, even for a 31 February that the filter has yet to drop."""

    template = "(%(expressions)s)::date"
    arg_joiner = " + "
    output_field = DateField()


class _Span(Func):
    """So many months or days after the first, as SQL."""

    output_field = IntegerField()


def _kept_day(first: date, last: date) -> Any:
    """The date of the birthday between `first` and `last`; 29 February may be the 28th (E1)."""
    new_year = Func(
        _year(first, last),
        Value(1),
        Value(1),
        function="make_date",
        output_field=DateField(),
    )
    day: Any = F("birth_day")
    if not calendar.isleap(_year_of_month(2, first, last)):
        day = Case(
            When(birth_month=2, birth_day=29, then=Value(28)),
            default=day,
            output_field=IntegerField(),
        )
    months = _Span(F("birth_month"), template="interval '1 month' * (%(expressions)s - 1)")
    days = _Span(day, template="interval '1 day' * (%(expressions)s - 1)")
    return _NthDay(new_year, months, days)
