"""The guard of the first moment: what would write to half the guest book at once asks before (E51).

Switched on, or after an import, an automation may find years of occasions due. Where they are more than
a share of the guests, it starts with what becomes due from now on, unless somebody who has seen the
number says yes to it.

Whoever switches on or imports is told at once (`guard`, `guard_import`). The planner asks again before
it writes a run that nobody has looked at (`is_surprise`), so that no other way in can flood anyone:
rows that came through the API, a source that filled in years of birthdays over night.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from regulars.automations.models import Automation
from regulars.automations.tact import tact_of
from regulars.customers.models import Customer
from regulars.organizations.models import Organization
from regulars.runs.choosing import AutomationNotReadyError, choose
from regulars.runs.surveying import survey

# Fewer than this are nobody's surprise, whatever their share.
FEW = 50


class ReachGrewError(ValueError):
    """More guests would be written to than the yes was given for; the text says how many."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How many an automation would write to at once; `withheld`: it starts from now on instead."""

    automation: Automation
    guests: int
    withheld: bool


def guard(automation: Automation, now: datetime, agreed: int | None = None) -> Reach:
    """Look what an automation that was just switched on would do at once, and set `due_from` by it.

    `agreed` is the number of guests that somebody has seen and said yes to.

    Raises:
        ReachGrewError: there are more than were agreed to; nothing has changed.
    """
    with transaction.atomic():
        guests = _sends_at_first(automation, now)
        if agreed is not None and guests > agreed:
            raise ReachGrewError(
                f"It would write to {guests} guests at once, not to {agreed}: say yes to that."
            )
        automation.reach_agreed = agreed
        withheld = is_surprise(automation, guests)
        automation.due_from = now if withheld else None
        automation.save(update_fields=["due_from", "reach_agreed", "updated_at"])
    return Reach(automation, guests, withheld)


def reach_of(automation: Automation, now: datetime) -> Reach:
    """What switching it on would do at once, without doing it; nothing is written."""
    guests = _sends_at_first(automation, now)
    return Reach(automation, guests, withheld=guests > _most(automation.organization))


def is_surprise(automation: Automation, guests: int) -> bool:
    """Whether so many at once are more than the organization lets pass unasked, and than were agreed to.

    Who agreed to a number gets as many more as anybody gets unasked: guests become due while one thinks.
    """
    if guests <= FEW:
        return False
    return guests > _most(automation.organization) + (automation.reach_agreed or 0)


def hold_back(automation: Automation, now: datetime) -> None:
    """It starts from now on: what fell due before is left alone, with a reason of its own."""
    Automation.objects.filter(pk=automation.pk).update(due_from=now)
    automation.due_from = now


def spend_agreement(automation: Automation, guests: int) -> None:
    """So many were written to: the yes has served where it was needed for that."""
    if automation.reach_agreed is not None and guests > _most(automation.organization):
        Automation.objects.filter(pk=automation.pk).update(reach_agreed=None)


def guard_import(organization: Organization, now: datetime) -> list[Reach]:
    """After an import: the automations for which too many have become due at once, now held back."""
    enabled = Automation.objects.filter(organization=organization, enabled=True, deleted_at=None)
    found = []
    for automation in enabled.select_related("organization").order_by("position"):
        guests = _sends(automation, now)
        if is_surprise(automation, guests):
            hold_back(automation, now)
            found.append(Reach(automation, guests, withheld=True))
    return found


def _most(organization: Organization) -> int:
    share = tact_of(organization.tact).ask_above_percent
    return max(FEW, Customer.objects.filter(organization=organization).count() * share // 100)


def _sends_at_first(automation: Automation, now: datetime) -> int:
    """As if nothing were held back from before; the automation in hand forgets `due_from`."""
    automation.due_from = None
    return _sends(automation, now)


def _sends(automation: Automation, now: datetime) -> int:
    version = automation.current_version
    version.automation = automation
    try:
        groups = survey(choose(version, now), 0, faces=0, now=now).groups
    except AutomationNotReadyError:
        return 0
    return sum(row["number"] for row in groups if row["reason"] is None)
