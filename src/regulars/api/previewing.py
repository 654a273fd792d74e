"""What a run would do, and why: the dry run, its list, and the explanation of one customer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Router
from pydantic import Field

from regulars.api.automations import find
from regulars.api.callers import Caller, caller_of
from regulars.api.errors import ApiError
from regulars.api.paging import After, Limit
from regulars.api.parsing import Id
from regulars.api.preview_schemas import DueOut, ExplanationList, PreviewOut, VerdictPage
from regulars.api.schemas import answers
from regulars.customers.models import Customer
from regulars.lib import clock
from regulars.lib.masking import mask_address, mask_text
from regulars.lib.spreadsheets import csv_blocks, csv_response
from regulars.runs import eligibility, engine

router = Router(tags=["previews"])

SAMPLES = 5
Samples = Annotated[int, Field(ge=0, le=20, description="Rendered messages, chosen to differ")]
Verdict = Annotated[
    Literal["", "send", *eligibility.REASONS],  # type: ignore[valid-type]  # from the closed list
    Field(description="Only these: `send`, or the code of one reason. A page may then be short"),
]


@router.get(
    "/automations/{uuid:id}/preview",
    response=answers(PreviewOut, 200, 409),
    operation_id="preview_automation",
)
def preview_automation(
    request: HttpRequest,
    id: UUID,  # noqa: A002
    limit: Limit = 100,
    samples: Samples = SAMPLES,
) -> Any:
    """The dry run: whom a run would write to now, and why not the others. Sends nothing.

    It judges everybody who is due: for a hundred thousand that takes seconds. `/preview/due` is
    there at once.
    """
    caller = caller_of(request)
    automation = find(caller, id)
    with _readiness():
        found = engine.preview(automation, clock.now(), limit=limit, sample=samples)
    return {
        "due": found.due,
        "send": found.send,
        "skipped_by_reason": found.skipped_by_reason,
        "by_channel": found.by_channel,
        "held": found.held,
        "first_leaves": found.first_leaves,
        "last_leaves": found.last_leaves,
        "cost_by_channel": found.cost_by_channel,
        "days": found.days,
        "delivery": found.delivery,
        "rows": [_row(caller, row) for row in found.rows],
        "samples": [_sample(caller, sample) for sample in found.samples],
    }


@router.post(
    "/automations/{uuid:id}/preview",
    response=answers(PreviewOut, 200, 409),
    operation_id="preview_automation_by_post",
)
def preview_automation_by_post(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """The same dry run, beside `run`: replace one word to go from looking to doing."""
    return preview_automation(request, id, limit=100, samples=SAMPLES)


@router.get(
    "/automations/{uuid:id}/preview/due", response=answers(DueOut, 200, 409), operation_id="count_due"
)
def count_due(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """The first number of the preview, at once: how many are due, before anybody is judged."""
    automation = find(caller_of(request), id)
    with _readiness():
        return {"due": engine.count_due(automation, clock.now())}


@router.get(
    "/automations/{uuid:id}/preview/verdicts",
    response=answers(VerdictPage, 200, 409),
    operation_id="list_verdicts",
)
def list_verdicts(
    request: HttpRequest,
    id: UUID,  # noqa: A002
    limit: Limit = 100,
    after: After = 0,
    verdict: Verdict = "",
) -> Any:
    """The whole list of the preview, `limit` customers a page. Each page is judged as of now."""
    caller = caller_of(request)
    automation = find(caller, id)
    with _readiness():
        rows, last = engine.forecast(automation, clock.now(), after=after, limit=limit, verdict=verdict)
    return {"items": [_row(caller, row) | _name(row) for row in rows], "next": last}


@router.get(
    "/automations/{uuid:id}/preview/verdicts.csv",
    response=answers(None, 200, 409),
    operation_id="export_verdicts",
    openapi_extra={
        "responses": {
            200: {
                "description": "One row a verdict, by customer; times in the organization's zone",
                "content": {"text/csv": {"schema": {"type": "string"}}},
            }
        }
    },
)
def export_verdicts(request: HttpRequest, id: UUID, verdict: Verdict = "") -> Any:  # noqa: A002
    """The whole list of the preview as one CSV file, as of one moment."""
    caller = caller_of(request)
    automation = find(caller, id)
    with _readiness():
        guests = engine.forecast_all(automation, clock.now(), verdict)
    zone, shown = caller.organization.timezone, caller.sees_addresses
    rows = (guest.cells(zone, show_addresses=shown) for guest in guests)
    return csv_response(request, csv_blocks(engine.Guest.HEADER, rows), "preview.csv")


@router.get("/customers/{id}/explain", response=answers(ExplanationList), operation_id="explain_customer")
def explain_customer(request: HttpRequest, id: Id, automation: UUID | None = None) -> Any:  # noqa: A002
    """Why each automation, or one, would write to this customer now or not, and when that may change."""
    caller = caller_of(request)
    customer = (
        Customer.objects.filter(pk=id, organization=caller.organization)
        .select_related("organization")
        .first()
    )
    if customer is None:
        raise ApiError(404, "There is no such customer.")
    only = None if automation is None else find(caller, automation)
    found = engine.explain(customer, clock.now(), only)
    return {"customer_id": customer.pk, "explanations": [_explanation(caller, each) for each in found]}


@contextmanager
def _readiness() -> Iterator[None]:
    """Turn what the engine cannot preview into a 409 in its words."""
    try:
        yield
    except engine.AutomationNotReadyError as error:
        raise ApiError(409, str(error), code="not_ready") from error


def _shown(caller: Caller, address: str | None) -> str | None:
    return mask_address(address) if address and not caller.sees_addresses else address


def _row(caller: Caller, row: engine.VerdictRow) -> dict[str, Any]:
    return {
        "customer_id": row.customer_id,
        "occasion": row.occasion,
        "reason": row.reason,
        "words": row.reason and eligibility.words(row.reason),
        "winner_id": row.winner_id,
        "channel": row.channel,
        "address": _shown(caller, row.address),
        "due_at": row.due_at,
        "send_after": None if row.reason else row.send_after,
        "cost": row.cost,
    }


def _name(guest: engine.Guest) -> dict[str, Any]:
    return {
        "external_id": guest.external_id,
        "first_name": guest.first_name,
        "last_name": guest.last_name,
    }


def _sample(caller: Caller, sample: engine.Sample) -> dict[str, Any]:
    names = "customer_id occasion channel language send_after problem shows"
    shown = {name: getattr(sample, name) for name in names.split()}
    shown["address"] = _shown(caller, sample.address)
    texts = {name: getattr(sample, name) for name in ("subject", "body", "html")}
    if not caller.sees_addresses:
        texts = {name: mask_text(text) for name, text in texts.items()}
    return shown | texts


def _explanation(caller: Caller, found: engine.Explanation) -> dict[str, Any]:
    automation = found.automation
    names = "verdict due occasion reason words winner_id channel due_at expires_at send_after changes_at"
    shown = {name: getattr(found, name) for name in names.split()}
    zone, addresses = caller.organization.timezone, caller.sees_addresses
    return shown | {
        "automation": {"id": automation.pk, "name": automation.name, "enabled": automation.enabled},
        "address": _shown(caller, found.address),
        "evidence": [
            {
                "kind": fact.kind,
                "words": fact.text(zone, show_addresses=addresses),
                "at": fact.at,
                "reference": fact.reference,
            }
            for fact in found.evidence
        ],
    }
