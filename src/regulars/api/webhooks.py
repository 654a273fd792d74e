"""`/api/webhooks`: whom we tell what becomes of messages and runs, and how each attempt went."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema, Status
from pydantic import Field

from regulars.api.callers import Caller, caller_of
from regulars.api.errors import ApiError
from regulars.api.paging import After, Limit, page
from regulars.api.parsing import Id, Text
from regulars.api.schemas import Strict, answers
from regulars.lib import sql
from regulars.organizations import audit
from regulars.organizations.access import Permission
from regulars.webhooks import endpoints
from regulars.webhooks.models import Delivery, Endpoint

router = Router(tags=["webhooks"])

Url = Annotated[Text, Field(min_length=1, max_length=2000, description="https, at a public address")]
Events = Annotated[list[Annotated[Text, Field(max_length=32)]], Field(min_length=1, max_length=50)]


class EndpointIn(Strict):
    """An address and the events that it wants to hear of."""

    url: Url
    events: Events


class EndpointChange(Strict):
    """Only what is to change; an empty object takes a given-up endpoint up again."""

    url: Url | None = None
    events: Events | None = None


class EndpointOut(Schema):
    """An endpoint; its secret is never shown again."""

    id: int
    url: str
    events: list[str]
    failing_since: datetime | None
    disabled_reason: str = Field(description="Why it is told nothing any more; empty while it is")
    created_at: datetime


class NewEndpoint(EndpointOut):
    """The same, with the secret that verifies our signatures: keep it, it is shown only now."""

    secret: str


class EndpointList(Schema):
    """All endpoints of the organization."""

    items: list[EndpointOut]


class AttemptOut(Schema):
    """One try: the status of the answer, or why there was none."""

    status: int | None
    problem: str
    milliseconds: int
    at: datetime


class DeliveryOut(Schema):
    """One event for one endpoint, with its attempts."""

    id: int
    event_id: UUID
    event: str
    state: str
    payload: dict[str, Any]
    next_at: datetime
    created_at: datetime
    attempts: list[AttemptOut]


class DeliveryPage(Schema):
    """Newest first."""

    items: list[DeliveryOut]
    next: int | None = Field(description="Give it as `after` to read on; null at the end")


@router.get("/webhooks", response=answers(EndpointList), operation_id="list_webhooks")
def list_webhooks(request: HttpRequest) -> Any:
    """Whom we tell."""
    caller = _owner(request)
    return {"items": list(Endpoint.objects.filter(organization=caller.organization).order_by("pk"))}


@router.post("/webhooks", response=answers(NewEndpoint, 201), operation_id="create_webhook")
def create_webhook(request: HttpRequest, endpoint: EndpointIn) -> Any:
    """Tell this address of these events, from now on."""
    caller = _owner(request)
    try:
        made, secret = endpoints.create(
            caller.organization, endpoint.url, endpoint.events, sql.database_now()
        )
    except endpoints.EndpointError as error:
        raise _refused(error) from error
    _record(caller, made, "webhook.created")
    shown = {name: getattr(made, name) for name in EndpointOut.model_fields}
    return Status(201, shown | {"secret": secret})


@router.patch("/webhooks/{id}", response=answers(EndpointOut), operation_id="change_webhook")
def change_webhook(request: HttpRequest, id: Id, change: EndpointChange) -> Any:  # noqa: A002
    """Change the address or the events; one that was given up is taken up again."""
    caller = _owner(request)
    endpoint = _find(caller, id)
    try:
        endpoints.change(endpoint, url=change.url, events=change.events)
    except endpoints.EndpointError as error:
        raise _refused(error) from error
    _record(caller, endpoint, "webhook.changed")
    return endpoint


@router.delete("/webhooks/{id}", response=answers(None, 204), operation_id="delete_webhook")
def delete_webhook(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """Tell this address nothing any more, and forget what it was told."""
    caller = _owner(request)
    endpoint = _find(caller, id)
    _record(caller, endpoint, "webhook.deleted")
    endpoint.delete()
    return HttpResponse(status=204)


@router.post("/webhooks/{id}/test", response=answers(DeliveryOut, 202), operation_id="test_webhook")
def test_webhook(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """Send `webhook.test`; how it went is among the deliveries some seconds later."""
    endpoint = _find(_owner(request), id)
    return Status(202, _present(endpoints.test(endpoint, sql.database_now())))


@router.get("/webhooks/{id}/deliveries", response=answers(DeliveryPage), operation_id="list_deliveries")
def list_deliveries(request: HttpRequest, id: Id, limit: Limit = 50, after: After | None = None) -> Any:  # noqa: A002
    """What it was told, and how each attempt went."""
    rows = _find(_owner(request), id).deliveries.order_by("-pk").prefetch_related("tries")
    if after is not None:
        rows = rows.filter(pk__lt=after)
    return page(rows, limit, _present)


@router.post(
    "/webhooks/{id}/deliveries/{delivery}/retry",
    response=answers(DeliveryOut, 202),
    operation_id="retry_delivery",
)
def retry_delivery(request: HttpRequest, id: Id, delivery: Id) -> Any:  # noqa: A002
    """Send it again, under the same event id."""
    found = _find(_owner(request), id).deliveries.filter(pk=delivery).first()
    if found is None:
        raise ApiError(404, "There is no such delivery.")
    endpoints.send_again(found, sql.database_now())
    found.refresh_from_db()
    return Status(202, _present(found))


def _owner(request: HttpRequest) -> Caller:
    caller = caller_of(request)
    caller.require(Permission.CHANGE_PROVIDERS)
    return caller


def _find(caller: Caller, endpoint_id: int) -> Endpoint:
    found = Endpoint.objects.filter(pk=endpoint_id, organization=caller.organization).first()
    if found is None:
        raise ApiError(404, "There is no such webhook.")
    return found


def _refused(error: endpoints.EndpointError) -> ApiError:
    details = [{"path": error.path, "problem": str(error)}]
    return ApiError(422, "The webhook cannot be so: see details.", details=details)


def _record(caller: Caller, endpoint: Endpoint, action: str) -> None:
    audit.record(caller.organization, caller.user, action, now=sql.database_now(), subject=endpoint.pk)


def _present(delivery: Delivery) -> dict[str, Any]:
    names = "id event_id event state payload next_at created_at"
    tries = sorted(delivery.tries.all(), key=lambda attempt: attempt.pk)
    return {name: getattr(delivery, name) for name in names.split()} | {"attempts": tries}
