"""The one place that asks what time it is.

Decisions never call this: they are given `now`. Edges and task bodies call it once and pass it on.
"""

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

# How long the shortest way to the database that was seen counts: clocks drift apart, a little.
_SEEN_SECONDS = 30.0


def now() -> datetime:
    """The current moment, aware, in UTC."""
    return datetime.now(UTC)


def iso_millis(moment: datetime) -> str:
    """`2026-03-04T10:30:00.000Z`, the form of the ordered document's timestamps."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local_date(moment: datetime, zone: str, day_starts_at_hour: int = 0) -> date:
    """The calendar date at `moment` in `zone`; hours before `day_starts_at_hour` belong to the
    evening before (a bill closed at 00:40 is yesterday's dinner)."""
    local = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return (local - timedelta(hours=day_starts_at_hour)).date()


def wall_moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """The moment (UTC) at which the clock on the wall of `zone` shows `wall` (which has no zone).

    Where the clock shows it twice it is the first of the two; where the clock jumps over it, the
    moment of the jump (E9).
    """
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return first if first <= second else _jump(second, first, wall, zone)


def _jump(before: datetime, after: datetime, wall: datetime, zone: ZoneInfo) -> datetime:
    """The moment between two at which the clock jumps over `wall`, to the second."""
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(zone).replace(tzinfo=None) >= wall:
            after = middle
        else:
            before = middle
    return after


def boot_seconds() -> float:
    """Seconds on a clock that goes on while the machine or the process is suspended.

    A lease is judged on this clock: a sender frozen past its lease must see that on waking.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class DatabaseClock:
    """The database's clock, read on our own `boot_seconds`, as exactly as its fastest answer allows.

    An answer says what time it was at the database when it left there, so it always comes a little
    late; the least late one of the last half minute is the nearest to the truth. A moment that is
    read by it is never early, and late by the fastest way back (a fraction of a millisecond), however
    slow the answer that named it was.
    """

    def __init__(self) -> None:
        self._begun = -_SEEN_SECONDS
        self._before = self._least = float("inf")

    def see(self, database_seconds: float) -> None:
        """An answer has just come that says this (seconds of the epoch)."""
        now = boot_seconds()
        if now - self._begun >= _SEEN_SECONDS:
            self._begun, self._before, self._least = now, self._least, float("inf")
        self._least = min(self._least, now - database_seconds)

    def boot_seconds(self, database_seconds: float) -> float:
        """When that moment of the database comes, on our clock; some answer must have been seen."""
        return database_seconds + min(self._before, self._least)
