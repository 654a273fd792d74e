"""Dates as people and tills write them. Pure.

The one rule for 03/04/2026: day first, unless the organization's country is the United States;
a value of the file that can only be read one way (25/04, 04/25) decides for the whole file; a file
that proves both is contradictory, and then what can be read both ways is refused. With dots
(03.04.2026) it is always day first. Year first is always year, month, day.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

MONTH_FIRST_COUNTRIES = frozenset({"US"})
EARLIEST_YEAR, LATEST_YEAR = 1900, 2200
# What systems write that do not know the birthday (E5).
SENTINEL_BIRTHDAYS = frozenset({date(1900, 1, 1), date(1970, 1, 1)})
SENTINEL_TEXTS = frozenset({"0", "00/00/0000", "0000-00-00", "00.00.0000", "00-00-0000"})
# Day 0 of spreadsheets, so that day 60 and later are right in spite of their 29 February 1900.
SPREADSHEET_EPOCH = datetime(1899, 12, 30)

_YEAR_LAST = re.compile(r"(\d{1,2})([/.\-])(\d{1,2})\2(\d{4}|\d{2})(?:[ T,]+(.+))?", re.ASCII)
_YEAR_FIRST = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})(?:[ T,]+(.+))?", re.ASCII)
_NO_YEAR = re.compile(r"(\d{1,2})([/.\-])(\d{1,2})\.?", re.ASCII)
_NO_YEAR_ISO = re.compile(r"--(\d{2})-?(\d{2})", re.ASCII)
_SERIAL = re.compile(r"\d{5}(\.\d+)?", re.ASCII)
_ISO_DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}", re.ASCII)
_TIME = re.compile(
    r"(\d{1,2})[:.h](\d{2})(?:[:.](\d{2})(?:[.,]\d+)?)?\s*(am|pm|a\.\s?m\.|p\.\s?m\.)?",
    re.ASCII | re.IGNORECASE,
)


class DateOrder(StrEnum):
    """How the file writes a date with its year last."""

    DAY_FIRST = "day first"
    MONTH_FIRST = "month first"
    CONTRADICTORY = "contradictory"


class DateError(ValueError):
    """The text is no date that can be used; says why."""


class OrderEvidence:
    """Collects over a file what its dates prove about their order."""

    def __init__(self) -> None:
        self.numeric = False
        self._day_first = False
        self._month_first = False

    def observe(self, text: str) -> None:
        """Look at one cell of a date column."""
        text = text.strip()
        found = _YEAR_LAST.fullmatch(text) or _NO_YEAR.fullmatch(text)
        if found is None or found[2] == ".":
            return
        self.numeric = True
        first, second = int(found[1]), int(found[3])
        self._day_first |= 12 < first <= 31 and second <= 12
        self._month_first |= 12 < second <= 31 and first <= 12

    def order(self, country: str) -> DateOrder:
        """The order of the file, for an organization in `country`."""
        if self._day_first and self._month_first:
            return DateOrder.CONTRADICTORY
        if self._day_first:
            return DateOrder.DAY_FIRST
        if self._month_first or country.upper() in MONTH_FIRST_COUNTRIES:
            return DateOrder.MONTH_FIRST
        return DateOrder.DAY_FIRST


@dataclass(frozen=True, slots=True)
class Birthday:
    """Month and day; the year if it is known (E4)."""

    month: int
    day: int
    year: int | None = None


def parse_birthday(text: str, order: DateOrder, today: date) -> Birthday | None:
    """The birthday in `text`, or None for a sentinel: a value that stands for “not known” (E5).

    Raises:
        DateError: no date, or one that can be read two ways.
    """
    text = text.strip()
    if text in SENTINEL_TEXTS:
        return None
    if without_year := _without_year(text, order):
        return without_year
    day, _ = _split(text, order, today.year)
    if day in SENTINEL_BIRTHDAYS or day > today:
        return None
    return Birthday(day.month, day.day, day.year)


def parse_moment(
    text: str, order: DateOrder, zone: str, *, this_year: int, default_hour: int | None
) -> datetime:
    """The moment in `text`, in UTC; a time without an offset is local time in `zone`.

    A date alone means `default_hour` of that day, or is refused if that is None.

    Raises:
        DateError: no date, an impossible one, or one that can be read two ways.
    """
    text = text.strip()
    moment = _iso_moment(text)
    if moment is None:
        day, hour = _split(text, order, this_year)
        if hour is None and default_hour is None:
            raise DateError("has no time of day; write it like 2026-03-04 20:30")
        moment = datetime.combine(day, hour or time(default_hour or 0))
    try:
        local = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
        utc = local.astimezone(UTC)
    except (OverflowError, ValueError):
        raise DateError("is not a date that can be used") from None
    _check_year(utc.year)
    return utc


def _iso_moment(text: str) -> datetime | None:
    if _ISO_DATE.fullmatch(text) or not text[:4].isdigit():
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _without_year(text: str, order: DateOrder) -> Birthday | None:
    if found := _NO_YEAR_ISO.fullmatch(text):
        month, day = int(found[1]), int(found[2])
    elif found := _NO_YEAR.fullmatch(text):
        day, month = _day_and_month(int(found[1]), int(found[3]), found[2], order)
    elif text.startswith("0000-") and _ISO_DATE.fullmatch(text):
        month, day = int(text[5:7]), int(text[8:10])
    else:
        return None
    # 2000 was a leap year: 29 February is a birthday.
    _date(2000, month, day)
    return Birthday(month, day)


def _split(text: str, order: DateOrder, this_year: int) -> tuple[date, time | None]:
    """The calendar date and, if given, the time of day."""
    if _SERIAL.fullmatch(text):
        moment = SPREADSHEET_EPOCH + timedelta(days=float(text))
        # Spreadsheets keep times as fractions: round to the second they meant.
        moment = (moment + timedelta(milliseconds=500)).replace(microsecond=0)
        return moment.date(), moment.time() if "." in text else None
    if found := _YEAR_LAST.fullmatch(text):
        day, month = _day_and_month(int(found[1]), int(found[3]), found[2], order)
        return _date(_year(found[4], this_year), month, day), _time(found[5])
    if found := _YEAR_FIRST.fullmatch(text):
        return _date(int(found[1]), int(found[2]), int(found[3])), _time(found[4])
    try:
        iso = datetime.fromisoformat(text)
    except ValueError:
        raise DateError("is not a date; write it like 2026-03-04") from None
    _check_year(iso.year)
    return iso.date(), None if _ISO_DATE.fullmatch(text) else iso.time()


def _day_and_month(first: int, second: int, sign: str, order: DateOrder) -> tuple[int, int]:
    if sign == ".":
        return first, second
    if first > 12 or first == second:
        return first, second
    if second > 12:
        return second, first
    if order is DateOrder.CONTRADICTORY:
        raise DateError(
            "can be read day first or month first, and this file has dates of both sorts;"
            " write it like 2026-03-04"
        )
    return (first, second) if order is DateOrder.DAY_FIRST else (second, first)


def _year(text: str, this_year: int) -> int:
    """Two digits are the latest year that is not after next year."""
    if len(text) == 4:
        return int(text)
    year = this_year // 100 * 100 + int(text)
    return year if year <= this_year + 1 else year - 100


def _date(year: int, month: int, day: int) -> date:
    _check_year(year)
    try:
        return date(year, month, day)
    except ValueError:
        raise DateError("is a date that does not exist") from None


def _check_year(year: int) -> None:
    if not EARLIEST_YEAR <= year <= LATEST_YEAR:
        raise DateError(f"lies outside the years {EARLIEST_YEAR} to {LATEST_YEAR}")


def _time(text: str | None) -> time | None:
    if text is None:
        return None
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise DateError("has a time of day that cannot be read; write it like 20:30")
    hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
    if half := found[4]:
        if not 1 <= hour <= 12:
            raise DateError("has a time of day that does not exist")
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    try:
        return time(hour, minute, second)
    except ValueError:
        raise DateError("has a time of day that does not exist") from None
