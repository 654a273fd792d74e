"""Events: the world tells us that something changed about some customers, and their runs are asked for.

All of it happens in the transaction that writes the change: both exist, or neither. It costs what
those customers cost, however many others there are. What was planned about them and is no longer
true is withheld at once, which gives its occasion back, so that the run asked for may put the right
message in its place. A crash afterwards loses nothing: the run and its job are in the database, and
the last look at the moment of hand-over stays.

Only enabled automations whose trigger hears of the event are asked. Who is due later is looked at
again then, by a job; an automation with a schedule keeps to that for what is due by time.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from regulars.automations import triggers
from regulars.automations.models import Automation
from regulars.lib import sql
from regulars.organizations.models import Organization
from regulars.runs import deltas, requesting
from regulars.runs.allowance import LONGEST_PLANNED_AHEAD
from regulars.runs.deferring import Job, ask_job, defer
from regulars.runs.models import Message, MessageState, Occasion
from regulars.runs.partitions import floor_id
from regulars.runs.requesting import AutomationNotActiveError
from regulars.runs.settling import WITHHOLD_CHANGED

_MINUTE = timedelta(minutes=1)


@transaction.atomic
def happened(organization: Organization, event: str, customers: Sequence[int], now: datetime) -> None:
    """Take note that `event` (`visits`, `reservations`) changed something about these customers.

    Call it in the transaction that wrote the change. Automations in one order, so that two events
    at once cannot lock each other out.
    """
    hearing = [trigger.kind for trigger in triggers.all_triggers() if event in trigger.events]
    if not hearing or not customers:
        return
    active = Automation.objects.filter(
        organization=organization, trigger__in=hearing, enabled=True, deleted_at=None, paused_reason=""
    )
    for automation in active.select_related("organization").order_by("pk"):
        _withhold_changed(automation, customers, now)
        _ask(automation, customers, now)
        if automation.schedule is None:
            defer(_later(automation, customers, now))


def ask_for(automation_id: str, customers: Sequence[int], now: datetime) -> None:
    """Ask for a run for those of these customers who are due now; nothing where nobody is any more."""
    automation = Automation.objects.select_related("organization").filter(pk=automation_id).first()
    if automation is not None:
        _ask(automation, customers, now)


def _ask(automation: Automation, customers: Sequence[int], now: datetime) -> None:
    due = _due(automation, customers, now)
    if due:
        # Switched off at this moment: then nobody is written to.
        with suppress(AutomationNotActiveError):
            requesting.request(automation, now=now, origin=requesting.EVENT, subjects=due)


def _due(automation: Automation, customers: Sequence[int], now: datetime) -> list[int]:
    """Which of them are due on an occasion that nobody has taken; in order of their ids."""
    trigger, parameters = _terms(automation)
    rows = trigger.due(automation.organization, parameters, now, customers)
    wanted = set(rows.values_list("customer_id", "occasion"))
    taken = Occasion.objects.filter(automation_id=automation.pk, customer_id__in=customers)
    free = wanted.difference(taken.values_list("customer_id", "occasion"))
    return sorted({customer_id for customer_id, _ in free})


def _later(automation: Automation, customers: Sequence[int], now: datetime) -> list[Job]:
    """One job for each minute in which some of them become due."""
    trigger, parameters = _terms(automation)
    rows = trigger.later(automation.organization, parameters, now, customers)
    minutes: dict[datetime, set[int]] = {}
    for customer_id, at in rows or ():
        minute = at.replace(second=0, microsecond=0) + _MINUTE
        minutes.setdefault(minute, set()).add(customer_id)
    return [ask_job(automation.pk, sorted(minutes[minute]), minute) for minute in sorted(minutes)]


def _terms(automation: Automation) -> tuple[triggers.Trigger, Any]:
    trigger = triggers.get(automation.trigger)
    return trigger, trigger.parameters.model_validate(automation.current_version.parameters)


def _withhold_changed(automation: Automation, customers: Sequence[int], now: datetime) -> None:
    """What waits to leave and is no longer true never leaves; in the sender's order of locks."""
    condition = triggers.get(automation.trigger).still_valid(now)
    if condition is None:
        return
    stale = Message.objects.filter(
        ~condition,
        pk__gte=floor_id(now - LONGEST_PLANNED_AHEAD),
        automation=automation,
        customer_id__in=customers,
        state=MessageState.QUEUED,
    )
    found = list(stale.values_list("pk", "run_id"))
    for run_id in sorted({run_id for _, run_id in found}):
        deltas.hold_run(run_id)
    if found:
        sql.execute(WITHHOLD_CHANGED, {"ids": [message_id for message_id, _ in found], "now": now})
