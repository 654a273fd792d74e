"""`POST /api/automations/{id}/run` to the letter of the ordered document: start, wait, answer."""

import logging
import math
import re
from typing import Annotated, Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from ninja import Router
from pydantic import Field, WithJsonSchema

from regulars.api import waiting
from regulars.api.callers import Caller, caller_of, uuid_or_none
from regulars.api.schemas import EVERY_REFUSAL, RunAnswer, RunFailure, RunRefusal
from regulars.automations.models import Automation
from regulars.lib import clock
from regulars.organizations import audit
from regulars.runs import engine
from regulars.runs.models import Run, RunState

log = logging.getLogger(__name__)
router = Router(tags=["run"])

CONTINUES = "The run continues in the background: see GET /api/runs/{run_id}."
NO_WORKER = (
    "No worker is running: the run starts as soon as one does (regulars worker). See GET /api/runs/{run_id}."
)
TOO_MANY_WAIT = "Too many callers are waiting already. " + CONTINUES

# Documented as a UUID, but any text reaches the view, which has the document's words for it.
IdText = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "uuid", "description": "Automation ID (UUID)"}),
]
WaitSeconds = Annotated[
    int,
    Field(
        ge=0,
        description="Seconds to wait at most, within the server's own limit; 0 answers at once",
    ),
]
DEFAULT_WAIT = math.ceil(settings.RUN_WAIT_SECONDS)
PREFER = {
    "in": "header",
    "name": "Prefer",
    "description": "`respond-async` answers at once, `wait=N` after N seconds",
    "required": False,
    "schema": {"type": "string"},
}

# The document's order of keys; `held` and `run_id` are ours.
_KEYS = (
    "success",
    "processed",
    "sent",
    "skipped",
    "failed",
    "held",
    "errors",
    "message",
    "run_id",
    "timestamp",
)
_PREFERENCE = re.compile(r"""\s*([\w-]+)(?:\s*=\s*"?(\d{1,9})"?)?\s*""")


@router.post(
    "/automations/{segment:id}/run",
    response=EVERY_REFUSAL | {200: RunAnswer, 400: RunRefusal, 500: RunFailure},
    operation_id="run_automation",
    summary="Run an automation now",
    openapi_extra={"parameters": [PREFER]},
)
async def run_automation(
    request: HttpRequest,
    id: IdText,  # noqa: A002  the document's name
    wait: WaitSeconds = DEFAULT_WAIT,
) -> Any:
    """Manually execute a specific marketing automation, and wait for its counts.

    Any signed-in member may run. Nobody is written to twice on one occasion, however often this is
    called; two callers at once share one run. When the wait ends first, the answer has the counts
    so far, and the run goes on. An unknown automation is a 500, as ordered.
    """
    name = id.strip()
    if not name:
        return _bare_refusal("Automation ID is required")
    found = uuid_or_none(name)
    if found is None:
        return _bare_refusal("Automation ID must be a UUID, such as 123e4567-e89b-12d3-a456-426614174000")
    caller = caller_of(request)
    caller.require_run()
    return await _execute(
        caller, found, min(wait, preferred(request.headers.get("Prefer", "")), settings.RUN_WAIT_SECONDS)
    )


def preferred(header: str) -> float:
    """The seconds that a `Prefer` header (RFC 7240) asks to wait; infinite if it does not say.

    Preferences that are not understood are ignored, as the RFC wants.
    """
    found = {
        match[1].lower(): match[2]
        for part in re.split(r"[,;]", header)
        if (match := _PREFERENCE.fullmatch(part))
    }
    if found.get("wait"):
        return float(found["wait"])
    return 0 if "respond-async" in found else math.inf


async def _execute(caller: Caller, automation_id: UUID, seconds: float) -> JsonResponse:
    try:
        run, has_worker = await waiting.in_thread(begin, caller, automation_id)
        has_waited = not has_worker or await waiting.until_settled([run.pk], seconds)
        message = CONTINUES if has_waited else TOO_MANY_WAIT
        body = await waiting.in_thread(
            report, run.pk, caller.sees_addresses, message if has_worker else NO_WORKER
        )
    except Automation.DoesNotExist:
        return _failure("Automation not found")
    except engine.AutomationNotActiveError:
        return _answer(_inactive())
    except engine.AutomationNotReadyError as error:
        return _failure(str(error))
    except Exception:
        log.exception("Running automation %s failed", automation_id)
        return _failure("The automation could not be run. It has been logged; try again.")
    return _answer(body) if body["success"] else _failure(body["error"])


def begin(caller: Caller, automation_id: UUID) -> tuple[Run, bool]:
    """Start the run (or join one), and say whether a worker lives that will do it.

    Raises:
        Automation.DoesNotExist: there is none, or it is another organization's.
        AutomationNotActiveError: it is switched off.
        AutomationNotReadyError: no account can send on any of its channels.
    """
    now = clock.now()
    automation = Automation.objects.select_related("organization").get(
        pk=automation_id, organization=caller.organization, deleted_at=None
    )
    run = engine.start(automation, now=now, origin="manual", user=caller.user)
    audit.record(
        caller.organization,
        caller.user,
        "automation.run",
        now=now,
        subject=automation.pk,
        run=str(run.pk),
    )
    return run, engine.worker_alive()


def report(run_id: UUID, show_addresses: bool, unfinished: str) -> dict[str, Any]:
    """The 200 body for this run in the document's order; `unfinished` is said if it goes on.

    A run that failed as a whole gives `{"success": False, "error": reason}` instead.
    """
    run = Run.objects.get(pk=run_id)
    if run.state == RunState.FAILED:
        return {"success": False, "error": run.reason or "The run failed"}
    body = engine.answer(run, show_addresses=show_addresses, now=clock.now())
    if not engine.is_over(run):
        body["message"] = unfinished.format(run_id=run.pk)
    return {key: body[key] for key in _KEYS if key in body}


def _inactive() -> dict[str, Any]:
    return {
        "success": True,
        "message": "Automation is not active",
        "processed": 0,
        "sent": 0,
        "skipped": 0,
        "failed": 0,
        "timestamp": clock.iso_millis(clock.now()),
    }


def _answer(body: dict[str, Any], status: int = 200) -> JsonResponse:
    return JsonResponse(body, status=status, json_dumps_params={"ensure_ascii": False})


def _failure(error: str) -> JsonResponse:
    now = clock.iso_millis(clock.now())
    return _answer({"success": False, "error": error, "timestamp": now}, status=500)


def _bare_refusal(error: str) -> JsonResponse:
    return _answer({"error": error, "timestamp": clock.iso_millis(clock.now())}, status=400)
