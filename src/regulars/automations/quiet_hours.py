"""Quiet hours: when marketing keeps silent, and when it may speak again. Pure arithmetic.

Moments are aware; whether one is quiet is asked of the wall clock of the guest's zone. A silence holds
a message back and never drops it. The end of a window is exclusive: at 10:00 it is over (E10).
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Nothing more is started this short before a silence: what a sender has taken leaves within it.
MARGIN = timedelta(minutes=1)
# Silences that leave no gap (22:00 to 08:00 by law, 08:00 to 22:00 by wish) are not followed further.
LONGEST = timedelta(days=14)


class QuietHours(BaseModel):
    """Local hours of silence, from one time of day until another; they may go over midnight."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    starts: time = Field(default=time(21), alias="from", description="Local time at which silence begins")
    ends: time = Field(default=time(10), alias="until", description="Local time at which it is over")

    @model_validator(mode="after")
    def _is_clear(self) -> "QuietHours":
        if self.starts == self.ends:
            raise ValueError("Equal ends may mean all day or never: give two times, or null for no silence.")
        if any(end.tzinfo or end.second or end.microsecond for end in (self.starts, self.ends)):
            raise ValueError("Give local hours and minutes only, such as 21:00.")
        return self

    def covers(self, at: time) -> bool:
        """Whether a time of day is in the window."""
        if self.starts < self.ends:
            return self.starts <= at < self.ends
        return at >= self.starts or at < self.ends


@dataclass(frozen=True, slots=True)
class CountryRule:
    """What a country's law adds for the numbers that begin with its prefix, on some channels."""

    prefix: str
    channels: frozenset[str]
    hours: QuietHours


# By country (ISO 3166): the SMS of France keep silent by night, on Sundays and on holidays.
COUNTRY_RULES = {
    "FR": CountryRule(
        "+33", frozenset({"sms"}), QuietHours.model_validate({"from": time(22), "until": time(8)})
    )
}


def country_of(channel: str, address: str) -> str:
    """The country whose rule holds for this address on this channel; empty: none."""
    for country, rule in COUNTRY_RULES.items():
        if channel in rule.channels and address.startswith(rule.prefix):
            return country
    return ""


def is_quiet(moment: datetime, zone: ZoneInfo, hours: QuietHours | None, country: str = "") -> bool:
    """Whether marketing keeps silent at `moment`, by the restaurant's hours or by a country's rule."""
    return _end_of_silence(moment, zone, hours, country) is not None


def release(moment: datetime, zone: ZoneInfo, hours: QuietHours | None, country: str = "") -> datetime:
    """The first moment from `moment` on that is not quiet (UTC)."""
    limit, found = moment + LONGEST, moment.astimezone(UTC)
    while found < limit and (end := _end_of_silence(found, zone, hours, country)):
        found = end
    return found


def held_until(now: datetime, zone: ZoneInfo, hours: QuietHours | None, country: str = "") -> datetime | None:
    """When a message that is ready now may leave; None: at once."""
    for moment in (now, now + MARGIN):
        if is_quiet(moment, zone, hours, country):
            return release(moment, zone, hours, country)
    return None


def _end_of_silence(
    moment: datetime, zone: ZoneInfo, hours: QuietHours | None, country: str
) -> datetime | None:
    """The end of a silence that `moment` lies in, where there is one; another may follow at once."""
    local = moment.astimezone(zone)
    rule = COUNTRY_RULES.get(country)
    if rule and (local.weekday() == 6 or local.date() in french_holidays(local.year)):
        return _first(local.date() + timedelta(days=1), time(0), zone, moment)
    for window in (hours, rule.hours if rule else None):
        if window and window.covers(local.time()):
            tomorrow = window.starts > window.ends and local.time() >= window.starts
            return _first(local.date() + timedelta(days=tomorrow), window.ends, zone, moment)
    return None


def _first(day: date, at: time, zone: ZoneInfo, after: datetime) -> datetime:
    """The first moment after `after` at which the clock of `zone` shows `at` on `day`, or has just
    jumped over it; where it shows it twice and the first has passed, the second (E9)."""
    wanted = datetime.combine(day, at, tzinfo=zone)
    for fold in (0, 1):
        found = wanted.replace(fold=fold).astimezone(UTC)
        if found > after:
            break
    shown = found.astimezone(zone).replace(tzinfo=None)
    # Jumped over: the clock already shows more than was wanted; back to the jump.
    while shown > datetime.combine(day, at):
        earlier = (found - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None)
        if earlier < datetime.combine(day, at):
            break
        found, shown = found - timedelta(minutes=1), earlier
    return found


def french_holidays(year: int) -> frozenset[date]:
    """The public holidays of France (without those of Alsace and Moselle only)."""
    easter = easter_sunday(year)
    moving = {easter + timedelta(days=days) for days in (1, 39, 50)}
    fixed = ((1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25))
    return frozenset(moving | {date(year, month, day) for month, day in fixed})


def easter_sunday(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (the computation of Meeus, Jones and Butcher)."""
    golden, century, rest = year % 19, year // 100, year % 100
    moon = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    sunday = (32 + 2 * (century % 4) + 2 * (rest // 4) - moon - rest % 4) % 7
    shift = (golden + 11 * moon + 22 * sunday) // 451
    month, day = divmod(moon + sunday - 7 * shift + 114, 31)
    return date(year, month, day + 1)
