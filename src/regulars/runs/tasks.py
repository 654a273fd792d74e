"""The tasks that the engine of tasks moves: plan a run, send a chunk, sweep, tick.

A job is a hint and may run twice, late, or never: the ledger decides. So each task may be repeated
at any time with the same effect on customers, and the sweep finds what has no live job.

Django loads this module at every start: what only a worker needs is imported in the tasks.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from asgiref.sync import sync_to_async
from django.db import InterfaceError, InternalError, OperationalError, connection
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app
from psycopg.errors import UniqueViolation

from regulars.lib import async_database, clock, crash_points, sql
from regulars.lib.masking import mask_text
from regulars.organizations import idempotency
from regulars.runs import partitions, portfolios, statements, sweeping, ticking
from regulars.runs.deferring import BULK, HOUSEKEEPING, PLAN, chunk_job, defer, statement, tick_job
from regulars.runs.finishing import report_finished
from regulars.runs.models import Run, RunState
from regulars.runs.requesting import follow_up

log = structlog.get_logger("regulars.tasks")

_LOOK_UP_SECONDS = 20.0
_REJECTS_KEPT = timedelta(days=30)
# A task repeats the question, never the message. Soon each time: while a job waits to be tried again
# the sweep asks for no other, so growing pauses would be added to those of a database that was away.
_RETRY = RetryStrategy(max_attempts=5, wait=2)


class Draining:
    """Set by SIGTERM: claims stop at once, calls in flight are recorded, the rest is handed back."""

    requested = False


@app.task(name="regulars.plan_run", queue=PLAN, retry=_RETRY)
def plan_run(run_id: str) -> None:
    """Choose, judge and write the messages of one run."""
    from regulars.runs.planning import plan

    try:
        # Not this machine's clock: a wrong one must not plan for another day.
        now = sql.database_now()
        if plan(run_id, now):
            follow_up(run_id, now)
            report_finished(run_id)
    finally:
        connection.close()


@app.task(name="regulars.ask", queue=PLAN, retry=_RETRY)
def ask(automation_id: str, subjects: list[int]) -> None:
    """Ask for a run for the customers of an event whose time has come, if they are due."""
    from regulars.runs.events import ask_for

    try:
        ask_for(automation_id, subjects, sql.database_now())
    finally:
        connection.close()


@app.task(name="regulars.send_chunk", queue=BULK, retry=_RETRY)
async def send_chunk(chunk_id: int) -> None:
    """Send what is due of one chunk, then come back when more is."""
    from regulars.runs.sending import send_chunk as send

    work = await sync_to_async(_prepare)(chunk_id)
    if work is None:
        return
    async with async_database.borrow() as database:
        released = await send(database, work, stopping=lambda: Draining.requested)
        if released is not None:
            await _afterwards(database, chunk_id, released)


def _prepare(chunk_id: int) -> Any:
    """What the sender needs, or None: an account that cannot be used pauses the run and says why."""
    from regulars.runs.preparing import prepare, require_texts

    try:
        work = prepare(chunk_id, sql.database_now())
        if work is not None:
            require_texts(work)
    except (OperationalError, InterfaceError, InternalError):
        raise
    except Exception as problem:
        log.exception("preparing failed", chunk=chunk_id)
        going = Run.objects.filter(chunks=chunk_id, state__in=[RunState.SENDING, RunState.WAITING])
        going.update(state=RunState.PAUSED, reason=str(problem) or type(problem).__name__)
        return None
    else:
        return work
    finally:
        connection.close()


async def _afterwards(database: Any, chunk_id: int, released: dict[str, Any]) -> None:
    """Ask to come back for what is due later, or see whether the run is over."""
    now = released["database_now"]
    values = {"run": released["run_id"], "now": now}
    if not released["closed"]:
        start = released["next_due"]
        job = chunk_job(chunk_id, urgent=released["urgent"], start=start if start and start > now else None)
        # Somebody else may ask for it at the same moment: one of the two is enough.
        with suppress(UniqueViolation):
            await database.execute(*statement([job]))
        await database.execute(statements.WAIT, values)
    elif await _finishes(database, values):
        await sync_to_async(_report)(str(released["run_id"]))
    await database.execute(statements.NOTIFY, {"run": str(released["run_id"])})


async def _finishes(database: Any, values: dict[str, Any]) -> bool:
    """Whether the run ends with this chunk. A crash before the commit leaves that to the sweep."""
    async with database.transaction():
        finished = await (await database.execute(statements.LOCK_IF_OVER, values)).fetchone()
        if finished:
            finished = await (await database.execute(statements.FINISH, values)).fetchone()
        crash_points.reach("finish.inside")
    crash_points.reach("finish.committed")
    return finished is not None


def _report(run_id: str) -> None:
    try:
        report_finished(run_id)
    finally:
        connection.close()


@app.periodic(cron="* * * * * */2", periodic_id="sweep")
@app.task(name="regulars.sweep", queue=HOUSEKEEPING, queueing_lock="sweep")
def sweep(timestamp: int) -> None:  # noqa: ARG001 - the task engine gives it
    """Find what has no live job: chunks with due rows and no lease, runs to plan or to finish."""
    try:
        sweeping.sweep(sql.database_now())
    finally:
        connection.close()


@app.periodic(cron="* * * * * */10", periodic_id="tick")
@app.task(name="regulars.tick", queue=HOUSEKEEPING, queueing_lock="tick")
def tick(timestamp: int) -> None:  # noqa: ARG001 - the task engine gives it
    """Start what is due by its schedule; if that is a lot, the sweep gets its turn in between."""
    try:
        if ticking.tick(sql.database_now()).more:
            defer([tick_job()])
    finally:
        connection.close()


@app.periodic(cron="*/5 * * * * 30", periodic_id="look_up")
@app.task(name="regulars.look_up", queue=PLAN, queueing_lock="look_up")
async def look_up(timestamp: int) -> None:  # noqa: ARG001 - the task engine gives it
    """Ask the providers that can be asked what became of messages lately in doubt.

    Not beside the sweep, which must not wait for providers; what took too long is asked next time.
    """
    from regulars.runs.looking_up import look_up_lately

    with suppress(TimeoutError):
        await asyncio.wait_for(look_up_lately(clock.now()), _LOOK_UP_SECONDS)


@app.periodic(cron="17 4 * * * 0", periodic_id="tidy")
@app.task(name="regulars.tidy", queue=HOUSEKEEPING, queueing_lock="tidy", pass_context=True)
async def tidy(context: Any, timestamp: int) -> None:  # noqa: ARG001 - the task engine gives it
    """Make the months to come; remove old jobs, slots, kept answers, and lists of runs after thirty days."""
    await context.app.job_manager.delete_old_jobs(
        nb_hours=24, include_failed=True, include_cancelled=True, include_aborted=True
    )
    await sync_to_async(_keep_house)()


def _keep_house() -> None:
    from regulars.customers.importing.summary import forget_rejects

    try:
        partitions.ensure(clock.now(), ahead=2)
        sweeping.forget_lists(clock.now() - timedelta(days=30))
        ticking.forget_slots(clock.now() - ticking.KEEP_SLOTS)
        idempotency.forget(sql.database_now())
        portfolios.forget(sql.database_now())
        forget_rejects(min(clock.now(), sql.database_now()) - _REJECTS_KEPT)
    finally:
        connection.close()


# Not part of `tidy`, and not in its lane: providers may take their time.
@app.periodic(cron="37 * * * * 11", periodic_id="sync_templates")
@app.task(name="regulars.sync_templates", queue=PLAN, queueing_lock="sync_templates")
def sync_templates(timestamp: int) -> None:  # noqa: ARG001 - the task engine gives it
    """Copy the templates that providers keep; what may not be used any more pauses its automations."""
    from regulars.automations.template_sync import synchronise_all

    try:
        for account, problem in synchronise_all(sql.database_now()).items():
            log.warning("templates not synchronised", account=account, problem=mask_text(problem))
    finally:
        connection.close()


# Not part of `tidy`: housekeeping has one lane, and the sweep must not wait behind a large month.
@app.periodic(cron="43 4 * * * 0", periodic_id="purge")
@app.task(name="regulars.purge", queue=PLAN, queueing_lock="purge")
def purge(timestamp: int) -> None:  # noqa: ARG001 - the task engine gives it
    """Remove what `REGULARS_KEEP_MONTHS` says is too old, by the slower of two clocks, and what has come
    in about erased guests."""
    from regulars.runs.erasing import scrub
    from regulars.runs.purging import purge_daily

    try:
        scrub()
        purge_daily(min(clock.now(), sql.database_now()))
    finally:
        connection.close()


async def close() -> None:
    """Release what the tasks of this loop keep open."""
    from regulars.runs import outbox, sending

    await sending.close_idle()
    await async_database.close_idle()
    await outbox.close()


def preload() -> None:
    """Import what the tasks need before the first of them is waited for."""
    from regulars.runs import planning, preparing, sending  # noqa: F401 - for later
