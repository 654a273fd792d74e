"""The sandbox's outbox: what would have reached a guest, word for word."""

from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.clickjacking import xframe_options_sameorigin

from regulars.customers.models import Customer
from regulars.dashboard.scope import (
    MemberRequest,
    member_page,
    organization_of,
    sees_contact_data,
)
from regulars.dashboard.security import EMAIL_POLICY, HEADER
from regulars.dashboard.views.runs import number_in
from regulars.runs.models import Message, SandboxMessage

ENTRIES_A_PAGE = 50


@member_page
def index(request: MemberRequest) -> HttpResponse:
    """The newest entries first, in pages by id."""
    entries = _mine(request).order_by("-pk")
    if before := number_in(request.GET.get("before")):
        entries = entries.filter(pk__lt=before)
    shown = list(entries[:ENTRIES_A_PAGE])
    messages = Message.objects.in_bulk([entry.message_id for entry in shown])
    guests = Customer.objects.in_bulk({message.customer_id for message in messages.values()})
    rows = [(entry, messages.get(entry.message_id)) for entry in shown]
    return render(
        request,
        "dashboard/outbox.html",
        {
            "rows": [
                {"entry": entry, "guest": message and guests.get(message.customer_id)}
                for entry, message in rows
            ],
            "next_before": shown[-1].pk if len(shown) == ENTRIES_A_PAGE else None,
            "sees_contact_data": sees_contact_data(request),
        },
    )


@member_page
def page(request: MemberRequest, entry_id: int) -> HttpResponse:
    """One entry with its whole text; an e-mail also as the guest would see it."""
    entry = get_object_or_404(_mine(request), pk=entry_id)
    message = Message.objects.filter(pk=entry.message_id).select_related("automation").first()
    guest = message and Customer.objects.filter(pk=message.customer_id).first()
    return render(
        request,
        "dashboard/outbox_entry.html",
        {
            "entry": entry,
            "message": message,
            "guest": guest,
            "sees_contact_data": sees_contact_data(request),
        },
    )


@xframe_options_sameorigin
@member_page
def email(request: MemberRequest, entry_id: int) -> HttpResponse:
    """The HTML of an e-mail as a document of its own, which may neither run nor load anything."""
    entry = get_object_or_404(_mine(request), pk=entry_id)
    if not entry.html:
        raise Http404
    response = HttpResponse(entry.html)
    response.headers[HEADER] = EMAIL_POLICY
    return response


def _mine(request: MemberRequest) -> QuerySet[SandboxMessage]:
    return SandboxMessage.objects.filter(organization_id=organization_of(request).pk)
