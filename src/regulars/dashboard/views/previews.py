"""What a run would do now: the numbers, some messages, and everybody by name, without doing it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.clickjacking import xframe_options_sameorigin

from regulars.customers.models import Customer
from regulars.dashboard.scope import (
    MemberRequest,
    automation_names,
    may_start_runs,
    member_page,
    organization_of,
    sees_contact_data,
)
from regulars.dashboard.security import EMAIL_POLICY, HEADER
from regulars.dashboard.views.automations import by_size, cards, mine, not_ready
from regulars.dashboard.views.runs import number_in
from regulars.lib import clock
from regulars.lib.spreadsheets import MARK, csv_blocks, csv_response
from regulars.runs import eligibility, engine

GLANCE = 20
SAMPLES = 5
GUESTS_A_PAGE = 100
# So many are judged while a person waits for the page; for more, the page shows how many are due
# and asks for the rest.
AT_ONCE = 20_000


@member_page
def page(request: MemberRequest, automation_id: UUID) -> HttpResponse:
    """The counts, five messages, and the first guests by name; of a large audience in two steps."""
    automation = get_object_or_404(mine(request), pk=automation_id)
    wanted = request.GET.get("judge") == "all"
    now = clock.now()
    try:
        due = None if wanted else engine.count_due(automation, now)
        judged = due is None or due <= AT_ONCE
        result = engine.preview(automation, now, limit=GLANCE, sample=SAMPLES) if judged else None
    except engine.AutomationNotReadyError as problem:
        return not_ready(request, problem)
    shown: dict[str, Any] = {"automation": automation, "due": due, "preview": result}
    if result is not None:
        shown |= _numbers(request, result, now)
    if wanted and request.headers.get("HX-Request") == "true":
        return render(request, "dashboard/_preview.html", shown)
    shown |= {"card": cards([automation])[0], "may_run": may_start_runs(request)}
    return render(request, "dashboard/preview.html", shown)


@member_page
def guests(request: MemberRequest, automation_id: UUID) -> HttpResponse:
    """Everybody who is due, or those with one verdict, in pages by guest."""
    automation = get_object_or_404(mine(request), pk=automation_id)
    now = clock.now()
    after, verdict = number_in(request.GET.get("after")), _verdict(request)
    try:
        rows, last = engine.forecast(automation, now, after=after, limit=GUESTS_A_PAGE, verdict=verdict)
    except engine.AutomationNotReadyError as problem:
        return not_ready(request, problem)
    return render(
        request,
        "dashboard/preview_guests.html",
        {
            "automation": automation,
            "rows": _with_guests(request, rows),
            "names": automation_names(request),
            "now": now,
            "next_after": last,
            "verdict": verdict,
            "verdicts": ["send", *eligibility.REASONS],
            "sees_contact_data": sees_contact_data(request),
        },
    )


@member_page
def file(request: MemberRequest, automation_id: UUID) -> HttpResponseBase:
    """Everybody who is due as a file for a spreadsheet, sent as it is made."""
    automation = get_object_or_404(mine(request), pk=automation_id)
    try:
        found = engine.forecast_all(automation, clock.now(), _verdict(request))
    except engine.AutomationNotReadyError as problem:
        return not_ready(request, problem)
    zone, shown = organization_of(request).timezone, sees_contact_data(request)
    first, *others = engine.Guest.HEADER
    rows = (guest.cells(zone, show_addresses=shown) for guest in found)
    return csv_response(request, csv_blocks([MARK + first, *others], rows), "preview.csv")


def _verdict(request: MemberRequest) -> str:
    """Which verdict the list is to show; empty: all."""
    wanted = request.GET.get("verdict", "")
    return wanted if wanted in ("send", *eligibility.REASONS) else ""


@xframe_options_sameorigin
@member_page
def email(request: MemberRequest, automation_id: UUID, customer_id: int) -> HttpResponse:
    """The e-mail that one guest would get, as a document of its own, which may neither run nor load."""
    automation = get_object_or_404(mine(request), pk=automation_id)
    try:
        found = engine.preview(automation, clock.now(), [customer_id], limit=0, sample=1)
    except engine.AutomationNotReadyError:
        raise Http404 from None
    if not found.samples or not found.samples[0].html:
        raise Http404
    response = HttpResponse(found.samples[0].html)
    response.headers[HEADER] = EMAIL_POLICY
    return response


def _numbers(request: MemberRequest, result: engine.Preview, now: datetime) -> dict[str, Any]:
    people = _people(request, [sample.customer_id for sample in result.samples])
    return {
        "rows": _with_guests(request, result.rows),
        "names": automation_names(request),
        "now": now,
        "samples": [{"sample": each, "guest": people.get(each.customer_id)} for each in result.samples],
        "left_out": sum(result.skipped_by_reason.values()),
        "reasons": by_size(result.skipped_by_reason),
        "channels": by_size(result.by_channel),
        "sees_contact_data": sees_contact_data(request),
    }


def _with_guests(request: MemberRequest, rows: Any) -> list[dict[str, Any]]:
    people = _people(request, [row.customer_id for row in rows])
    return [{"verdict": row, "guest": people.get(row.customer_id)} for row in rows]


def _people(request: MemberRequest, ids: list[int]) -> dict[int, Customer]:
    return Customer.objects.filter(organization=organization_of(request)).in_bulk(ids)
