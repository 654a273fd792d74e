"""When an automation runs by itself: the form in which its owner says so."""

import re
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext

from regulars.automations import content, slots, triggers
from regulars.automations.models import Automation
from regulars.automations.schedule import MAX_LATE_HOURS
from regulars.automations.schedule import WEEKDAYS as DAYS
from regulars.dashboard import words
from regulars.dashboard.scope import MemberRequest, changes_automations, member_page, organization_of
from regulars.lib import clock
from regulars.organizations import audit

# What a form without a schedule suggests: late enough for everybody, early enough to book for tonight.
SUGGESTED_TIME = "10:00"


@member_page
def page(request: MemberRequest, automation_id: UUID) -> HttpResponse:
    """Show the schedule, or save what was said; faults are said beside their field."""
    mine = Automation.objects.filter(organization=organization_of(request), deleted_at=None)
    automation = get_object_or_404(mine.select_related("organization"), pk=automation_id)
    if not changes_automations(request):
        raise PermissionDenied(gettext("Your role may not change automations here."))
    if request.method != "POST":
        return _form(request, automation, automation.schedule or {}, _kind(automation.schedule))
    stated = _stated(request.POST)
    try:
        with transaction.atomic():
            content.change_schedule(automation, stated, clock.now())
            _record(request, automation)
    except content.DefinitionError as error:
        faults = words.schedule_faults(error.details)
        return _form(request, automation, stated or {}, request.POST.get("kind", ""), faults)
    messages.success(request, _saved(automation))
    return redirect("automations")


def _record(request: MemberRequest, automation: Automation) -> None:
    name, now = {"name": automation.name}, clock.now()
    organization = organization_of(request)
    audit.record(organization, request.user, "automation.changed", now=now, subject=automation.pk, **name)


def _saved(automation: Automation) -> str:
    text = gettext("“%(name)s”: %(when)s") % {
        "name": automation.name,
        "when": words.when(automation.schedule),
    }
    return text if automation.enabled else f"{text} {gettext('It is switched off at the moment.')}"


def _stated(form: QueryDict) -> dict[str, Any] | None:
    """The schedule that the form states, as the API would have it; checking is not done here."""
    match form.get("kind"):
        case "times":
            texts = re.split(r"[\s,;]+", form.get("times", "").strip())
            # 9:30 is as good as 09:30.
            times = [f"0{text}" if text[1:2] == ":" else text for text in texts if text]
            stated: dict[str, Any] = {"times": times}
            days = form.getlist("weekdays")
            if days and len(days) < len(DAYS):
                stated["weekdays"] = days
        case "cron":
            stated = {"cron": form.get("cron", "")}
        case "as_it_happens":
            return {"as_it_happens": True}
        case _:
            return None
    late = form.get("max_late_hours", "").strip()
    if late and late != str(MAX_LATE_HOURS):
        stated["max_late_hours"] = int(late) if late.isascii() and late.isdigit() else late
    return stated | ({"timezone": form["timezone"]} if form.get("timezone") else {})


def _kind(schedule: dict[str, Any] | None) -> str:
    return next((kind for kind in ("times", "cron", "as_it_happens") if kind in (schedule or {})), "none")


def _form(
    request: MemberRequest,
    automation: Automation,
    schedule: dict[str, Any],
    kind: str,
    faults: dict[str, str] | None = None,
) -> HttpResponse:
    zones = triggers.timezones(automation.organization)
    zone = schedule.get("timezone", "")
    return render(
        request,
        "dashboard/schedule.html",
        {
            "automation": automation,
            "kind": kind,
            "faults": faults or {},
            "times": ", ".join(schedule.get("times") or [SUGGESTED_TIME]),
            "days": [
                (day, name, day in (schedule.get("weekdays") or DAYS))
                for day, name in zip(DAYS, WEEKDAYS.values(), strict=True)
            ],
            "cron": schedule.get("cron", ""),
            "zone": zone,
            "zones": zones if zone in ("", *zones) else [*zones, zone],
            "max_late_hours": schedule.get("max_late_hours", MAX_LATE_HOURS),
            "follows_event": slots.may_follow_event(automation),
        },
        status=422 if faults else 200,
    )
