"""The guests: how each can be reached, what they allowed, and why they get what they get."""

from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Concat
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext

from regulars.callbacks import timeline
from regulars.customers.models import Address, Consent, Customer
from regulars.dashboard.scope import (
    MemberRequest,
    changes_customers,
    member_page,
    organization_of,
    sees_contact_data,
)
from regulars.lib import clock
from regulars.runs import engine
from regulars.runs.models import Message

GUESTS_SHOWN = 50
MESSAGES_SHOWN = 50
UNREAD_SHOWN = 20


@member_page
def index(request: MemberRequest) -> HttpResponse:
    """Find a guest by name, telephone number or e-mail address."""
    sought = request.GET.get("q", "").strip()[:200]
    found = _search(request, sought).order_by("last_name", "first_name", "pk")
    guests = list(found.prefetch_related("addresses")[: GUESTS_SHOWN + 1])
    return render(
        request,
        "dashboard/customers.html",
        {
            "guests": guests[:GUESTS_SHOWN],
            "more": len(guests) > GUESTS_SHOWN,
            "sought": sought,
            "unread": timeline.unread(organization_of(request))[:UNREAD_SHOWN],
            "sees_contact_data": sees_contact_data(request),
            "changes_customers": changes_customers(request),
        },
    )


@member_page
def page(request: MemberRequest, customer_id: int) -> HttpResponse:
    """One guest: contact data, consents, and the reason for or against each automation."""
    guest = get_object_or_404(_mine(request), pk=customer_id)
    sent = Message.objects.filter(customer_id=guest.pk).select_related("automation", "run")
    return render(
        request,
        "dashboard/customer.html",
        {
            "guest": guest,
            "addresses": Address.objects.filter(customer=guest).order_by("channel", "position"),
            "consents": Consent.objects.filter(customer=guest).order_by("-pk")[:MESSAGES_SHOWN],
            "explanations": engine.explain(guest, clock.now()),
            "sent": sent.order_by("-pk")[:MESSAGES_SHOWN],
            "said": timeline.inbound(organization_of(request), guest)[:MESSAGES_SHOWN],
            "changes_customers": changes_customers(request),
            "sees_contact_data": sees_contact_data(request),
        },
    )


@member_page
def looked_at(request: MemberRequest, inbound_id: int) -> HttpResponse:
    """A person has looked at what a guest wrote."""
    if not changes_customers(request):
        raise PermissionDenied(gettext("Your role may not change guests here."))
    row = timeline.looked_at(organization_of(request), inbound_id)
    if row is None:
        raise Http404
    return redirect("customer", row.customer_id) if row.customer_id else redirect("customers")


def _mine(request: MemberRequest) -> QuerySet[Customer]:
    mine = Customer.objects.filter(organization=organization_of(request))
    return mine.select_related("organization")


def _search(request: MemberRequest, sought: str) -> QuerySet[Customer]:
    guests = _mine(request)
    if not sought:
        return guests
    named = guests.annotate(full_name=Concat("first_name", Value(" "), "last_name"))
    wanted = Q(full_name__icontains=sought) | Q(external_id=sought)
    if sees_contact_data(request):
        wanted |= Q(pk__in=_addressed(request, sought))
    return named.filter(wanted)


def _addressed(request: MemberRequest, sought: str) -> QuerySet[Address, int]:
    """Guests whose address contains what is sought, however the number was written."""
    text = sought.lower()
    if digits := "".join(letter for letter in text if letter.isdigit()):
        text = text if "@" in text else digits
    mine = Address.objects.filter(organization=organization_of(request), address__contains=text)
    return mine.values_list("customer_id", flat=True)
