"""The tick: what is due by its schedule runs, each slot once, whoever ticks and however many.

A tick is one look at an index of next slots. Each due automation is then taken in a transaction of its
own, by its row; one that somebody else is just taking, or changing, is left to them. That transaction
writes all or nothing: the row of the slot (its unique key is the guard), the run with its job, and the
automation's next slot. So a crash before its commit leaves the slot to the next tick, and one after it
leaves a run that the sweep finds.

After a downtime the newest slot that is not too late runs, and stands for those before it, because it
finds whoever is due by now; those that are too late are recorded as one missed run. So there is never
a burst. What runs as it happens has no slots: it looks once a minute, and the next look finds what an
earlier one would have found.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from django.db import InterfaceError, OperationalError, transaction

from regulars.automations import schedule as schedules
from regulars.automations import slots
from regulars.automations.models import Automation
from regulars.lib import sql
from regulars.runs import requesting
from regulars.runs.choosing import AutomationNotReadyError, require_ready
from regulars.runs.models import Run, RunState

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

log = structlog.get_logger("regulars.ticking")

# So many automations a tick, about a second's work: the lane is shared with the sweep.
BATCH = 50
KEEP_SLOTS = timedelta(days=35)

NOBODY_WORKED = "Nothing was at work at that time, and later it would have been too late."
PAUSED = "The automation was paused."

_TAKE = """
INSERT INTO slots (automation_id, at, taken_at) VALUES (%(automation)s, %(at)s, %(now)s)
ON CONFLICT (automation_id, at) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Ticked:
    """What a tick started and recorded; `failed` are automations that could not be taken (see the log).

    `more`: others are due, too.
    """

    runs: list[Run] = field(default_factory=list)
    missed: list[Run] = field(default_factory=list)
    failed: "list[UUID]" = field(default_factory=list)
    more: bool = False


def tick(now: datetime) -> Ticked:
    """Start what is due at `now` by its schedule: at most `BATCH` automations."""
    due = list(_due(now).values_list("pk", flat=True)[:BATCH])
    runs: list[Run] = []
    failed = []
    for automation_id in due:
        try:
            with transaction.atomic():
                runs += _take(automation_id, now)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            # One broken automation must not keep the others from running.
            log.exception("a slot could not be taken", automation=str(automation_id))
            failed.append(automation_id)
    return Ticked(
        [run for run in runs if run.state != RunState.MISSED],
        [run for run in runs if run.state == RunState.MISSED],
        failed,
        more=len(due) == BATCH and len(failed) < BATCH,
    )


def forget_slots(before: datetime) -> int:
    """Remove the rows of slots that were taken before then; returns how many."""
    return sql.execute("DELETE FROM slots WHERE taken_at < %(before)s", {"before": before})


def _due(now: datetime) -> "QuerySet[Automation]":
    return Automation.objects.filter(enabled=True, deleted_at=None, next_slot__lte=now).order_by("next_slot")


def _take(automation_id: "UUID", now: datetime) -> list[Run]:
    """Take what is due of one automation, and move its next slot on; empty where somebody else does."""
    alone = _due(now).select_for_update(no_key=True, skip_locked=True, of=("self",))
    automation = alone.select_related("organization").filter(pk=automation_id).first()
    if automation is None:
        return []
    schedule, due = slots.schedule_of(automation), automation.next_slot
    assert schedule is not None
    assert due is not None
    automation.next_slot = slots.next_after(automation, now)
    automation.save(update_fields=["next_slot"])
    if schedule.as_it_happens:
        return _look(automation, now)
    return _run_slots(automation, schedule, due, now)


def _look(automation: Automation, now: datetime) -> list[Run]:
    """A look leaves a trace only where it finds something: a pause says so on the automation itself, and
    what cannot run would fail anew each minute."""
    try:
        require_ready(automation.current_version, now)
        return [requesting.request(automation, now=now, origin=requesting.LOOK)]
    except requesting.AutomationNotActiveError:
        return []
    except AutomationNotReadyError as problem:
        log.warning("nothing can run as it happens", automation=str(automation.pk), reason=str(problem))
        return []


def _run_slots(
    automation: Automation, schedule: schedules.Schedule, due: datetime, now: datetime
) -> list[Run]:
    """Of the slots from `due` to `now`: those too late are missed, the newest of the others runs."""
    zone = automation.organization.timezone
    newest, limit = schedules.newest_slot(schedule, zone, now), now - schedule.lateness
    if newest is None or newest < due:
        # The rules of its zone have changed since the slot was reckoned: it is not its time.
        return []
    runs = []
    if due < limit:
        last = schedules.last_slot_before(schedule, zone, limit)
        runs += _miss(automation, due, NOBODY_WORKED, now, until=last)
    if newest >= limit:
        runs += _run(automation, newest, now)
    return runs


def _run(automation: Automation, slot: datetime, now: datetime) -> list[Run]:
    if automation.paused_reason:
        return _miss(automation, slot, f"{PAUSED} {automation.paused_reason}", now)
    if not _is_ours(automation, slot, now):
        return []
    origin = requesting.SCHEDULE
    return [requesting.request(automation, now=now, origin=origin, scheduled_for=slot)]


def _miss(
    automation: Automation, slot: datetime, reason: str, now: datetime, until: datetime | None = None
) -> list[Run]:
    """Record that a slot (and others up to `until`) did not run, and why."""
    if not _is_ours(automation, slot, now):
        return []
    log.warning("a slot was missed", automation=str(automation.pk), slot=slot.isoformat(), reason=reason)
    run = Run.objects.create(
        organization=automation.organization,
        automation=automation,
        state=RunState.MISSED,
        reason=reason,
        origin=requesting.SCHEDULE,
        scheduled_for=slot,
        scheduled_until=until if until and until > slot else None,
        created_at=now,
        finished_at=now,
    )
    return [run]


def _is_ours(automation: Automation, slot: datetime, now: datetime) -> bool:
    return sql.execute(_TAKE, {"automation": automation.pk, "at": slot, "now": now}) == 1
