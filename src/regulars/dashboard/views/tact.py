"""How the house treats its guests: quiet hours, caps, and whose turn comes first."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext

from regulars.automations import order
from regulars.automations.problems import DefinitionError
from regulars.automations.tact import tact_of
from regulars.automations.tact_settings import change_tact
from regulars.dashboard import words
from regulars.dashboard.scope import MemberRequest, member_page, organization_of
from regulars.hospitality.venues import with_hours_of_their_own
from regulars.lib import clock
from regulars.organizations import audit
from regulars.organizations.access import Permission, may


@member_page
def page(request: MemberRequest) -> HttpResponse:
    """The settings that all automations share; those who may change automations may change them."""
    may_change = may(request.membership.role, Permission.CHANGE_AUTOMATIONS)
    if request.method == "POST":
        if not may_change:
            raise PermissionDenied(gettext("Your role may not change this. Ask a manager or an owner."))
        return _change(request)
    organization = organization_of(request)
    tact = tact_of(organization.tact)
    limits: dict[str, Any] = dict.fromkeys(words.CHANNELS)
    shown = {
        "tact": tact,
        "limits": list((limits | dict(tact.monthly_limits)).items()),
        "currency": organization.currency,
        "venues": with_hours_of_their_own(organization),
        "automations": order.ordered(organization),
        "may_change": may_change,
    }
    return render(request, "dashboard/tact.html", shown)


def _change(request: MemberRequest) -> HttpResponse:
    organization = organization_of(request)
    try:
        if lifted := request.POST.get("up"):
            _lift(request, lifted)
        else:
            change_tact(organization, _entered(request))
    except DefinitionError as problem:
        messages.error(request, " ".join(each["problem"] for each in problem.details))
        return redirect("tact")
    audit.record(organization, request.user, "organization.changed", now=clock.now())
    messages.success(request, gettext("Saved. It holds from the next message on."))
    return redirect("tact")


def _lift(request: MemberRequest, lifted: str) -> None:
    """Move one automation up by a place."""
    ids = [each.pk for each in order.ordered(organization_of(request))]
    place = next((n for n, each in enumerate(ids) if str(each) == lifted), 0)
    if place:
        ids[place - 1], ids[place] = ids[place], ids[place - 1]
        order.reorder(organization_of(request), ids)


def _entered(request: MemberRequest) -> dict[str, Any]:
    """What the form says, in the form of the API; empty hours or a cap without numbers: none."""
    given = request.POST
    hours = {"from": given.get("from", ""), "until": given.get("until", "")}
    caps = zip(given.getlist("messages"), given.getlist("days"), strict=False)
    return {
        "quiet_hours": hours if any(hours.values()) else None,
        "monthly_limits": {
            channel: amount for channel in words.CHANNELS if (amount := given.get(f"limit_{channel}"))
        },
        "numbers_confirmed_within_days": given.get("confirmed_within") or None,
        "caps": [{"messages": most, "days": days} for most, days in caps if most or days],
    }
