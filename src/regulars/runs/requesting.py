"""Asking for a run: who joins whom.

At most one run of an automation is planning (a partial unique index). A request joins only a run
that has not taken its snapshot (one for a few guests becomes one for those of the request, too);
otherwise it leaves its wish, and a further run follows at once. Only a person's call also joins a run
for everybody that is still sending what is due now, for its counts.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from regulars.automations.models import Automation
from regulars.organizations.models import User
from regulars.runs.deferring import ask_job, defer, defer_new, plan_job
from regulars.runs.models import Run, RunState

MANUAL = "manual"
EVENT = "event"
# By a slot of the schedule; by the look of what runs as it happens; by an outside cron.
SCHEDULE = "schedule"
LOOK = "look"
CRON = "cron"

# A run about a few guests is planned in some hundredths of a second.
_MOST_TRIES, _PAUSE_SECONDS = 40, 0.05
_ASK_AGAIN_AFTER = timedelta(milliseconds=500)


class AutomationNotActiveError(Exception):
    """Automation is not active"""


def request(
    automation: Automation,
    *,
    now: datetime,
    origin: str = MANUAL,
    user: User | None = None,
    subjects: Sequence[int] | None = None,
    scheduled_for: datetime | None = None,
) -> Run:
    """A run that will cover what is due at `now`: a new one, or one that is joined.

    Raises:
        AutomationNotActiveError: it is switched off, deleted, or paused by a broken template.
    """
    if not automation.enabled or automation.deleted_at or automation.paused_reason:
        raise AutomationNotActiveError(AutomationNotActiveError.__doc__)
    for _ in range(_MOST_TRIES):
        try:
            with transaction.atomic():
                found = _joinable(automation, now, origin, user, subjects)
                return found or _create(automation, now, origin, user, subjects, scheduled_for)
        except IntegrityError:
            # A run is being planned that could not be joined: it began in between, or is about a
            # few guests only and has their snapshot already. Look again.
            time.sleep(_PAUSE_SECONDS)
    return _last_resort(automation)


def _last_resort(automation: Automation) -> Run:
    """Whoever plans a run for a few guests does not come to an end, or died: a further run follows it."""
    run = Run.objects.filter(automation=automation, state=RunState.PLANNING).first()
    if run is None:
        raise RuntimeError("Runs of this automation come and go too fast to join one")
    Run.objects.filter(pk=run.pk).update(again=True)
    return run


def _joinable(
    automation: Automation,
    now: datetime,
    origin: str,
    user: User | None,
    subjects: Sequence[int] | None,
) -> Run | None:
    """The run that covers this wish, or that leaves it behind for a further run.

    The run's row stays locked until the caller's transaction ends, and a planner says in that row
    that it takes its snapshot before it does: so a run that is joined sees what the caller wrote.
    """
    planning = Q(state=RunState.PLANNING)
    going = planning | Q(state=RunState.SENDING, subjects__isnull=True) if origin == MANUAL else planning
    rows = Run.objects.select_for_update().filter(going, automation=automation)
    run = rows.order_by("-created_at").first()
    if run is None or run.state == RunState.SENDING:
        return run
    if run.as_of is None:
        _widen(run, subjects)
    elif origin != MANUAL:
        _leave_wish(run, subjects, now)
    elif run.subjects is not None:
        return None
    if origin == MANUAL != run.origin:
        # Somebody waits for it: from now on it is a run by hand, which is kept whatever it finds.
        Run.objects.filter(pk=run.pk).update(origin=MANUAL, requested_by=user)
    return run


def _widen(run: Run, subjects: Sequence[int] | None) -> None:
    """Make a run that has no snapshot yet cover these guests, too (None: everybody)."""
    if run.subjects is not None:
        run.subjects = None if subjects is None else sorted({*run.subjects, *subjects})
        run.save(update_fields=["subjects"])


def _leave_wish(run: Run, subjects: Sequence[int] | None, now: datetime) -> None:
    """A further run follows this one: for everybody by a flag, for a few guests by a job of their own."""
    if subjects is None:
        Run.objects.filter(pk=run.pk).update(again=True)
    else:
        defer([ask_job(run.automation_id, subjects, start=now + _ASK_AGAIN_AFTER)])


def _create(
    automation: Automation,
    now: datetime,
    origin: str,
    user: User | None,
    subjects: Sequence[int] | None,
    scheduled_for: datetime | None,
) -> Run:
    """The run and the job that plans it: both or neither, in the caller's transaction."""
    run = Run.objects.create(
        organization_id=automation.organization_id,
        automation=automation,
        origin=origin,
        requested_by=user,
        scheduled_for=scheduled_for,
        subjects=None if subjects is None else list(subjects),
        created_at=now,
    )
    defer_new([plan_job(run.pk)])
    return run


def follow_up(run_id: str, now: datetime) -> None:
    """Start the further run that somebody wished for while this one was planning.

    A crash before this loses the wish, not the customers: the next run finds what is still due.
    """
    run = Run.objects.select_related("automation").filter(pk=run_id, again=True).first()
    if run is None or run.state == RunState.PLANNING:
        return
    Run.objects.filter(pk=run.pk).update(again=False)
    try:
        request(run.automation, now=now, origin=EVENT)
    except AutomationNotActiveError:
        return
