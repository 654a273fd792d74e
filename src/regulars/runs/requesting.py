"""Asking for a run: who joins whom.

At most one run of an automation is planning (a partial unique index). A request joins only a run
that has not taken its snapshot; otherwise it leaves the wish `again`, and a further run follows at
once. Only a person's call also joins a run that is still sending what is due now, for its counts.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import IntegrityError, transaction

from regulars.automations.models import Automation
from regulars.organizations.models import User
from regulars.runs.deferring import defer_new, plan_job
from regulars.runs.models import Run, RunState

MANUAL = "manual"
# By a slot of the schedule; by the look of what runs as it happens; by an outside cron.
SCHEDULE = "schedule"
LOOK = "look"
CRON = "cron"


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
    for _ in range(5):
        try:
            with transaction.atomic():
                found = _joinable(automation, origin, user, subjects)
                return found or _create(automation, now, origin, user, subjects, scheduled_for)
        except IntegrityError:
            # Somebody else's run began planning in between: look again.
            continue
    raise RuntimeError("Runs of this automation come and go too fast to join one")


def _joinable(
    automation: Automation, origin: str, user: User | None, subjects: Sequence[int] | None
) -> Run | None:
    run = (
        Run.objects.select_for_update()
        .filter(automation=automation, state__in=[RunState.PLANNING, RunState.SENDING])
        .order_by("-created_at")
        .first()
    )
    if run is None:
        return None
    if run.state == RunState.SENDING:
        return run if origin == MANUAL else None
    covers = run.as_of is None and (run.subjects is None or run.subjects == subjects)
    if origin == MANUAL != run.origin:
        # Somebody waits for it: from now on it is a run by hand, which is kept whatever it finds.
        Run.objects.filter(pk=run.pk).update(origin=MANUAL, requested_by=user)
    if not covers and origin != MANUAL:
        Run.objects.filter(pk=run.pk).update(again=True)
    return run


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
        request(run.automation, now=now, origin="event")
    except AutomationNotActiveError:
        return
