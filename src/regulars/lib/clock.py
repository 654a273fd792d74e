"""The one place that asks what time it is.

Decisions never call this: they are given `now`. Edges and task bodies call it once and pass it on.
"""

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


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
