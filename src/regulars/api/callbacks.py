"""What providers call back: where each account is called, what that needs, and what guests wrote.

The address itself is no operation of this API: providers call it in their own forms
(`callbacks.receiving`).
"""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from regulars.api.callers import Caller, caller_of
from regulars.api.errors import ApiError
from regulars.api.paging import After, Limit, page
from regulars.api.parsing import Id, Text
from regulars.api.schemas import Strict, answers
from regulars.automations import callback_access
from regulars.automations.callback_access import CallbackSettingError
from regulars.automations.models import ProviderAccount
from regulars.callbacks import timeline
from regulars.callbacks.models import InboundMessage
from regulars.customers.models import Customer
from regulars.lib import clock
from regulars.lib.masking import mask_address, mask_text
from regulars.organizations import audit
from regulars.organizations.access import Permission
from regulars.providers import callbacks

router = Router(tags=["callbacks"])

Secret = Annotated[Text, Field(max_length=callback_access.MOST_SECRET)]
Word = Annotated[Text, Field(max_length=64)]


class CallbackOut(Schema):
    """Where a provider calls about an account, and what checks it. Secrets that were given stay hidden."""

    address: str = Field(description="Enter it at the provider; empty without REGULARS_PUBLIC_URL")
    path: str = Field(description="The same without the host")
    password: str = Field(description="For providers that sign nothing; Meta’s verify token")
    where: str = Field(description="Where the provider asks for it, in its own words")
    missing: dict[str, str] = Field(description="Secrets that must be set first, and where each is found")
    secrets: list[str] = Field(description="Secrets that can be set")
    tracking: bool = Field(description="Whether opens and clicks are written down; needs the guests’ consent")
    confirms: bool = Field(description="Whether a guest’s stop or start is confirmed, once")
    stop_words: list[str]


class CallbackChange(Strict):
    """Only what is to change; an empty secret is taken away."""

    secrets: dict[Annotated[Text, Field(max_length=64)], Secret] | None = None
    tracking: bool | None = None
    confirms: bool | None = None
    stop_words: Annotated[list[Word], Field(max_length=callback_access.MOST_WORDS)] | None = None
    renew: bool = Field(default=False, description="Another address and password; the old ones stop working")


class InboundOut(Schema):
    """What a guest wrote, or chose in the provider's app."""

    id: int
    customer_id: int | None = Field(description="Null: nobody is known under this address")
    channel: str
    address: str
    text: str
    intent: str = Field(description="`stop`, `start`, `wrong_person`, or `text`")
    needs_attention: bool = Field(description="A person should look")
    reply: str = Field(description="What became of our confirmation; empty where there is none")
    at: datetime


class InboundPage(Schema):
    """Newest first."""

    items: list[InboundOut]
    next: int | None = Field(description="Give it as `after` to read on; null at the end")


@router.get(
    "/providers/{id}/callbacks", response=answers(CallbackOut), operation_id="show_provider_callbacks"
)
def show_callbacks(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """Where the provider calls about this account."""
    return _shown(_account(_keeper(request), id))


@router.patch(
    "/providers/{id}/callbacks", response=answers(CallbackOut), operation_id="change_provider_callbacks"
)
def change_callbacks(request: HttpRequest, id: Id, change: CallbackChange) -> Any:  # noqa: A002
    """Set the secrets that check callbacks, and what is done with what they tell."""
    caller = _keeper(request)
    account = _account(caller, id)
    given = change.model_dump(exclude_unset=True)
    renew = given.pop("renew", False)
    try:
        callback_access.configure(account, **given)
    except CallbackSettingError as error:
        raise ApiError(422, str(error)) from error
    if renew:
        callback_access.renew(account)
    what = sorted(given) + ["renewed"] * renew
    audit.record(
        caller.organization,
        caller.user,
        "provider.callbacks_changed",
        now=clock.now(),
        subject=account.pk,
        what=", ".join(what),
    )
    return _shown(account)


@router.get("/inbound", response=answers(InboundPage), operation_id="list_inbound")
def list_inbound(
    request: HttpRequest,
    customer: Id | None = None,
    needs_attention: bool | None = None,
    limit: Limit = 50,
    after: After | None = None,
) -> Any:
    """What guests wrote, of one or of all."""
    caller = caller_of(request)
    rows = timeline.inbound(caller.organization)
    if customer is not None:
        rows = rows.filter(customer=_customer(caller, customer))
    if needs_attention is not None:
        rows = rows.filter(needs_attention=needs_attention)
    if after is not None:
        rows = rows.filter(pk__lt=after)
    return page(rows, limit, lambda row: _said(row, caller))


@router.post("/inbound/{id}/looked-at", response=answers(InboundOut), operation_id="look_at_inbound")
def look_at_inbound(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """A person has looked at it: it needs no attention any more."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_CUSTOMERS)
    row = timeline.looked_at(caller.organization, id)
    if row is None:
        raise ApiError(404, "There is no such message of a guest.")
    return _said(row, caller)


def _keeper(request: HttpRequest) -> Caller:
    caller = caller_of(request)
    caller.require(Permission.CHANGE_PROVIDERS)
    return caller


def _account(caller: Caller, account_id: int) -> ProviderAccount:
    found = ProviderAccount.objects.filter(pk=account_id, organization=caller.organization)
    account = found.select_related("callback_access", "organization").first()
    if account is None:
        raise ApiError(404, "There is no such access to a provider.")
    if callbacks.handler(account.kind) is None:
        raise ApiError(404, f"{account.kind} calls nobody back.", code="no_callbacks")
    return account


def _customer(caller: Caller, customer_id: int) -> Customer:
    found = Customer.objects.filter(pk=customer_id, organization=caller.organization).first()
    if found is None:
        raise ApiError(404, "There is no such customer.")
    return found


def _shown(account: ProviderAccount) -> dict[str, Any]:
    access, handler = callback_access.access_of(account), callbacks.handler(account.kind)
    return {
        "address": callback_access.address_of(account),
        "path": callback_access.path_of(account),
        "password": callback_access.password_of(account),
        "where": handler.where if handler else "",
        "missing": callback_access.missing(account),
        "secrets": callback_access.secret_names(account.kind),
        "tracking": access.tracking,
        "confirms": access.confirms,
        "stop_words": access.stop_words,
    }


def _said(row: InboundMessage, caller: Caller) -> dict[str, Any]:
    whole = caller.sees_addresses
    reply = getattr(row, "reply", None)
    return {
        "id": row.pk,
        "customer_id": row.customer_id,
        "channel": row.channel,
        "address": row.address if whole or not row.address else mask_address(row.address),
        "text": row.text if whole else mask_text(row.text),
        "intent": row.intent,
        "needs_attention": row.needs_attention,
        "reply": reply.state if reply else "",
        "at": row.at,
    }
