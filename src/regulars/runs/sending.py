"""Sending one chunk: take it, let a lane send what is due (`runs.lane`), give it back."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from psycopg import AsyncConnection

from regulars.lib import async_database, clock
from regulars.lib.idle import IdleShelf
from regulars.providers.base import Connection, Outgoing
from regulars.runs.breaking import Breaker
from regulars.runs.buckets import Slots
from regulars.runs.lane import Lane
from regulars.runs.ledger import ChunkLedger
from regulars.runs.preparing import Assignment
from regulars.runs.rendering import Renderer

log = structlog.get_logger("regulars.sending")


async def send_chunk(
    database: AsyncConnection[Any],
    work: Assignment,
    *,
    stopping: Callable[[], bool],
    now: Callable[[], datetime] | None = None,
) -> dict[str, Any] | None:
    """Take the chunk, send what is due, give it back.

    `now` is the database's clock, so that a machine whose own clock is wrong sends nothing early;
    tests give another.

    Returns the released chunk (run_id, urgent, closed, next_due), or None when it was not to be had
    or was taken over meanwhile.
    """
    if work.is_stale():
        return None
    taken = await ChunkLedger.take(database, work, now() if now else clock.now())
    if taken is None:
        return None
    ledger = ChunkLedger(database, work, taken.epoch)
    await ledger.prepare()
    async with _way(work) as way:
        lane = Lane(
            ledger=ledger,
            work=work,
            connection=way.connection,
            stopping=stopping,
            now=now or _database_clock(taken.database_now),
            slots=Slots(work.limits, work.chunk.account_id),
            breaker=Breaker(strikes=taken.strikes),
            renderer=Renderer(work),
        )
        try:
            way.sound = await _send(lane)
        finally:
            lane.end()
    return await _release(ledger, database, lane.resumes_at())


async def _send(lane: Lane) -> bool:
    """Send; where the database is lost meanwhile, wait for it and write down what is known.

    Returns whether it ended as it should, so that its way to the provider may serve the next lane.
    """
    try:
        await lane.send()
    except (*async_database.LOST, TimeoutError):
        log.warning("the database was lost while sending", run=str(lane.work.run.pk))
        await lane.settle_late()
        return False
    return True


async def _release(
    ledger: ChunkLedger, borrowed: AsyncConnection[Any], not_before: datetime | None
) -> dict[str, Any] | None:
    """Give the chunk back; a connection that had to be opened anew is closed."""
    try:
        return await ledger.release(not_before)
    finally:
        if ledger.database is not borrowed:
            await ledger.database.close()


@dataclass
class _Way:
    """An open way to a provider; a sound one is kept for the next lane."""

    connection: Connection
    sound: bool = False


# Ways to providers wait this long for the next chunk of their account: no server minds.
_idle = IdleShelf(seconds=3)


@asynccontextmanager
async def _way(work: Assignment) -> AsyncIterator[_Way]:
    key = (work.chunk.account_id, work.options)
    way = _Way(_idle.take(key) or await work.provider.connect(work.options, _outbox(work)))
    try:
        yield way
    finally:
        if way.sound:
            _idle.put(key, way.connection, way.connection.close)
        else:
            with suppress(Exception):
                await way.connection.close()


async def close_idle() -> None:
    """Close the ways to providers that nobody uses."""
    await _idle.clear()


def _database_clock(database_now: datetime) -> Callable[[], datetime]:
    """The database's time, carried on by the clock that no one can set."""
    started = clock.boot_seconds()
    return lambda: database_now + timedelta(seconds=clock.boot_seconds() - started)


def _outbox(work: Assignment) -> Callable[[Sequence[Outgoing]], Any]:
    """Where the sandbox writes: a connection apart, as the outside world would be."""
    from regulars.runs.outbox import writer

    return writer(work.run.organization_id, work.chunk.account_id)
