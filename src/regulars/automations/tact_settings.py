"""An organization's tact as its owner changes it: checked as a whole, saved, nothing else."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from pydantic import ValidationError

from regulars.automations.problems import DefinitionError, from_pydantic
from regulars.automations.quiet_hours import QuietHours
from regulars.automations.tact import Cap, Tact, tact_of
from regulars.organizations.models import Organization


def change_tact(organization: Organization, given: Mapping[str, Any]) -> Tact:
    """Change what `given` names, keep the rest. Holds from the next message on, also for those that wait.

    Raises:
        DefinitionError: with every fault, its path and what to do.
    """
    with transaction.atomic():
        current = Organization.objects.select_for_update().get(pk=organization.pk)
        stored = tact_of(current.tact).stored() | dict(given)
        try:
            tact = tact_of(stored)
        except ValidationError as error:
            raise DefinitionError(from_pydantic(error, _KNOWN)) from None
        organization.tact = tact.stored()
        organization.save(update_fields=["tact"])
    return tact


def parse_quiet_hours(given: Any, *path: str | int) -> dict[str, Any] | None:
    """A venue's own hours in the form in which they are kept; None: those of the organization.

    Raises:
        DefinitionError: with every fault.
    """
    if given is None:
        return None
    try:
        return QuietHours.model_validate(given).model_dump(mode="json", by_alias=True)
    except ValidationError as error:
        raise DefinitionError(from_pydantic(error, ("from", "until"), *path)) from None


_KNOWN = (*Tact.model_fields, *Cap.model_fields, "from", "until")
