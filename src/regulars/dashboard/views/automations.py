"""The automations: what there is, what each would do now, and the button that does it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext

from regulars.automations import slots, triggers
from regulars.automations.models import Automation, AutomationVersion
from regulars.automations.policy import Policy
from regulars.dashboard import words
from regulars.dashboard.scope import (
    MemberRequest,
    changes_automations,
    may_start_runs,
    member_page,
    organization_of,
)
from regulars.lib import clock
from regulars.runs import engine
from regulars.runs.models import Run


@dataclass(frozen=True, slots=True)
class Card:
    """One automation as the list shows it."""

    automation: Automation
    trigger: str
    who: str
    why: str
    channels: list[str]
    delivery: str
    # What is done where a channel cannot reach a guest; empty where there is only one.
    fallback: str
    when: str
    # Its next slot and the zone on whose clock it is shown.
    next_time: datetime | None
    zone: str
    last_run: Run | None
    last_counts: engine.Counts | None


@member_page
def index(request: MemberRequest) -> HttpResponse:
    """Every automation of the organization: who gets it, why now, and what the last run did."""
    return render(
        request,
        "dashboard/automations.html",
        {
            "cards": cards(list(mine(request))),
            "may_run": may_start_runs(request),
            "may_change": changes_automations(request),
            "home_zone": organization_of(request).timezone,
        },
    )


@member_page
def run(request: MemberRequest, automation_id: UUID) -> HttpResponse:
    """Ask first (how many guests would get it), then start a run and show it."""
    automation = get_object_or_404(mine(request), pk=automation_id)
    if not may_start_runs(request):
        raise PermissionDenied(
            gettext("Your role may not run automations here. Ask an owner of the organization.")
        )
    if request.method == "POST":
        return _start(request, automation)
    try:
        result = engine.preview(automation, clock.now(), limit=0)
    except engine.AutomationNotReadyError as problem:
        return not_ready(request, problem)
    # The same question fills the dialog of the list, or a page of its own without JavaScript.
    asked_by_dialog = request.headers.get("HX-Request") == "true"
    return render(
        request,
        "dashboard/_run_confirm.html" if asked_by_dialog else "dashboard/run_confirm.html",
        {
            "automation": automation,
            "preview": result,
            "left_out": sum(result.skipped_by_reason.values()),
            "channels": by_size(result.by_channel),
        },
    )


def by_size(counts: dict[str, int]) -> list[tuple[str, int]]:
    """The entries that are not zero, the largest first."""
    return sorted(((key, n) for key, n in counts.items() if n), key=lambda entry: -entry[1])


def _start(request: MemberRequest, automation: Automation) -> HttpResponse:
    try:
        started = engine.start(automation, now=clock.now(), user=request.user)
    except engine.AutomationNotActiveError:
        messages.error(
            request,
            gettext("“%(name)s” is switched off or paused, so nothing was sent. Switch it on first.")
            % {"name": automation.name},
        )
        return redirect("automations")
    except engine.AutomationNotReadyError as problem:
        return not_ready(request, problem)
    return redirect("run", started.pk)


def not_ready(request: MemberRequest, problem: Exception) -> HttpResponse:
    """Back to the list, which says what is missing; htmx is told to load the whole page."""
    messages.error(request, str(problem))
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(headers={"HX-Redirect": reverse("automations")})
    return redirect("automations")


def mine(request: MemberRequest) -> QuerySet[Automation]:
    """The automations of the organization whose pages are shown, the oldest first."""
    alive = Automation.objects.filter(organization=organization_of(request), deleted_at=None)
    return alive.select_related("organization").order_by("created_at", "pk")


def cards(automations: Iterable[Automation]) -> list[Card]:
    """Each automation with its sentences and its last run."""
    listed = list(automations)
    versions = {
        version.automation_id: version
        for version in AutomationVersion.objects.filter(
            automation__in=listed, number=F("automation__version_number")
        )
    }
    newest = Run.objects.filter(automation__in=listed).order_by("automation_id", "-created_at")
    last_runs = {run.automation_id: run for run in newest.distinct("automation_id")}
    return [_card(each, versions.get(each.pk), last_runs.get(each.pk)) for each in listed]


def _card(automation: Automation, version: AutomationVersion | None, last_run: Run | None) -> Card:
    label, parameters = _trigger(automation, version)
    return Card(
        automation=automation,
        trigger=gettext(label),
        who=words.who_gets_it(automation.trigger, parameters, label),
        why=words.why_now(automation.trigger, parameters),
        channels=list(version.channels) if version else [],
        when=words.when(automation.schedule),
        next_time=next(iter(slots.next_times(automation, clock.now(), 1)), None),
        zone=slots.zone_of(automation),
        delivery=words.in_words(words.DELIVERIES, _delivery(version)),
        fallback=_fallback(version),
        last_run=last_run,
        last_counts=engine.counts(last_run) if last_run else None,
    )


def _delivery(version: AutomationVersion | None) -> str:
    return (version and version.policy.get("delivery")) or Policy().delivery


def _fallback(version: AutomationVersion | None) -> str:
    if version is None or len(version.channels) < 2:
        return ""
    return str(words.FALLBACKS[bool(version.policy.get("fallback"))])


def _trigger(automation: Automation, version: AutomationVersion | None) -> tuple[str, dict[str, Any]]:
    """The trigger's label, and its parameters with the defaults filled in."""
    given = version.parameters if version else {}
    try:
        trigger = triggers.get(automation.trigger)
    except triggers.UnknownTriggerError:
        return automation.trigger, given
    return trigger.label, trigger.parameters.model_validate(given).model_dump()
