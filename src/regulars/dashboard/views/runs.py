"""The runs: how far one is, what became of each message, and who was left out and why."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from regulars.customers.models import Customer
from regulars.dashboard import words
from regulars.dashboard.scope import (
    MemberRequest,
    automation_names,
    controls_runs,
    member_page,
    organization_of,
    sees_contact_data,
    sees_webhooks,
)
from regulars.dashboard.views.automations import by_size
from regulars.lib import clock
from regulars.organizations import audit
from regulars.runs import engine
from regulars.runs.models import Message, Run, RunState, Skip

RUNS_A_PAGE = 25
ROWS_A_PAGE = 100
# What each tab lists. `skipped` also lists who was left out before a message was planned.
TABS = {
    "sent": ["sent", "delivered", "read", "bounced"],
    "failed": ["failed"],
    "unknown": ["unknown"],
    "skipped": ["withheld"],
    "held": ["queued", "sending"],
}


@dataclass(frozen=True, slots=True)
class Row:
    """A message or a guest left out, as a tab lists it."""

    ordinal: int
    customer_id: int
    reason: str = ""
    message: Message | None = None
    # The automation that wrote, or goes first, instead.
    winner_id: UUID | None = None


@member_page
def index(request: MemberRequest) -> HttpResponse:
    """The runs of the organization, the newest first."""
    runs = _mine(request).order_by("-created_at")
    shown = Paginator(runs, RUNS_A_PAGE).get_page(request.GET.get("page"))
    rows = [{"run": run, "counts": engine.counts(run)} for run in shown]
    context = {"rows": rows, "page": shown, "sees_webhooks": sees_webhooks(request)}
    return render(request, "dashboard/runs.html", context)


@member_page
def page(request: MemberRequest, run_id: UUID) -> HttpResponse:
    """One run: live counts, then its messages and the guests left out."""
    run = get_object_or_404(_mine(request), pk=run_id)
    counts = engine.counts(run)
    tab = request.GET.get("show") or ("held" if counts.held and not counts.sent else "sent")
    if tab not in TABS:
        raise Http404
    rows = _rows(run, tab, number_in(request.GET.get("after")))
    retryable = tab == "failed" and not _is_stopped(run) and engine.retryable(run, clock.now())
    guests = Customer.objects.in_bulk({row.customer_id for row in rows})
    return render(
        request,
        "dashboard/run.html",
        _progress(request, run, counts)
        | {
            "tab": tab,
            "rows": [{"row": row, "guest": guests.get(row.customer_id)} for row in rows],
            "next_after": rows[-1].ordinal if len(rows) == ROWS_A_PAGE else None,
            "names": automation_names(request),
            "retryable": retryable,
            "stopped": _is_stopped(run),
            "reasons": by_size(counts.skipped_by_reason),
            "sees_contact_data": sees_contact_data(request),
        },
    )


@member_page
def progress(request: MemberRequest, run_id: UUID) -> HttpResponse:
    """The live part of a run's page; tells the rest of the page when the run is over."""
    run = get_object_or_404(_mine(request), pk=run_id)
    context = _progress(request, run, engine.counts(run))
    response = render(request, "dashboard/_progress.html", context | {"live": True})
    if context["over"]:
        response.headers["HX-Trigger"] = "run-over"
    return response


@member_page
def cancel(request: MemberRequest, run_id: UUID) -> HttpResponse:
    """Ask first, then withhold what has not been handed over yet."""
    run = _controlled(request, run_id)
    if request.method == "POST":
        engine.cancel(run, clock.now())
        _record(request, run, "run.cancelled")
        return redirect("run", run.pk)
    return render(request, "dashboard/run_cancel.html", {"run": run, "counts": engine.counts(run)})


@member_page
def resume(request: MemberRequest, run_id: UUID) -> HttpResponse:
    """Let a paused run go on."""
    run = _controlled(request, run_id)
    engine.resume(run, clock.now())
    _record(request, run, "run.resumed")
    return redirect("run", run.pk)


@member_page
def pause(request: MemberRequest, run_id: UUID) -> HttpResponse:
    """Hold a run where it is until somebody lets it go on."""
    run = _controlled(request, run_id)
    engine.pause(run, gettext("Paused by %(email)s") % {"email": request.user.email})
    _record(request, run, "run.paused")
    return redirect("run", run.pk)


@member_page
def retry(request: MemberRequest, run_id: UUID) -> HttpResponse:
    """Ask first, then try once more what failed for a reason that may have passed."""
    run = _controlled(request, run_id)
    if request.method != "POST":
        found = engine.retryable(run, clock.now())
        return render(request, "dashboard/run_retry.html", {"run": run, "found": found})
    try:
        retried = engine.retry(run, request.user.email, clock.now())
    except engine.RunStoppedError:
        return _stopped(request, run)
    number = retried.queued
    _record(request, run, "run.retried", queued=number, too_late=retried.too_late)
    text = ngettext("%(number)d message is tried again.", "%(number)d messages are tried again.", number)
    messages.success(request, text % {"number": number})
    return redirect("run", run.pk)


@member_page
def settle_all(request: MemberRequest, run_id: UUID) -> HttpResponse:
    """Ask first, then record a person's decision on every message of the run that is in doubt."""
    run = _controlled(request, run_id)
    asked = request.GET if request.method != "POST" else request.POST
    decision = _decision(asked.get("decision", ""))
    if request.method != "POST":
        context = {"run": run, "number": engine.counts(run).unknown, "decision": str(decision)}
        return render(request, "dashboard/run_settle.html", context)
    try:
        number = engine.settle_all(run, decision, request.user.email, clock.now())
    except engine.RunStoppedError:
        return _stopped(request, run)
    _record(request, run, "run.settled", decision=str(decision), settled=number)
    text = ngettext("%(number)d message is decided.", "%(number)d messages are decided.", number)
    messages.success(request, text % {"number": number})
    return redirect("run", run.pk)


@member_page
def look_up(request: MemberRequest, run_id: UUID) -> HttpResponse:
    """Ask the providers what became of the messages in doubt; what they know settles them."""
    run = _controlled(request, run_id)
    found = engine.look_up(run, clock.now())
    _record(request, run, "run.looked_up", asked=found.asked, settled=found.settled)
    if found.asked:
        text = gettext("The provider knew of %(settled)d of %(asked)d messages.")
        messages.success(request, text % {"settled": found.settled, "asked": found.asked})
    if found.cannot:
        text = gettext("%(provider)s cannot be asked: look it up there yourself, then decide here.")
        messages.error(request, text % {"provider": ", ".join(sorted(found.cannot))})
    return redirect(f"{reverse('run', args=[run.pk])}?show=unknown")


@member_page
def settle(request: MemberRequest, message_id: int) -> HttpResponse:
    """Record a person's decision on a message of which nobody knows whether it arrived."""
    mine = Message.objects.filter(organization_id=organization_of(request).pk)
    message = get_object_or_404(mine, pk=message_id)
    if not controls_runs(request):
        raise PermissionDenied(gettext("Your role may not decide unknown messages here."))
    decision = _decision(request.POST.get("decision", ""))
    try:
        engine.settle(message.pk, decision, request.user.email, clock.now())
        _record(request, message.run, "message.settled", decision=str(decision), message=message.pk)
        messages.success(request, gettext("Your decision is recorded."))
    except engine.RunStoppedError:
        return _stopped(request, message.run)
    except engine.NotUnknownError:
        messages.error(request, gettext("This message has been decided in the meantime."))
    return redirect("run", message.run_id)


def _record(request: MemberRequest, run: Run, action: str, **details: Any) -> None:
    organization = organization_of(request)
    audit.record(organization, request.user, action, now=clock.now(), subject=run.pk, **details)


def _mine(request: MemberRequest) -> QuerySet[Run]:
    mine = Run.objects.filter(organization=organization_of(request))
    return mine.select_related("automation__organization", "requested_by")


def _controlled(request: MemberRequest, run_id: UUID) -> Run:
    run = get_object_or_404(_mine(request), pk=run_id)
    if not controls_runs(request):
        raise PermissionDenied(gettext("Your role may not stop or resume runs here."))
    return run


def _is_stopped(run: Run) -> bool:
    """Whether it ended for good: nothing of it can be sent again."""
    return engine.has_ended(run) and run.state != RunState.FINISHED


def _decision(text: str) -> engine.Decision:
    if text not in list(engine.Decision):
        raise Http404
    return engine.Decision(text)


def _stopped(request: MemberRequest, run: Run) -> HttpResponse:
    messages.error(request, gettext("This run was stopped for good: nothing of it is sent again."))
    return redirect("run", run.pk)


def _progress(request: MemberRequest, run: Run, counts: engine.Counts) -> dict[str, Any]:
    # A run that is paused or has only future messages may go on: its page keeps looking.
    over = engine.has_ended(run)
    return {
        "run": run,
        "counts": counts,
        "over": over,
        "done": counts.processed - counts.held,
        # Failed counts the unknown ones too; the page tells them apart.
        "failed": counts.failed - counts.unknown,
        "no_worker": not over and not engine.worker_alive(),
        "controls_runs": controls_runs(request),
        "holds": [words.hold(hold) for hold in engine.holds(run, clock.now())],
        # The browser listens to the run's events; it asks for this part only when the words change.
        "by_events": request.GET.get("by") == "events",
        # What the page showed last: a screen reader hears of the state only when it changes.
        "state_changed": request.GET.get("seen") != run.state,
    }


def number_in(text: str | None) -> int:
    """The number of the row after which a page goes on; anything else means the start."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else 0


def _rows(run: Run, tab: str, after: int) -> list[Row]:
    if tab == "skipped":
        return _left_out(run, after)
    found = _messages(run, tab).filter(pk__gt=after)[:ROWS_A_PAGE]
    return [Row(message.pk, message.customer_id, message.reason, message) for message in found]


def _messages(run: Run, tab: str) -> QuerySet[Message]:
    return Message.objects.filter(run=run, state__in=TABS[tab]).order_by("pk")


def _left_out(run: Run, after: int) -> list[Row]:
    """Withheld messages first (few, on the first page), then the guests that got no message.

    A run by hand keeps its whole list for a while; otherwise only what is new is recorded.
    """
    withheld = [] if after else list(_messages(run, "skipped")[:ROWS_A_PAGE])
    listed = [Row(0, message.customer_id, message.reason, message) for message in withheld]
    verdicts = engine.verdicts(run).exclude(reason=None)
    if verdicts.exists():
        kept = verdicts.filter(ordinal__gt=after)[:ROWS_A_PAGE]
        return listed + [
            Row(row.ordinal, row.customer_id, row.reason or "", winner_id=row.winner_id) for row in kept
        ]
    skips = Skip.objects.filter(run_id=run.pk, pk__gt=after).order_by("pk")[:ROWS_A_PAGE]
    return listed + [Row(skip.pk, skip.customer_id, skip.reason, winner_id=skip.winner_id) for skip in skips]
