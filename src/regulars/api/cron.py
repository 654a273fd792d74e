"""The calls of an outside cron: run what is due. The secret is the installation's own.

They do the worker's tick for owners who prefer a cron of their own. Both together still run each slot
once. An automation without a schedule has no time of its own: each call runs it.
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from ninja import Router
from ninja.security import HttpBearer

from regulars.api import waiting
from regulars.api.errors import ApiError
from regulars.api.schemas import CronAnswer, MasterAnswer, answers
from regulars.automations.models import Automation
from regulars.lib import clock
from regulars.organizations import audit
from regulars.runs import engine
from regulars.runs.models import Run

log = logging.getLogger(__name__)

_NOT_STARTED = "Automation {} could not be started. It has been logged."


class CronSecret(HttpBearer):
    """`Authorization: Bearer $CRON_SECRET`.

    Without a secret in the settings nothing is let in: 503 and not 401, because no credential
    could help; the operator has to set one.
    """

    def __call__(self, request: HttpRequest) -> Any:
        if not settings.CRON_SECRET:
            raise ApiError(
                503,
                "CRON_SECRET is not set: set it in the environment of the server, and call again.",
                code="cron_not_configured",
            )
        return super().__call__(request)

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        # Headers are latin-1; back to the bytes that were sent.
        given = token.encode("latin-1", "replace")
        return hmac.compare_digest(given, settings.CRON_SECRET.encode()) or None


router = Router(tags=["cron"], auth=CronSecret())


@router.get("/cron/automations", response=answers(CronAnswer), operation_id="cron_automations")
async def cron_automations(request: HttpRequest) -> Any:  # noqa: ARG001
    """Run what is due by its schedule, and all that is enabled and has none; wait for the counts.

    Safe to call as often as you like: nobody is written to twice on one occasion.
    """
    return JsonResponse(await run_what_is_due())


@router.get("/cron/master", response=answers(MasterAnswer), operation_id="cron_master")
async def cron_master(request: HttpRequest) -> Any:  # noqa: ARG001
    """Call the scheduled endpoints one after another: one cron line for all of them."""
    results = [await _result(endpoint, call) for endpoint, call in ENDPOINTS.items()]
    return JsonResponse(
        {
            "success": not any("error" in result for result in results),
            "master": True,
            "timestamp": clock.iso_millis(clock.now()),
            "results": results,
        }
    )


async def run_what_is_due() -> dict[str, Any]:
    """Start what is due, wait bounded, and count what was sent so far."""
    runs, errors, has_worker = await waiting.in_thread(_start_all)
    if has_worker:
        await waiting.until_settled([run.pk for run in runs], settings.RUN_WAIT_SECONDS)
    body = {
        "success": not errors,
        "executed": len(runs),
        "totalSent": await waiting.in_thread(_sent, runs),
    }
    return body | ({"errors": errors} if errors else {})


def _start_all() -> tuple[list[Run], list[str], bool]:
    runs, errors = _tick()
    unscheduled = Automation.objects.filter(enabled=True, deleted_at=None, schedule__isnull=True)
    for automation in unscheduled.select_related("organization").order_by("created_at", "id"):
        try:
            runs.append(_start(automation))
        except engine.AutomationNotActiveError:
            continue  # Switched off, or paused, since the list was read.
        except Exception:
            # One broken automation must not keep the others from running.
            log.exception("Cron could not run automation %s", automation.pk)
            errors.append(_NOT_STARTED.format(automation.pk))
    return runs, errors, engine.worker_alive()


def _tick() -> tuple[list[Run], list[str]]:
    """All that is due by its schedule, batch by batch."""
    runs, failed, now = [], set(), clock.now()
    while True:
        ticked = engine.tick(now)
        runs += ticked.runs
        failed.update(ticked.failed)
        if not ticked.more:
            return runs, [_NOT_STARTED.format(automation) for automation in failed]


def _start(automation: Automation) -> Run:
    now = clock.now()
    run = engine.start(automation, now=now, origin="cron")
    subject, organization = automation.pk, automation.organization
    audit.record(organization, None, "automation.run", now=now, subject=subject, run=str(run.pk))
    return run


def _sent(runs: list[Run]) -> int:
    ids = [run.pk for run in runs]
    return sum(engine.counts(run).sent for run in Run.objects.filter(pk__in=ids))


async def _result(endpoint: str, call: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    try:
        return {"endpoint": endpoint, "status": 200, "data": await call()}
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("%s failed", endpoint)
        return {"endpoint": endpoint, "error": "It failed, and has been logged."}


ENDPOINTS = {"/api/cron/automations": run_what_is_due}
