"""The next slot of each automation, kept on its row: so a tick is one look at an index.

It counts from the moment at which something of it changed (the schedule, the switch, the zone), so
that switching on never runs what was due yesterday. Whoever takes a slot moves it on (`runs.ticking`).
"""

from datetime import datetime
from typing import Any

from django.db import transaction
from pydantic import ValidationError

from regulars.automations import schedule as schedules
from regulars.automations.models import Automation
from regulars.automations.problems import DefinitionError, Problem, from_pydantic
from regulars.automations.schedule import Schedule
from regulars.automations.triggers import Trigger, all_triggers
from regulars.organizations.models import Organization, check_timezone

NOT_BY_EVENT = (
    "This trigger follows no event: give it times. As it happens is for visits and bookings that come in."
)


def parse(data: Any) -> Schedule | None:
    """The schedule that JSON `data` states; None states that there is none.

    Raises:
        DefinitionError: with every fault, paths below `schedule`.
    """
    if data is None:
        return None
    try:
        return Schedule.model_validate(data)
    except ValidationError as error:
        raise DefinitionError(from_pydantic(error, Schedule.model_fields, "schedule")) from None


def problems(trigger: Trigger, schedule: Schedule | None) -> list[Problem]:
    """Why this trigger cannot have this schedule."""
    if schedule is None or not schedule.as_it_happens or trigger.follows_event:
        return []
    return [Problem(path="schedule.as_it_happens", problem=NOT_BY_EVENT)]


def stored(schedule: Schedule | None) -> dict[str, Any] | None:
    """The form in which it is kept and shown: what was not said is not there."""
    return schedule.model_dump(exclude_none=True) if schedule else None


def schedule_of(automation: Automation) -> Schedule | None:
    """When it runs by itself; None: by hand, or by an outside cron."""
    return automation.schedule and Schedule.model_validate(automation.schedule)


def next_after(automation: Automation, now: datetime) -> datetime | None:
    """Its first slot after `now`; None where it runs not by itself."""
    schedule = schedule_of(automation)
    if schedule is None or not automation.enabled:
        return None
    return schedules.next_slot(schedule, automation.organization.timezone, now)


def next_times(automation: Automation, now: datetime, count: int = 3) -> list[datetime]:
    """Its next slots on the clock of its zone, for people: none while it is off, or as it happens."""
    schedule = schedule_of(automation)
    if schedule is None or schedule.as_it_happens or not automation.enabled:
        return []
    return schedules.next_slots(schedule, automation.organization.timezone, now, count)


def zone_of(automation: Automation) -> str:
    """The name of the zone in which its times are meant."""
    schedule = schedule_of(automation)
    return (schedule and schedule.timezone) or automation.organization.timezone


def may_follow_event(automation: Automation) -> bool:
    """Whether it may run as it happens."""
    return any(trigger.follows_event for trigger in all_triggers() if trigger.kind == automation.trigger)


def change_timezone(organization: Organization, timezone: str, now: datetime) -> None:
    """Give the organization another zone; the slots that are meant in it move along.

    Raises:
        ValidationError: there is no such zone.
    """
    check_timezone(timezone)
    with transaction.atomic():
        organization.timezone = timezone
        organization.save(update_fields=["timezone"])
        scheduled = Automation.objects.filter(organization=organization, next_slot__isnull=False)
        for automation in scheduled.select_for_update(no_key=True).order_by("pk"):
            automation.organization = organization
            automation.next_slot = next_after(automation, now)
            automation.save(update_fields=["next_slot"])
