"""`GET /api/runs/{id}/events`: a run's progress as it happens (server-sent events).

The first event is the state now; then one at each change, at most four a second; a comment every
fifteen seconds keeps the line open; `over` ends it. What is sent are sums over the run's chunks: no
message is counted. While the database is away the stream stays open and says nothing.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error as DatabaseError
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Router

from regulars.api import waiting
from regulars.api.callers import Caller, caller_of
from regulars.api.errors import ApiError, refusal
from regulars.api.run_schemas import RunProgress
from regulars.api.schemas import EVERY_REFUSAL
from regulars.lib import clock
from regulars.runs import engine
from regulars.runs.models import Run
from regulars.runs.pace import Pace

log = logging.getLogger(__name__)
router = Router(tags=["runs"])

MOST_STREAMS = 100
LEAST_SECONDS = 0.25
HEARTBEAT_SECONDS = 15.0
RETRY_AFTER_SECONDS = 10
TOO_MANY_WATCH = "Too many watch runs here already. Try again soon, or ask GET /api/runs/{id}."
_RECONNECT_MILLISECONDS = 2_000

_streams = waiting.Seats(MOST_STREAMS)


@router.get(
    "/runs/{uuid:id}/events",
    response=EVERY_REFUSAL,
    operation_id="watch_run",
    openapi_extra={
        "responses": {
            200: {
                "description": "`progress` events with these data, then one `over`",
                "content": {"text/event-stream": {"schema": RunProgress.model_json_schema()}},
            }
        }
    },
)
async def watch_run(request: HttpRequest, id: UUID) -> Any:  # noqa: A002
    """The progress of a run as server-sent events: the state now, each change, and `over` at the end."""
    await waiting.in_thread(_authorise, caller_of(request), id)
    seat = _streams.take()
    if seat is None:
        response = refusal(
            503, "Too many watch runs here already. Try again soon, or ask GET /api/runs/{id}."
        )
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response
    stream = StreamingHttpResponse(events(id, seat), content_type="text/event-stream")
    # Proxies must neither keep nor gather it.
    stream["Cache-Control"] = "no-store"
    stream["X-Accel-Buffering"] = "no"
    return stream


def _authorise(caller: Caller, run_id: UUID) -> None:
    if not Run.objects.filter(pk=run_id, organization=caller.organization).exists():
        raise ApiError(404, "There is no such run.")


async def events(run_id: UUID, seat: waiting.Seat) -> AsyncIterator[bytes]:
    """The stream; ends with the run, or when its reader is gone, and gives everything back at once."""
    try:
        async with waiting.listening([run_id]) as bell:
            async for chunk in _told(run_id, bell):
                yield chunk
    finally:
        seat.leave()


async def _told(run_id: UUID, bell: asyncio.Event) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    pace, shown, number = Pace(), None, 0
    spoke = loop.time()
    yield f"retry: {_RECONNECT_MILLISECONDS}\n\n".encode()
    while True:
        # Cleared before the look, so that what happens after the look rings again.
        bell.clear()
        look = await _look(run_id)
        if look is not None:
            state, ended = look
            pace.see(loop.time(), state["processed"] - state["held"])
            if state != shown:
                shown, number, spoke = state, number + 1, loop.time()
                yield _event("progress", number, state | _speed(pace, state))
            if ended:
                yield _event("over", number + 1, {"state": state["state"]})
                return
        if loop.time() - spoke >= HEARTBEAT_SECONDS:
            spoke = loop.time()
            yield b": still here\n\n"
        await _pause()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(bell.wait(), waiting.POLL_SECONDS - LEAST_SECONDS)


async def _pause() -> None:
    await asyncio.sleep(LEAST_SECONDS)


async def _look(run_id: UUID) -> tuple[dict[str, Any], bool] | None:
    """What there is to tell, and whether it is the last; None while the database does not answer."""
    try:
        return await waiting.in_thread(_read, run_id)
    except DatabaseError:
        log.warning("The database does not answer; the stream of run %s waits for it", run_id)
        return None


def _read(run_id: UUID) -> tuple[dict[str, Any], bool]:
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        return {"state": "removed", "processed": 0, "held": 0}, True
    return present(run), engine.has_ended(run)


def present(run: Run) -> dict[str, Any]:
    """The progress of a run: its state, its counts, and what it waits for."""
    counts = engine.counts(run)
    return {
        "state": run.state,
        "reason": run.reason,
        "processed": counts.processed,
        "sent": counts.sent,
        "skipped": counts.skipped,
        "failed": counts.failed,
        "held": counts.held,
        "unknown": counts.unknown,
        "holds": [present_hold(hold) for hold in engine.holds(run, clock.now())],
    }


def present_hold(hold: engine.Hold) -> dict[str, Any]:
    """What keeps a run waiting, as the API shows it."""
    return {
        "why": str(hold.why),
        "account": hold.account,
        "until": hold.until,
        "limit": hold.limit,
        "unit": hold.unit,
        "reason": hold.reason,
        "words": hold.words,
    }


def _speed(pace: Pace, state: dict[str, Any]) -> dict[str, Any]:
    rate = pace.per_second
    return {
        "per_second": None if rate is None else round(rate, 1),
        "seconds_left": pace.seconds_left(state["held"]),
    }


def _event(name: str, number: int, data: dict[str, Any]) -> bytes:
    text = json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False)
    return f"event: {name}\nid: {number}\ndata: {text}\n\n".encode()
