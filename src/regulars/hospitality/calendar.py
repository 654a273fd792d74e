"""What day it is in a restaurant: service days, local midnights, birthdays, periods.

Owns every question of the kind "which date is it there" and the way such dates enter a query. All
zone arithmetic is Python's (zoneinfo): SQL is handed ready dates and offsets and never asks for the
time, so that a dry run on a frozen clock is exact and one time zone database decides.
"""

import calendar
import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Case, DateField, DateTimeField, Func, Value, When
from django.db.models.lookups import GreaterThanOrEqual

from regulars.hospitality.models import Venue
from regulars.lib.clock import local_date, wall_moment
from regulars.organizations.models import Organization


@dataclass(frozen=True)
class ServiceDay:
    """The service day that it is at the venues which share a zone and a cut-off hour (E6, E8)."""

    venue_ids: tuple[int, ...]
    timezone: str
    starts_at_hour: int
    today: date


@dataclass(frozen=True)
class Home:
    """Where an organization is at home: its first venue, and the zone in which its dates are meant.

    An organization without a venue has a zone of its own and `venue_id` None.
    """

    venue_id: int | None
    timezone: str


def service_days(organization: Organization, now: datetime) -> list[ServiceDay]:
    """The service day of each group of venues with one calendar; empty without venues."""
    groups: dict[tuple[str, int], list[int]] = defaultdict(list)
    venues = Venue.objects.filter(organization=organization).order_by("pk")
    for venue_id, zone, hour in venues.values_list("pk", "timezone", "day_starts_at_hour"):
        groups[zone, hour].append(venue_id)
    return [
        ServiceDay(tuple(ids), zone, hour, local_date(now, zone, hour))
        for (zone, hour), ids in groups.items()
    ]


def home(organization: Organization) -> Home:
    """The organization's only (else its first) venue, else the organization's own zone."""
    venues = Venue.objects.filter(organization=organization).order_by("pk")
    first = venues.values_list("pk", "timezone").first()
    return Home(*first) if first else Home(None, organization.timezone)


def day_start(day: date, zone: str, hour: int = 0) -> datetime:
    """The first moment (UTC) of local `day` in `zone`, a day that begins at `hour`.

    Where the clock repeats that hour it is the first of the two; where the clock jumps over it, the
    moment of the jump (E9).
    """
    return wall_moment(datetime(day.year, day.month, day.day, hour), ZoneInfo(zone))


def observed_birthday(year: int, month: int, day: int) -> date:
    """The day on which a birthday is kept in `year`: 29 February on the 28th in common years (E1).

    Raises:
        ValueError: there is no such day in any year.

    """
    if (month, day) == (2, 29) and not calendar.isleap(year):
        return date(year, 2, 28)
    return date(year, month, day)


def birthdays_kept_on(day: date) -> list[tuple[int, int]]:
    """The (month, day) pairs whose birthday is kept on `day`: two of them on some 28 Februaries."""
    pairs = [(day.month, day.day)]
    if pairs == [(2, 28)] and not calendar.isleap(day.year):
        pairs.append((2, 29))
    return pairs


def days_between(first: date, last: date) -> Iterator[date]:
    """Every date from `first` to `last`, both included."""
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def period_bounds(day: date, period: str) -> tuple[date, date]:
    """First day of the `month`, `quarter` or `year` that `day` is in, and of the one after it."""
    months = {"month": 1, "quarter": 3, "year": 12}[period]
    first = (day.month - 1) // months * months + 1
    after = first + months
    return date(day.year, first, 1), date(day.year + (after > 12), (after - 1) % 12 + 1, 1)


def period_key(day: date, period: str) -> str:
    """`2026-06`, `2026-Q2` or `2026`: the name of the period that `day` is in."""
    if period == "month":
        return f"{day:%Y-%m}"
    return f"{day:%Y}-Q{(day.month + 2) // 3}" if period == "quarter" else f"{day:%Y}"


class PlusDays(Func):
    """`date + integer`: a date so many days later, as SQL."""

    template = "(%(expressions)s)"
    arg_joiner = " + "
    output_field = DateField()


class UtcMoment(Func):
    """`date + interval`, read as UTC: a moment, as SQL."""

    template = "timezone('UTC', %(expressions)s)"
    arg_joiner = " + "
    output_field = DateTimeField()


def day_start_sql(day: Any, between: tuple[date, date], zone: str, hour: int = 0) -> Case:
    """`day_start` of the date expression `day`, which lies in `between` (both included), as SQL.

    Within a zone all days start at the same UTC hour but for a change or two a year, so that the
    expression has a branch for each stretch and none for each day.
    """
    stretches = reversed(_stretches(*between, zone, hour))
    return Case(
        *(
            When(GreaterThanOrEqual(day, Value(since)), then=UtcMoment(day, Value(shift)))
            for since, shift in stretches
        ),
        output_field=DateTimeField(),
    )


def _stretches(first: date, last: date, zone: str, hour: int) -> Sequence[tuple[date, timedelta]]:
    """Since which day, how long after midnight UTC of its date a day starts."""
    found: list[tuple[date, timedelta]] = []
    for month in range(_month(first), _month(last) + 1):
        for day, shift in _stretches_of(month, zone, hour):
            since = max(day, first)
            if found and found[-1][0] == since:
                found.pop()
            if since <= last and (not found or found[-1][1] != shift):
                found.append((since, shift))
    return found


def _month(day: date) -> int:
    return day.year * 12 + day.month - 1


# Ten years of a zone, which a win-back may reach back, are 3,650 days: asked once each.
@functools.lru_cache(maxsize=4096)
def _stretches_of(month: int, zone: str, hour: int) -> Sequence[tuple[date, timedelta]]:
    """`_stretches` of one whole month, numbered as `_month` does."""
    first = date(month // 12, month % 12 + 1, 1)
    found: list[tuple[date, timedelta]] = []
    for number in range(calendar.monthrange(first.year, first.month)[1]):
        day = first + timedelta(days=number)
        shift = day_start(day, zone, hour) - datetime(day.year, day.month, day.day, tzinfo=UTC)
        if not found or found[-1][1] != shift:
            found.append((day, shift))
    return tuple(found)
