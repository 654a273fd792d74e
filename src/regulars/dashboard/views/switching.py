"""Switching an automation on and off; on asks first where it would write to many at once (E51)."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext

from regulars.automations import content
from regulars.automations.models import Automation
from regulars.dashboard.scope import MemberRequest, changes_automations, member_page, organization_of
from regulars.dashboard.views.automations import mine
from regulars.dashboard.views.runs import number_in
from regulars.lib import clock
from regulars.organizations import audit
from regulars.runs import engine


@member_page
def page(request: MemberRequest, automation_id: UUID) -> HttpResponse:
    """What it would do at once, and the yes to it; or the switch itself."""
    automation = get_object_or_404(mine(request), pk=automation_id)
    if not changes_automations(request):
        raise PermissionDenied(gettext("Your role may not change automations here."))
    if request.method != "POST":
        reach = engine.reach_of(automation, clock.now())
        return render(request, "dashboard/switch.html", {"automation": automation, "reach": reach})
    try:
        with transaction.atomic():
            _switch(request, automation)
    except (content.DefinitionError, engine.ReachGrewError) as problem:
        messages.error(request, _text(problem))
        return redirect("switch", automation.pk)
    return redirect("automations")


def _switch(request: MemberRequest, automation: Automation) -> None:
    now = clock.now()
    on = request.POST.get("state") == "on"
    if not on:
        content.disable(automation)
        text = gettext("“%(name)s” is off. What has not left yet stays here.")
    else:
        content.enable(automation, now)
        reach = engine.guard(automation, now, number_in(request.POST.get("reach")) or None)
        text = gettext("“%(name)s” is on.")
        if reach.withheld:
            text = gettext("“%(name)s” is on, for what becomes due from now on.")
    name = {"name": automation.name}
    action = "automation.enabled" if on else "automation.disabled"
    audit.record(organization_of(request), request.user, action, now=now, subject=automation.pk, **name)
    messages.success(request, text % name)


def _text(problem: Exception) -> str:
    details = getattr(problem, "details", None)
    return " ".join(line["problem"] for line in details) if details else str(problem)
