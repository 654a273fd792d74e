"""`/api/automations`: read, make, change, switch. The rules are the automations room's."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Annotated, Any
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status
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
from regulars.runs import engine

router = Router(tags=["automations"])

Reach = Annotated[
    int | None,
    Query(
        ge=0,
        le=2_147_483_647,
        description="The number of guests (of the preview) that may be written to at once; without it, what "
        "is switched on and would reach a large share starts with what becomes due from now on",
    ),
]


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


@router.post("/automations", response=answers(AutomationOut, 201, 409), operation_id="create_automation")
def create_automation(request: HttpRequest, definition: content.Definition, reach: Reach = None) -> Any:
    """Make an automation. It does nothing before it is enabled."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_AUTOMATIONS)
    with _definition_errors(), transaction.atomic():
        automation = content.create(caller.organization, definition, caller.user, clock.now())
        _guard(automation, reach, was_on=False)
        _record(caller, automation, "automation.created")
    return Status(201, present(automation))


@router.get("/automations/{uuid:id}", response=answers(AutomationOut), operation_id="read_automation")
def read_automation(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """One automation, with the content that its next run would use."""
    return present(find(caller_of(request), id))


@router.put(
    "/automations/{uuid:id}", response=answers(AutomationOut, 200, 409), operation_id="replace_automation"
)
def replace_automation(
    request: HttpRequest,
    id: UUID,  # noqa: A002
    definition: content.Definition,
    reach: Reach = None,
) -> Any:
    """Give an automation another content: a new version, runs under way keep theirs."""
    return _change(caller_of(request), id, definition, reach)


@router.patch(
    "/automations/{uuid:id}", response=answers(AutomationOut, 200, 409), operation_id="change_automation"
)
def change_automation(
    request: HttpRequest,
    id: UUID,  # noqa: A002
    change: AutomationChange,
    reach: Reach = None,
) -> Any:
    """Change some of an automation: a new version, runs under way keep theirs."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_AUTOMATIONS)
    given = content.definition_of(find(caller, id)) | change.model_dump(exclude_unset=True)
    with _definition_errors():
        definition = content.parse_definition(given)
    return _change(caller, id, definition, reach)


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
    response=answers(AutomationOut, 200, 409),
    operation_id="enable_automation",
)
def enable_automation(request: HttpRequest, id: UUID, reach: Reach = None) -> Any:  # noqa: A002
    """Switch an automation on; one that was paused for a fault is taken up again.

    Where it would write to a large share of the guests at once, it starts with what becomes due from
    now on (`due_from`), unless `reach` agrees to the number.
    """
    caller = caller_of(request)
    caller.require(Permission.CHANGE_AUTOMATIONS)
    automation = find(caller, id)
    with _definition_errors(), transaction.atomic():
        was_on = automation.enabled
        content.enable(automation, clock.now())
        _guard(automation, reach, was_on=was_on)
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
        "due_from": automation.due_from,
        "created_at": automation.created_at,
        "updated_at": automation.updated_at,
    }


def _visible(caller: Caller) -> Any:
    return Automation.objects.select_related("organization").filter(
        organization=caller.organization, deleted_at=None
    )


def _change(
    caller: Caller, automation_id: UUID, definition: content.Definition, reach: int | None
) -> dict[str, Any]:
    caller.require(Permission.CHANGE_AUTOMATIONS)
    with _definition_errors(), transaction.atomic():
        found = find(caller, automation_id)
        was_on = found.enabled
        automation = content.change(found, definition, caller.user, clock.now())
        _guard(automation, reach, was_on=was_on)
        _record(caller, automation, "automation.changed")
    return present(automation)


def _guard(automation: Automation, agreed: int | None, *, was_on: bool) -> None:
    """What was just switched on starts gently, or by a yes to the number; what was on stays as it is."""
    if not automation.enabled or (was_on and agreed is None):
        return
    try:
        engine.guard(automation, clock.now(), agreed)
    except engine.ReachGrewError as error:
        details = [{"path": "reach", "problem": str(error)}]
        raise ApiError(409, str(error), code="reach_grew", details=details) from error


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
