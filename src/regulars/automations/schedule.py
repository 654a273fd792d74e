"""When an automation runs by itself: the schedule its owner writes, and its moments. Pure.

A schedule speaks of the clock on the wall. Each time on the wall is one slot, whatever the clock does:

* A time that the wall clock skips (summer time begins) moves to the next minute that exists, which
  is the moment of the jump. Several skipped times fall on that one moment and are one slot.
* A time that the wall clock shows twice (summer time ends) is meant the first time. The second time
  nothing is due, also for an expression that says "every five minutes".

So the same rule holds for times, for weekdays and for a cron expression: `cronsim` only counts on a
wall without a zone, and knows nothing of summer time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cache
from itertools import islice
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from regulars.lib.clock import wall_moment

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
WallTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
# A slot that is later than this does not run any more, unless the schedule says otherwise.
MAX_LATE_HOURS = 6
_MINUTE = timedelta(minutes=1)
# Long enough for every seventh day.
_DAYS = 8

NOT_ONE_KIND = "Give one of: times, cron, as_it_happens."
WEEKDAYS_ALONE = "Weekdays belong to times: add the times, or say the weekdays in the cron expression."
LATE_HAS_NO_MEANING = "What runs as it happens has no slot that could be late: leave this out."
NO_SUCH_ZONE = "There is no such time zone. Use a name such as Europe/Madrid."
NO_CRON = (
    "This is no cron expression, or a day that never comes. "
    "Write five fields (minute, hour, day, month, weekday), such as 0 10 * * 1-5."
)


class Schedule(BaseModel):
    """One of: times of day (on some weekdays), a cron expression, or as it happens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    times: Annotated[list[WallTime], Field(min_length=1, max_length=48)] | None = Field(
        default=None, description="Times of day, such as 10:00"
    )
    weekdays: Annotated[list[Weekday], Field(min_length=1, max_length=7)] | None = Field(
        default=None, description="On these days only; absent: every day"
    )
    cron: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] | None = Field(
        default=None, description="Five fields: minute, hour, day, month, weekday"
    )
    as_it_happens: Literal[True] | None = Field(
        default=None, description="Looks every minute; only for triggers that follow an event"
    )
    timezone: str | None = Field(default=None, description="IANA name; absent: the organization's")
    max_late_hours: int | None = Field(
        default=None,
        ge=1,
        le=72,
        description=f"A slot later than this is recorded as missed; absent: {MAX_LATE_HOURS}",
    )

    @field_validator("times")
    @classmethod
    def _in_order(cls, times: list[str] | None) -> list[str] | None:
        return times and sorted(set(times))

    @field_validator("weekdays")
    @classmethod
    def _as_a_week(cls, weekdays: list[Weekday] | None) -> list[Weekday] | None:
        return weekdays and [day for day in WEEKDAYS if day in weekdays]

    @field_validator("timezone")
    @classmethod
    def _exists(cls, timezone: str | None) -> str | None:
        if timezone is not None and timezone not in _zones():
            raise ValueError(NO_SUCH_ZONE)
        return timezone

    @field_validator("cron")
    @classmethod
    def _comes(cls, cron: str | None) -> str | None:
        if cron is not None:
            check_cron(cron)
        return cron

    @model_validator(mode="after")
    def _one_kind(self) -> "Schedule":
        if sum(kind is not None for kind in (self.times, self.cron, self.as_it_happens)) != 1:
            raise ValueError(NOT_ONE_KIND)
        if self.weekdays and not self.times:
            raise ValueError(WEEKDAYS_ALONE)
        if self.as_it_happens and self.max_late_hours:
            raise ValueError(LATE_HAS_NO_MEANING)
        return self

    @property
    def lateness(self) -> timedelta:
        """How late a slot may still run."""
        return timedelta(hours=self.max_late_hours or MAX_LATE_HOURS)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def check_cron(cron: str) -> None:
    """Refuse an expression that says nothing, or a day that never comes.

    Raises:
        ValueError: with the words for whoever wrote it.
    """
    try:
        comes = len(cron.split()) == 5 and next(CronSim(cron, datetime(2000, 1, 1)), None)
    except (CronSimError, ValueError):
        comes = None
    if not comes:
        raise ValueError(NO_CRON)


def next_slot(schedule: Schedule, zone: str, now: datetime) -> datetime:
    """The first slot after `now`, in UTC; `zone` is the organization's, for a schedule without one."""
    return next(_slots_after(schedule, zone, now))


def next_slots(schedule: Schedule, zone: str, now: datetime, count: int) -> list[datetime]:
    """The next slots after `now`, on the clock of the schedule's zone."""
    there = zone_of(schedule, zone)
    return [slot.astimezone(there) for slot in islice(_slots_after(schedule, zone, now), count)]


def newest_slot(schedule: Schedule, zone: str, now: datetime) -> datetime | None:
    """The last slot that is not after `now`, in UTC; None: there has been none for fifty years."""
    if schedule.as_it_happens:
        return now.astimezone(UTC).replace(second=0, microsecond=0)
    there = zone_of(schedule, zone)
    wall = _wall(now, there)
    # Within an hour that repeats itself, all that the clock showed in it the first time has been.
    newest = wall + (now - wall_moment(wall, there))
    found = (wall_moment(earlier, there) for earlier in _walls_before(schedule, newest))
    return next((slot for slot in found if slot <= now), None)


def last_slot_before(schedule: Schedule, zone: str, moment: datetime) -> datetime | None:
    """The last slot that is before `moment`, in UTC."""
    return newest_slot(schedule, zone, moment - timedelta(microseconds=1))


def zone_of(schedule: Schedule, zone: str) -> ZoneInfo:
    """The zone in which a schedule is meant: its own, else `zone`, the organization's."""
    return ZoneInfo(schedule.timezone or zone)


def _slots_after(schedule: Schedule, zone: str, now: datetime) -> Iterator[datetime]:
    """Every slot after `now`, each moment once, in order."""
    if schedule.as_it_happens:
        minute = now.astimezone(UTC).replace(second=0, microsecond=0)
        while True:
            minute += _MINUTE
            yield minute
    there, last = zone_of(schedule, zone), now
    for wall in _walls_after(schedule, _wall(now, there)):
        slot = wall_moment(wall, there)
        if slot > last:
            yield slot
            last = slot


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the clock on the wall shows, without a zone."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _walls_after(schedule: Schedule, wall: datetime) -> Iterator[datetime]:
    """The times on the wall that come after `wall`, without end."""
    if schedule.cron:
        yield from CronSim(schedule.cron, wall)
        return
    day = wall.date()
    while True:
        for hour in _times(schedule):
            later = datetime.combine(day, hour)
            if later > wall and _is_on(schedule, day.weekday()):
                yield later
        day += timedelta(days=1)


def _walls_before(schedule: Schedule, wall: datetime) -> Iterator[datetime]:
    """The times on the wall up to `wall`, the newest first."""
    if schedule.cron:
        yield from CronSim(schedule.cron, wall + timedelta(microseconds=1), reverse=True)
        return
    day = wall.date()
    while True:
        for hour in reversed(_times(schedule)):
            earlier = datetime.combine(day, hour)
            if earlier <= wall and _is_on(schedule, day.weekday()):
                yield earlier
        day -= timedelta(days=1)


def _times(schedule: Schedule) -> list[time]:
    return [time.fromisoformat(text) for text in schedule.times or ()]


def _is_on(schedule: Schedule, weekday: int) -> bool:
    return not schedule.weekdays or WEEKDAYS[weekday] in schedule.weekdays
