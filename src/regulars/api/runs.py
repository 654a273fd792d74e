"""Runs, messages, who was left out, the sandbox's outbox: what happened, and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Router

from regulars.api.callers import Caller, caller_of
from regulars.api.errors import ApiError
from regulars.api.paging import After, Limit, newest_first, page
from regulars.api.parsing import Id
from regulars.api.run_schemas import (
    LookUpOut,
    MessageDetail,
    MessagePage,
    PauseIn,
    RetryIn,
    RetryOut,
    RunDetail,
    RunOut,
    RunPage,
    SettleAllOut,
    SettleIn,
    SkipPage,
)
from regulars.api.schemas import OutboxPage, answers
from regulars.api.streaming import present_hold
from regulars.lib import clock
from regulars.lib.masking import mask_address, mask_text
from regulars.organizations import audit
from regulars.organizations.access import Permission
from regulars.runs import eligibility, engine
from regulars.runs.models import DeliveryEvent, Message, Run, RunState, SandboxMessage, Skip

router = Router(tags=["runs"])

# From which states a person may do what; the engine checks again when it acts.
_GOING = {RunState.SENDING, RunState.WAITING}
_FROM = {
    "cancelled": {RunState.PLANNING, RunState.PAUSED} | _GOING,
    "paused": _GOING,
    "resumed": {RunState.PAUSED, RunState.PLANNING},
}

State = Literal["queued", "sending", "sent", "delivered", "read", "failed", "withheld", "unknown", "bounced"]


@router.get("/runs", response=answers(RunPage), operation_id="list_runs")
def list_runs(
    request: HttpRequest,
    automation: UUID | None = None,
    limit: Limit = 50,
    after: UUID | None = None,
) -> Any:
    """The runs of the organization, or of one automation, newest first."""
    rows = _visible(caller_of(request))
    if automation is not None:
        rows = rows.filter(automation_id=automation)
    return page(newest_first(rows, after), limit, present)


@router.get("/runs/{uuid:id}", response=answers(RunDetail), operation_id="read_run")
def read_run(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """One run with its counts, processed = sent + skipped + failed + held, and what it waits for."""
    run = _find(caller_of(request), id)
    return present(run) | {"holds": [present_hold(hold) for hold in engine.holds(run, clock.now())]}


@router.get("/runs/{uuid:id}/messages", response=answers(MessagePage), operation_id="list_messages")
def list_messages(
    request: HttpRequest,
    id: UUID,  # noqa: A002
    state: State | None = None,
    limit: Limit = 100,
    after: After = 0,
) -> Any:
    """The messages of a run."""
    caller = caller_of(request)
    rows = Message.objects.filter(run_id=_find(caller, id).pk, pk__gt=after).order_by("pk")
    if state is not None:
        rows = rows.filter(state=state)
    return page(rows, limit, lambda message: _present_message(caller, message))


@router.get("/runs/{uuid:id}/skips", response=answers(SkipPage), operation_id="list_skips")
def list_skips(
    request: HttpRequest,
    id: UUID,  # noqa: A002
    limit: Limit = 100,
    after: After = 0,
) -> Any:
    """Whom a run newly left out, each with the reason; it counts those left out again too."""
    run = _find(caller_of(request), id)
    rows = Skip.objects.filter(run_id=run.pk, pk__gt=after).order_by("pk")
    return page(rows, limit, _present_skip)


@router.post("/runs/{uuid:id}/cancel", response=answers(RunOut, 200, 409), operation_id="cancel_run")
def cancel_run(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """Stop a run: what has not been handed over is withheld, and may be sent by a later run."""
    return _control(caller_of(request), id, "cancelled", lambda run: engine.cancel(run, clock.now()))


@router.post("/runs/{uuid:id}/pause", response=answers(RunOut, 200, 409), operation_id="pause_run")
def pause_run(request: HttpRequest, id: UUID, pause: PauseIn) -> Any:  # noqa: A002
    """Hold a run where it is."""
    caller = caller_of(request)
    reason = pause.reason or f"Paused by {caller.user.email}"
    return _control(caller, id, "paused", lambda run: engine.pause(run, reason))


@router.post("/runs/{uuid:id}/resume", response=answers(RunOut, 200, 409), operation_id="resume_run")
def resume_run(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """Let a paused run go on."""
    return _control(caller_of(request), id, "resumed", lambda run: engine.resume(run, clock.now()))


@router.post("/runs/{uuid:id}/retry", response=answers(RetryOut, 200, 409), operation_id="retry_run")
def retry_run(request: HttpRequest, id: UUID, retry: RetryIn) -> Any:  # noqa: A002
    """One more try for each message that failed for a reason which may have passed."""
    caller, run = _controlled(request, id)
    with _stopped_runs():
        found = engine.retry(run, caller.user.email, clock.now(), retry.failures)
    _record(caller, run, "run.retried", queued=found.queued, too_late=found.too_late)
    return {"queued": found.queued, "too_late": found.too_late, "run": present(_find(caller, id))}


@router.post("/runs/{uuid:id}/look-up", response=answers(LookUpOut), operation_id="look_up_run")
def look_up_run(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """Ask the providers what became of the run's messages in doubt. Sends nothing."""
    caller, run = _controlled(request, id)
    found = engine.look_up(run, clock.now())
    _record(caller, run, "run.looked_up", asked=found.asked, settled=found.settled)
    shown = {"asked": found.asked, "settled": found.settled, "cannot": sorted(found.cannot)}
    return shown | {"run": present(_find(caller, id))}


@router.post("/runs/{uuid:id}/settle", response=answers(SettleAllOut, 200, 409), operation_id="settle_run")
def settle_run(request: HttpRequest, id: UUID, settle: SettleIn) -> Any:  # noqa: A002
    """Decide all messages of the run of which nobody knows whether they arrived."""
    caller, run = _controlled(request, id)
    decision = engine.Decision(settle.decision)
    with _stopped_runs():
        settled = engine.settle_all(run, decision, caller.user.email, clock.now())
    _record(caller, run, "run.settled", decision=settle.decision, settled=settled)
    return {"settled": settled, "run": present(_find(caller, id))}


@router.post(
    "/messages/{id}/settle", response=answers(MessageDetail, 200, 409), operation_id="settle_message"
)
def settle_message(request: HttpRequest, id: Id, settle: SettleIn) -> Any:  # noqa: A002
    """Decide one message of which nobody knows whether it arrived."""
    caller = caller_of(request)
    caller.require(Permission.CONTROL_RUNS)
    found = _find_message(caller, id)
    decision = engine.Decision(settle.decision)
    with _stopped_runs():
        engine.settle(found.pk, decision, caller.user.email, clock.now())
    _record(caller, found.run, "message.settled", decision=settle.decision, message=found.pk)
    return _detail(caller, _find_message(caller, id))


@router.get("/messages/{id}", response=answers(MessageDetail), operation_id="read_message")
def read_message(request: HttpRequest, id: Id) -> Any:  # noqa: A002
    """One message, and what was learned of it later."""
    caller = caller_of(request)
    return _detail(caller, _find_message(caller, id))


@router.get("/outbox", response=answers(OutboxPage), operation_id="list_outbox")
def list_outbox(request: HttpRequest, limit: Limit = 50, after: After = 0) -> Any:
    """What the sandbox took instead of guests, newest first."""
    caller = caller_of(request)
    rows = SandboxMessage.objects.filter(organization_id=caller.organization.pk).order_by("-pk")
    if after:
        rows = rows.filter(pk__lt=after)
    return page(rows, limit, lambda message: _present_outbox(caller, message))


def present(run: Run) -> dict[str, Any]:
    """A run as the API shows it."""
    counts = engine.counts(run)
    return {
        "id": run.pk,
        "automation_id": run.automation_id,
        "automation_name": run.automation.name,
        "version": run.version and run.version.number,
        "state": run.state,
        "reason": run.reason,
        "origin": run.origin,
        "requested_by": run.requested_by and run.requested_by.email,
        "processed": counts.processed,
        "sent": counts.sent,
        "skipped": counts.skipped,
        "failed": counts.failed,
        "held": counts.held,
        "unknown": counts.unknown,
        "skipped_by_reason": counts.skipped_by_reason,
        "scheduled_for": run.scheduled_for,
        "scheduled_until": run.scheduled_until,
        "created_at": run.created_at,
        "planned_at": run.planned_at,
        "finished_at": run.finished_at,
        "purged_at": run.purged_at,
    }


def _visible(caller: Caller) -> Any:
    rows = Run.objects.select_related("automation", "version", "requested_by")
    return rows.filter(organization=caller.organization)


def _find(caller: Caller, run_id: UUID) -> Run:
    found: Run | None = _visible(caller).filter(pk=run_id).first()
    if found is None:
        raise ApiError(404, "There is no such run.")
    return found


def _find_message(caller: Caller, message_id: int) -> Message:
    found = Message.objects.filter(pk=message_id, organization_id=caller.organization.pk).first()
    if found is None:
        raise ApiError(404, "There is no such message.")
    return found


def _controlled(request: HttpRequest, run_id: UUID) -> tuple[Caller, Run]:
    caller = caller_of(request)
    caller.require(Permission.CONTROL_RUNS)
    return caller, _find(caller, run_id)


def _record(caller: Caller, run: Run, action: str, **details: Any) -> None:
    audit.record(caller.organization, caller.user, action, now=clock.now(), subject=run.pk, **details)


@contextmanager
def _stopped_runs() -> Iterator[None]:
    """Turn what the engine refuses into a 409 in its words."""
    try:
        yield
    except engine.RunStoppedError as error:
        raise ApiError(409, str(error), code="run_stopped") from error
    except engine.NotUnknownError as error:
        raise ApiError(409, str(error), code="not_unknown") from error


def _control(caller: Caller, run_id: UUID, verb: str, act: Any) -> dict[str, Any]:
    caller.require(Permission.CONTROL_RUNS)
    run = _find(caller, run_id)
    if run.state not in _FROM[verb]:
        raise ApiError(409, f"A run that is {run.state} cannot be {verb}.")
    act(run)
    _record(caller, run, f"run.{verb}")
    return present(_find(caller, run_id))


def _present_message(caller: Caller, message: Message) -> dict[str, Any]:
    names = (
        "id run_id automation_id customer_id occasion purpose channel account_id address state "
        "reason error provider_id attempt due_at expires_at send_after created_at accepted_at "
        "state_at"
    )
    shown = {name: getattr(message, name) for name in names.split()}
    if not caller.sees_addresses:
        shown |= {"address": mask_address(message.address), "error": mask_text(message.error)}
    return shown


def _detail(caller: Caller, message: Message) -> dict[str, Any]:
    events = DeliveryEvent.objects.filter(message_id=message.pk).order_by("pk")
    shown = list(events.values("kind", "attempt", "actor", "at"))
    return _present_message(caller, message) | {"events": shown}


def _present_skip(skip: Skip) -> dict[str, Any]:
    return {
        "id": skip.pk,
        "customer_id": skip.customer_id,
        "occasion": skip.occasion,
        "reason": skip.reason,
        "words": eligibility.words(skip.reason),
        "winner_id": skip.winner_id,
        "at": skip.at,
    }


def _present_outbox(caller: Caller, message: SandboxMessage) -> dict[str, Any]:
    names = "id message_id account_id channel address subject body at"
    shown = {name: getattr(message, name) for name in names.split()}
    if not caller.sees_addresses:
        shown |= {
            "address": mask_address(message.address),
            "subject": mask_text(message.subject),
            "body": mask_text(message.body),
        }
    return shown
