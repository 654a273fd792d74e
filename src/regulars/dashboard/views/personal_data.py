"""A guest's rights as pages: export, erase, merge, block. Asks before what cannot be taken back."""

import json
from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.serializers.json import DjangoJSONEncoder
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, ngettext

from regulars.customers import blocking, opting
from regulars.customers.models import Customer
from regulars.dashboard import words
from regulars.dashboard.scope import MemberRequest, member_page, organization_of
from regulars.lib import clock
from regulars.organizations import audit
from regulars.organizations.access import Permission, may
from regulars.runs import rights

if TYPE_CHECKING:
    from django.db.models import QuerySet


@member_page
def export(request: MemberRequest, customer_id: int) -> HttpResponse:
    """Everything on record about the guest, as a file to hand over."""
    guest = _guest(request, customer_id, Permission.MANAGE_PERSONAL_DATA)
    found = rights.export(guest, clock.now(), request.user)
    text = json.dumps(found, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2)
    answer = HttpResponse(text, content_type="application/json")
    answer.headers["Content-Disposition"] = f'attachment; filename="guest-{guest.pk}.json"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


@member_page
def erase(request: MemberRequest, customer_id: int) -> HttpResponse:
    """Ask first, then forget the guest."""
    guest = _guest(request, customer_id, Permission.MANAGE_PERSONAL_DATA)
    if request.method != "POST":
        return render(request, "dashboard/customer_erase.html", {"guest": guest})
    done = rights.erase(guest, clock.now(), request.user)
    text = gettext("Erased. %(addresses)d addresses get no more marketing.") % {"addresses": done.addresses}
    if done.others:
        more = ngettext(
            "%(number)d other guest shares one of them.",
            "%(number)d other guests share one of them.",
            done.others,
        )
        text = f"{text} {more % {'number': done.others}}"
    messages.success(request, text)
    return redirect("customers")


@member_page
def merge(request: MemberRequest, customer_id: int) -> HttpResponse:
    """Ask first, with both guests side by side, then make the other one part of this one."""
    guest = _guest(request, customer_id, Permission.MANAGE_PERSONAL_DATA)
    asked = request.POST if request.method == "POST" else request.GET
    number = asked.get("other", "").strip()
    other = _mine(request).filter(pk=int(number)).first() if number.isdecimal() and len(number) < 19 else None
    if other is None:
        messages.error(request, gettext("There is no guest with this number."))
        return redirect("customer", guest.pk)
    if request.method != "POST":
        return render(request, "dashboard/customer_merge.html", {"guest": guest, "other": other})
    try:
        rights.merge(guest, other, clock.now(), request.user)
        messages.success(request, gettext("They are one guest now."))
    except rights.MergeRefusedError:
        messages.error(request, gettext("These two cannot become one: one of them is gone, or they are one."))
    return redirect("customer", guest.pk)


@member_page
def block(request: MemberRequest, customer_id: int) -> HttpResponse:
    """Never write to the guest again, for the reason given; without a reason: take that back."""
    guest = _guest(request, customer_id, Permission.CHANGE_CUSTOMERS)
    reason = request.POST.get("reason", "").strip()[:64]
    changed = blocking.block(guest, reason) if reason else blocking.unblock(guest)
    if changed:
        action = "customer.blocked" if reason else "customer.unblocked"
        _record(request, guest, action)
        messages.success(request, gettext("Saved. It holds from the next message on."))
    return redirect("customer", guest.pk)


@member_page
def withdraw(request: MemberRequest, customer_id: int) -> HttpResponse:
    """The guest has told us, in person or on the telephone: no more marketing on this channel."""
    guest = _guest(request, customer_id, Permission.CHANGE_CUSTOMERS)
    channel = _channel(request)
    now, actor = clock.now(), request.user.email
    if opting.opt_out_customer(guest, channel, source="told the staff", at=now, actor=actor):
        _record(request, guest, "consent.withdrawn", channel=channel, purpose="marketing")
        messages.success(request, gettext("Saved. It holds from the next message on."))
    return redirect("customer", guest.pk)


@member_page
def wrong_person(request: MemberRequest, customer_id: int) -> HttpResponse:
    """Somebody else answers at this guest's address on a channel: it is not tried again."""
    guest = _guest(request, customer_id, Permission.CHANGE_CUSTOMERS)
    channel, now = _channel(request), clock.now()
    for address in opting.addresses_of(guest, channel):
        if opting.wrong_person(guest.organization, address, channel, now):
            _record(request, guest, "address.wrong_person", channel=channel)
            messages.success(request, gettext("Saved. It holds from the next message on."))
    return redirect("customer", guest.pk)


def _channel(request: MemberRequest) -> str:
    channel = request.POST.get("channel", "")
    if channel not in words.CHANNELS:
        raise Http404
    return channel


def _record(request: MemberRequest, guest: Customer, action: str, **details: str) -> None:
    audit.record(guest.organization, request.user, action, now=clock.now(), subject=guest.pk, **details)


def _guest(request: MemberRequest, customer_id: int, permission: Permission) -> Customer:
    guest = get_object_or_404(_mine(request), pk=customer_id)
    if not may(request.membership.role, permission):
        raise PermissionDenied(gettext("Your role may not change this. Ask a manager or an owner."))
    return guest


def _mine(request: MemberRequest) -> "QuerySet[Customer]":
    mine = Customer.objects.filter(organization=organization_of(request))
    return mine.select_related("organization")
