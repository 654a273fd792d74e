"""`/api/automations`: read, make, change, switch. The rules are the automations room's."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Router, Status
from pydantic import ConfigDict, create_model
from pydantic.fields import FieldInfo

from regulars.api.callers import Caller, caller_of
from regulars.api.errors import ApiError
from regulars.api.schemas import AutomationList, AutomationOut, answers
from regulars.automations import content, slots
from regulars.automations.models import Automation
from regulars.lib import clock
from regulars.organizations import audit
from regulars.organizations.access import Permission

router = Router(tags=["automations"])


def _optional(field: FieldInfo) -> tuple[Any, FieldInfo]:
    twin = copy(field)
    twin.default, twin.default_factory = None, None
    return (field.annotation, twin)


# A definition of which only what changes is given.
AutomationChange: Any = create_model(  # type: ignore[call-overload]
    "AutomationChange",
    __config__=ConfigDict(extra="forbid"),
    __doc__="Only what is to change; lists and objects are replaced as a whole.",
    **{name: _optional(field) for name, field in content.Definition.model_fields.items()},
)


@router.get("/automations", response=answers(AutomationList), operation_id="list_automations")
def list_automations(request: HttpRequest) -> Any:
    """All automations of the organization, by name."""
    rows = _visible(caller_of(request)).order_by("name", "id")
    return {"items": [present(automation) for automation in rows]}


@router.post("/automations", response=answers(AutomationOut, 201), operation_id="create_automation")
def create_automation(request: HttpRequest, definition: content.Definition) -> Any:
    """Make an automation. It does nothing before it is enabled."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_AUTOMATIONS)
    with _definition_errors(), transaction.atomic():
        automation = content.create(caller.organization, definition, caller.user, clock.now())
        _record(caller, automation, "automation.created")
    return Status(201, present(automation))


@router.get("/automations/{uuid:id}", response=answers(AutomationOut), operation_id="read_automation")
def read_automation(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """One automation, with the content that its next run would use."""
    return present(find(caller_of(request), id))


@router.put("/automations/{uuid:id}", response=answers(AutomationOut), operation_id="replace_automation")
def replace_automation(request: HttpRequest, id: UUID, definition: content.Definition) -> Any:  # noqa: A002
    """Give an automation another content: a new version, runs under way keep theirs."""
    return _change(caller_of(request), id, definition)


@router.patch("/automations/{uuid:id}", response=answers(AutomationOut), operation_id="change_automation")
def change_automation(request: HttpRequest, id: UUID, change: AutomationChange) -> Any:  # noqa: A002
    """Change some of an automation: a new version, runs under way keep theirs."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_AUTOMATIONS)
    given = content.definition_of(find(caller, id)) | change.model_dump(exclude_unset=True)
    with _definition_errors():
        definition = content.parse_definition(given)
    return _change(caller, id, definition)


@router.delete("/automations/{uuid:id}", response=answers(None, 204), operation_id="delete_automation")
def delete_automation(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """Remove an automation. Its runs and messages stay on record, and it never sends again."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_AUTOMATIONS)
    automation = find(caller, id)
    with _definition_errors(), transaction.atomic():
        content.delete(automation, clock.now())
        _record(caller, automation, "automation.deleted")
    return HttpResponse(status=204)


@router.post(
    "/automations/{uuid:id}/enable",
    response=answers(AutomationOut),
    operation_id="enable_automation",
)
def enable_automation(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """Switch an automation on; one that was paused for a fault is taken up again."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_AUTOMATIONS)
    automation = find(caller, id)
    with _definition_errors(), transaction.atomic():
        content.enable(automation, clock.now())
        _record(caller, automation, "automation.enabled")
    return present(find(caller, id))


@router.post(
    "/automations/{uuid:id}/disable",
    response=answers(AutomationOut),
    operation_id="disable_automation",
)
def disable_automation(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """Switch an automation off; what it has planned and not sent is withheld."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_AUTOMATIONS)
    automation = find(caller, id)
    with _definition_errors(), transaction.atomic():
        content.disable(automation)
        _record(caller, automation, "automation.disabled")
    return present(find(caller, id))


def find(caller: Caller, automation_id: UUID) -> Automation:
    """The caller's automation.

    Raises:
        ApiError: 404, there is none, or it is another organization's.
    """
    found: Automation | None = _visible(caller).filter(pk=automation_id).first()
    if found is None:
        raise ApiError(404, "There is no such automation.")
    return found


def present(automation: Automation) -> dict[str, Any]:
    """An automation as the API shows it."""
    definition = content.definition_of(automation)
    return definition | {
        "id": automation.pk,
        "next_times": slots.next_times(automation, clock.now()),
        "timezone": slots.zone_of(automation),
        "version": automation.version_number,
        "paused_reason": automation.paused_reason,
        "created_at": automation.created_at,
        "updated_at": automation.updated_at,
    }


def _visible(caller: Caller) -> Any:
    return Automation.objects.select_related("organization").filter(
        organization=caller.organization, deleted_at=None
    )


def _change(caller: Caller, automation_id: UUID, definition: content.Definition) -> dict[str, Any]:
    caller.require(Permission.CHANGE_AUTOMATIONS)
    with _definition_errors(), transaction.atomic():
        automation = content.change(find(caller, automation_id), definition, caller.user, clock.now())
        _record(caller, automation, "automation.changed")
    return present(automation)


def _record(caller: Caller, automation: Automation, action: str) -> None:
    details = {"name": automation.name}
    audit.record(caller.organization, caller.user, action, now=clock.now(), subject=automation.pk, **details)


@contextmanager
def _definition_errors() -> Iterator[None]:
    """Turn what the automations room refuses into a 422 that says where."""
    try:
        yield
    except content.DefinitionError as error:
        raise ApiError(422, "The automation is not complete: see details.", details=error.details) from error
