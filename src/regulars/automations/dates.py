"""Dates as templates print them: weekday and month names in Spanish and English. Pure.

Python's own `strftime` follows the server's locale, which is nobody's language here.
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from functools import lru_cache

_WEEKDAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
}
_MONTHS = {
    "en": (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
    "es": (
        *("enero", "febrero", "marzo", "abril", "mayo", "junio"),
        *("julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
    ),
}
# Forms that a template may call by name.
_NAMED = {
    "long": {"en": "%A, %-d %B", "es": "%A %-d de %B"},
    "short": {"en": "%d/%m/%Y", "es": "%d/%m/%Y"},
    "time": {"en": "%H:%M", "es": "%H:%M"},
}
_NUMBERS: dict[str, Callable[[datetime], int]] = {
    "d": lambda moment: moment.day,
    "e": lambda moment: moment.day,
    "m": lambda moment: moment.month,
    "H": lambda moment: moment.hour,
    "I": lambda moment: moment.hour % 12 or 12,
    "M": lambda moment: moment.minute,
    "y": lambda moment: moment.year % 100,
}
_DIRECTIVE = re.compile(r"%(-?)(.?)", re.DOTALL)


class DateFormatError(ValueError):
    """The value is no date, or the form is not known; the text says what would do."""


def format_moment(value: object, pattern: str, language: str) -> str:
    """`value` (datetime, date or ISO text, already local) as `pattern` says, in `language`.

    `pattern` is `long`, `short`, `time`, or uses %A %a %B %b %d %e %m %Y %y %H %I %M %p %%; a `-`
    after the percent sign drops a leading zero. Languages other than es are printed in English.

    Raises:
        DateFormatError: no date, or an unknown form.
    """
    moment = _moment(value)
    tongue = "es" if language[:2].lower() == "es" else "en"
    form = _NAMED[pattern][tongue] if pattern in _NAMED else pattern
    return _DIRECTIVE.sub(lambda found: _part(moment, found[1], found[2], tongue), form)


def _part(moment: datetime, flag: str, letter: str, tongue: str) -> str:
    match letter:
        case "A" | "a":
            name = _WEEKDAYS[tongue][moment.weekday()]
            return name if letter == "A" else name[:3]
        case "B" | "b":
            name = _MONTHS[tongue][moment.month - 1]
            return name if letter == "B" else name[:3]
        case "Y":
            return str(moment.year)
        case "p":
            return "AM" if moment.hour < 12 else "PM"
        case "%":
            return "%"
    if letter not in _NUMBERS:
        raise DateFormatError(
            f"The date form “%{flag}{letter}” is not known. Use long, short, time, or letters "
            "such as %A %d %B %Y %H %M."
        )
    number = _NUMBERS[letter](moment)
    return str(number) if flag or letter == "e" else f"{number:02}"


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    return _parsed(str(value))


@lru_cache(maxsize=1024)
def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise DateFormatError(
            f"“{text[:40]}” is not a date. The moment of sending is not known to a template."
        ) from None
