"""The organization's list of automations: whoever is higher goes first where not all may write (E44).

Positions count from 1 without gaps; a new automation takes the place that its trigger's rank gives it.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from regulars.automations import triggers
from regulars.automations.models import Automation
from regulars.organizations.models import Organization


class OrderError(ValueError):
    """The list is not one of this organization's automations; the text says what is wrong."""


def ordered(organization: Organization) -> list[Automation]:
    """The automations that are not deleted, the first to write on top."""
    alive = Automation.objects.filter(organization=organization, deleted_at=None)
    return list(alive.select_related("organization").order_by("position", "created_at", "pk"))


def place(automation: Automation) -> None:
    """Put a new automation below those that its trigger's rank lets go first."""
    with transaction.atomic():
        _lock(automation.organization)
        others = [each for each in ordered(automation.organization) if each.pk != automation.pk]
        rank = _rank(automation)
        index = next((n for n, each in enumerate(others) if _rank(each) > rank), len(others))
        _number([*others[:index], automation, *others[index:]])


def reorder(organization: Organization, ids: Sequence[UUID]) -> list[Automation]:
    """Make the list what `ids` says, the first on top; those that are not named follow in their order.

    Raises:
        OrderError: an id is named twice, or is not one of the organization's automations.
    """
    with transaction.atomic():
        _lock(organization)
        found = {each.pk: each for each in ordered(organization)}
        if len(set(ids)) < len(ids):
            raise OrderError("Name each automation once.")
        if strange := [str(each) for each in ids if each not in found]:
            raise OrderError(f"There is no automation {strange[0]}.")
        _number([found.pop(each) for each in ids] + list(found.values()))
    return ordered(organization)


def _rank(automation: Automation) -> int:
    try:
        return triggers.get(automation.trigger).rank
    except triggers.UnknownTriggerError:
        return triggers.Trigger.rank


def _number(automations: list[Automation]) -> None:
    for position, automation in enumerate(automations, start=1):
        automation.position = position
    Automation.objects.bulk_update(automations, ["position"])


def _lock(organization: Organization) -> None:
    Organization.objects.select_for_update().filter(pk=organization.pk).first()
