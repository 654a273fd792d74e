"""`/api/customers/{id}`: export, erase, merge, block: what a guest may ask the house for."""

from datetime import datetime
from typing import Annotated, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, JsonResponse
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from regulars.api.callers import Caller, caller_of
from regulars.api.consents import find_customer
from regulars.api.errors import ApiError
from regulars.api.parsing import Id, Text
from regulars.api.schemas import Count, Strict, answers
from regulars.customers import blocking
from regulars.customers.models import Customer
from regulars.lib import clock
from regulars.organizations import audit
from regulars.organizations.access import Permission
from regulars.runs import rights

router = Router(tags=["personal data"])


class ExportOut(Schema):
    """Everything on record about one guest, by table."""

    model_config = ConfigDict(extra="allow")

    exported_at: datetime
    organization: str
    guest: list[dict[str, Any]]


class ErasedOut(Schema):
    """What was done."""

    addresses: Count = Field(description="Whose fingerprint is suppressed from now on")
    messages: Count = Field(description="That name nobody any more")
    others: Count = Field(description="Other guests at one of the addresses: no marketing there either")


class MergeIn(Strict):
    """Who turned out to be the same guest."""

    other: Id = Field(description="The guest who becomes part of this one")


class MergedOut(Schema):
    """The guest who is left, and how many rows of each table moved there."""

    id: int
    moved: dict[str, Count]


class BlockIn(Strict):
    """Why this guest is never written to."""

    reason: Annotated[Text, Field(min_length=1, max_length=64, examples=["deceased", "banned", "press"])]


class BlockOut(Schema):
    """Whether the guest is blocked, and why."""

    id: int
    do_not_contact: bool
    reason: str


@router.get("/customers/{id}/export", response=answers(ExportOut), operation_id="export_customer")
def export_customer(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """All that is on record about this guest, for this guest (GDPR, articles 15 and 20)."""
    caller, customer = _trusted(request, id)
    found = rights.export(customer, clock.now(), caller.user)
    return JsonResponse(found, encoder=DjangoJSONEncoder)


@router.post("/customers/{id}/erase", response=answers(ErasedOut), operation_id="erase_customer")
def erase_customer(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """Forget this guest, for good: what names them goes, what guards and proves stays."""
    caller, customer = _trusted(request, id)
    return rights.erase(customer, clock.now(), caller.user)


@router.post("/customers/{id}/merge", response=answers(MergedOut, 200, 409), operation_id="merge_customers")
def merge_customers(request: HttpRequest, id: Id, with_: MergeIn) -> Any:  # noqa: A002
    """Make another guest part of this one; of two statements of consent the stricter holds."""
    caller, customer = _trusted(request, id)
    other = find_customer(caller, with_.other)
    try:
        merged = rights.merge(customer, other, clock.now(), caller.user)
    except rights.MergeRefusedError as error:
        raise ApiError(409, str(error)) from error
    return {"id": merged.customer.pk, "moved": merged.moved}


@router.put("/customers/{id}/block", response=answers(BlockOut), operation_id="block_customer")
def block_customer(request: HttpRequest, id: Id, block: BlockIn) -> Any:  # noqa: A002
    """Never write to this guest again, about anything."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_CUSTOMERS)
    customer = find_customer(caller, id)
    if blocking.block(customer, block.reason):
        _record(caller, customer, "customer.blocked", reason=block.reason)
    return _block(customer)


@router.delete("/customers/{id}/block", response=answers(BlockOut), operation_id="unblock_customer")
def unblock_customer(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """Take the block back; an erased or merged guest stays blocked."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_CUSTOMERS)
    customer = find_customer(caller, id)
    if blocking.unblock(customer):
        _record(caller, customer, "customer.unblocked")
    return _block(customer)


def _trusted(request: HttpRequest, customer_id: int) -> tuple[Caller, Customer]:
    caller = caller_of(request)
    caller.require(Permission.MANAGE_PERSONAL_DATA)
    return caller, find_customer(caller, customer_id)


def _record(caller: Caller, customer: Customer, action: str, **details: Any) -> None:
    audit.record(caller.organization, caller.user, action, now=clock.now(), subject=customer.pk, **details)


def _block(customer: Customer) -> dict[str, Any]:
    customer.refresh_from_db()
    return {
        "id": customer.pk,
        "do_not_contact": customer.do_not_contact,
        "reason": customer.do_not_contact_reason,
    }
