"""`/api/customers/{id}/consents`: what a guest allowed and withdrew, with its evidence."""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import AwareDatetime, Field

from regulars.api.callers import Caller, caller_of
from regulars.api.errors import ApiError
from regulars.api.paging import After, Limit, page
from regulars.api.parsing import Id, Text
from regulars.api.schemas import Strict, answers
from regulars.customers import consent, opting
from regulars.customers.models import Consent, Customer, Purpose
from regulars.lib import clock
from regulars.organizations import audit
from regulars.organizations.access import Permission

router = Router(tags=["consents"])

Channel = Literal["whatsapp", "sms", "email"]
Source = Annotated[Text, Field(min_length=1, max_length=200, examples=["paper form at the door"])]
Wording = Annotated[Text, Field(max_length=5_000)]
Version = Annotated[Text, Field(max_length=64)]


class ConsentIn(Strict):
    """One statement of a guest."""

    channel: Channel
    purpose: Literal["marketing", "transactional"] = "marketing"
    granted: bool
    source: Source = Field(description="Where the guest said so")
    at: AwareDatetime | None = Field(default=None, description="When; null: now")
    basis: Literal["consent", "soft_opt_in", "contract", "guardian"] = Field(
        default="consent", description="guardian: the guardian of a minor said so"
    )
    wording: Wording = Field(default="", description="What the guest was shown")
    wording_version: Version = ""
    evidence: dict[Text, Any] = Field(
        default={}, max_length=50, description="What proves it, such as the number of a form; no contact data"
    )
    by_customer: bool = Field(
        default=False,
        description="The guest personally said so and `evidence` proves it: only then does a yes outweigh "
        "an earlier no",
    )


class ConsentOut(Schema):
    """A row of the ledger; `is_current` marks the one that holds for its channel and purpose."""

    id: int
    channel: str
    purpose: str
    granted: bool
    basis: str
    source: str
    wording: str
    wording_version: str
    evidence: dict[str, Any]
    actor: str
    at: datetime
    recorded_at: datetime
    is_current: bool


class ConsentPage(Schema):
    """Newest first."""

    items: list[ConsentOut]
    next: int | None = Field(description="Give it as `after` to read on; null at the end")


@router.get("/customers/{id}/consents", response=answers(ConsentPage), operation_id="list_consents")
def list_consents(
    request: HttpRequest,
    id: Id,  # noqa: A002
    after: After | None = None,
    limit: Limit = 100,
) -> Any:
    """Everything this guest ever allowed or withdrew."""
    customer = find_customer(caller_of(request), id)
    rows = Consent.objects.filter(customer=customer).order_by("-pk")
    return page(rows if after is None else rows.filter(pk__lt=after), limit, _present)


@router.post(
    "/customers/{id}/consents",
    response=answers(ConsentOut, 200, 409) | {201: ConsentOut},
    operation_id="record_consent",
)
def record_consent(request: HttpRequest, id: Id, statement: ConsentIn) -> Any:  # noqa: A002
    """Append a statement: 201 if it is news, 200 with what holds already, 409 if a no outweighs it."""
    caller = caller_of(request)
    caller.require(Permission.CHANGE_CUSTOMERS)
    customer = find_customer(caller, id)
    _check(statement)
    said = _record(caller, customer, statement)
    if said is not None:
        verb = "granted" if said.granted else "withdrawn"
        details = {"channel": said.channel, "purpose": said.purpose, "consent": said.pk}
        audit.record(
            caller.organization,
            caller.user,
            f"consent.{verb}",
            now=clock.now(),
            subject=customer.pk,
            **details,
        )
        return Status(201, _present(said))
    return _present(_holding(customer, statement))


def _check(statement: ConsentIn) -> None:
    if statement.by_customer and statement.granted and not statement.evidence:
        words = "Say what proves that the guest personally said yes, such as the number of the form."
        raise ApiError(422, words, details=[{"path": "evidence", "problem": words}])
    if statement.at is not None and statement.at > clock.now():
        words = "lies in the future"
        raise ApiError(
            422, "Some values are not valid: see details.", details=[{"path": "at", "problem": words}]
        )


def _record(caller: Caller, customer: Customer, statement: ConsentIn) -> Consent | None:
    told: dict[str, Any] = {
        "source": statement.source,
        "at": statement.at or clock.now(),
        "actor": caller.user.email,
        "evidence": statement.evidence,
    }
    shown: dict[str, Any] = {
        "wording": statement.wording,
        "wording_version": statement.wording_version,
        "basis": statement.basis,
    }
    marketing = statement.purpose == Purpose.MARKETING.value
    if marketing and not statement.granted:
        return opting.opt_out_customer(customer, statement.channel, **told)
    if marketing and statement.by_customer:
        return opting.opt_in(customer, statement.channel, **told, **shown)
    return consent.record(
        customer,
        statement.channel,
        statement.purpose,
        statement.granted,
        may_raise=statement.by_customer,
        **told,
        **shown,
    )


def _holding(customer: Customer, statement: ConsentIn) -> Consent:
    rows = Consent.objects.filter(customer=customer, channel=statement.channel, purpose=statement.purpose)
    held = rows.get(is_current=True)
    if held.granted != statement.granted:
        raise ApiError(
            409,
            "The guest has said no. Only a later yes by the guest personally outweighs it: "
            "send by_customer and its evidence, with the time at which it was said.",
            code="withdrawn",
        )
    return held


def find_customer(caller: Caller, customer_id: int) -> Customer:
    """The customer with this id in the caller's organization.

    Raises:
        ApiError: 404.
    """
    mine = Customer.objects.filter(pk=customer_id, organization=caller.organization)
    found = mine.select_related("organization").first()
    if found is None:
        raise ApiError(404, "There is no such customer.")
    return found


def _present(row: Consent) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ConsentOut.model_fields}
