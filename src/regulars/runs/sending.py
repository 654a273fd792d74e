"""Sending one chunk: claim, hand over, record. The guarantee lives here.

A message is handed over at most once per claim, and claimed again only if its last attempt was
definitely refused or never left. What a kill leaves behind:

1. After START, before a claim: a lease that runs out; nothing else.
2. After a claim, before the call: rows in `sending`. The successor cannot know that they did not
   leave, so they become `unknown`.
3. After the call, before the record: the same rows, the same answer, and it is the true one.
4. After the record: nothing; the rows are settled.

So a kill leaves at most one window of messages in doubt, and in doubt is what they say. A sender
that slept past its lease sees so on a clock that counts sleep, immediately before each call, and
does not call; its late results are accepted only for its own attempt.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from regulars.lib import clock
from regulars.providers.base import Connection, Outcome, Outgoing, Verdict
from regulars.runs import statements
from regulars.runs.preparing import Assignment
from regulars.runs.recording import Attempt, record
from regulars.runs.rendering import render

log = structlog.get_logger("regulars.sending")

# Rows claimed ahead, hand-overs recorded together, and the longest a record waits for company.
WINDOW = 64
RECORD_EVERY = 32
RECORD_SECONDS = 0.1
# A task gives its slot back after this long, so that other organizations get theirs.
TURN_SECONDS = 10.0


@dataclass
class Lane:
    """One attempt of one process at one chunk, under one epoch."""

    database: AsyncConnection[Any]
    work: Assignment
    connection: Connection
    epoch: int
    stopping: Callable[[], bool]
    now: Callable[[], datetime]
    # The lease's end on the clock that counts suspension.
    lease_ends: float = 0.0
    waiting: list[tuple[Attempt, Outgoing]] = field(default_factory=list)
    calls: set[asyncio.Task[None]] = field(default_factory=set)
    finished: list[tuple[Attempt, Outcome | None]] = field(default_factory=list)
    stopped: bool = False

    async def send(self) -> None:
        """Send what is due, until nothing is, the turn is over, or somebody else owns the chunk."""
        turn_ends = clock.boot_seconds() + TURN_SECONDS
        await self._claim()
        while self.waiting or self.calls or self.finished:
            if self.stopping() or self.stopped or clock.boot_seconds() > turn_ends:
                await self._wind_up()
                return
            self._start_calls()
            await self._some_calls_end()
            await self._record()
            if self._in_doubt() < WINDOW - RECORD_EVERY:
                await self._claim()

    def _in_doubt(self) -> int:
        """Rows that a kill at this moment would leave in `sending`: all that is claimed and unrecorded."""
        return len(self.waiting) + len(self.calls) * self.work.provider.max_batch + len(self.finished)

    async def _claim(self) -> None:
        """Take rows up to the window; each last look is part of the statement."""
        asked_at, now = clock.boot_seconds(), self.now()
        values = dict(self.work.claim_values) | {
            "chunk": self.work.chunk.pk,
            "epoch": self.epoch,
            "lease": statements.LEASE_SECONDS,
            "now": now,
            "window": WINDOW - self._in_doubt(),
        }
        async with self.database.transaction():
            cursor = await self.database.execute(self.work.claim, values)
            rows = await cursor.fetchall()
            withheld = sum(1 for row in rows if row["objection"])
            if withheld:
                await self.database.execute(
                    statements.COUNT_WITHHELD, {"number": withheld, "chunk": self.work.chunk.pk}
                )
        if rows:
            self.lease_ends = asked_at + statements.LEASE_SECONDS
        await self._render([row for row in rows if not row["objection"]], now)

    async def _render(self, rows: Sequence[dict[str, Any]], now: datetime) -> None:
        """A guest whose message cannot be rendered fails alone: nothing of it leaves."""
        for attempt, rendered in await render(self.database, self.work, rows, now):
            if isinstance(rendered, Outcome):
                self.finished.append((attempt, rendered))
            else:
                self.waiting.append((attempt, rendered))

    def _start_calls(self) -> None:
        provider = self.work.provider
        while self.waiting and len(self.calls) < provider.concurrency:
            batch, self.waiting = self.waiting[: provider.max_batch], self.waiting[provider.max_batch :]
            call = asyncio.create_task(self._hand_over(batch))
            self.calls.add(call)
            call.add_done_callback(self.calls.discard)

    async def _hand_over(self, batch: Sequence[tuple[Attempt, Outgoing]]) -> None:
        """The one call that gives messages to the provider, behind the last look at the lease."""
        if clock.boot_seconds() >= self.lease_ends:
            self.stopped = True
            outcomes: Sequence[Outcome | None] = [None] * len(batch)
        else:
            outcomes = await self._call([outgoing for _, outgoing in batch])
        self.finished += zip((attempt for attempt, _ in batch), outcomes, strict=True)

    async def _call(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        timeout = self.work.provider.request_timeout.total_seconds()
        try:
            return await asyncio.wait_for(self.connection.send(batch), timeout)
        except TimeoutError:
            return [_NO_ANSWER] * len(batch)
        except Exception:
            # A fault of an adapter: the request may have been written, so it counts as that.
            log.exception("adapter failed", provider=self.work.provider.kind)
            return [_NO_ANSWER] * len(batch)

    async def _some_calls_end(self) -> None:
        """Wait until enough has ended to be worth a record, but not for long."""
        deadline = clock.boot_seconds() + RECORD_SECONDS
        while self.calls and len(self.finished) < RECORD_EVERY:
            left = deadline - clock.boot_seconds()
            if left <= 0:
                return
            await asyncio.wait(self.calls, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            self._start_calls()

    async def _record(self) -> None:
        """One transaction for all that has ended; calls go on meanwhile."""
        if not self.finished:
            return
        ended, self.finished = self.finished, []
        asked_at = clock.boot_seconds()
        recorded = await record(self.database, self.work, self.epoch, ended, self.now())
        if recorded.still_ours:
            self.lease_ends = asked_at + statements.LEASE_SECONDS
        self.stopped = self.stopped or not recorded.still_ours or recorded.run_stopped

    async def _wind_up(self) -> None:
        """Let running calls end, record them, and hand back what was claimed and never left."""
        if self.calls:
            await asyncio.wait(self.calls)
        self.finished += [(attempt, None) for attempt, _ in self.waiting]
        self.waiting = []
        await self._record()

    async def close(self) -> None:
        """Release the provider's sockets; calls that are still running are not waited for."""
        for call in self.calls:
            call.cancel()
        with suppress(Exception):
            await self.connection.close()


_NO_ANSWER = Outcome(Verdict.UNKNOWN, error="Outcome unknown: the provider did not answer in time")


async def send_chunk(
    database: AsyncConnection[Any],
    work: Assignment,
    *,
    stopping: Callable[[], bool],
    now: Callable[[], datetime] = clock.now,
) -> dict[str, Any] | None:
    """Take the chunk, send what is due, give it back.

    Returns the released chunk (run_id, urgent, closed, next_due), or None when it was not to be had
    or was taken over meanwhile.
    """
    values = {"chunk": work.chunk.pk, "lease": statements.LEASE_SECONDS, "grace": statements.GRACE_SECONDS}
    async with database.transaction():
        taken = await (await database.execute(statements.START, values)).fetchone()
        if taken is None:
            return None
        epoch = taken["epoch"]
        await database.execute(statements.ORPHANS, {"chunk": work.chunk.pk, "epoch": epoch, "now": now()})
    connection = await work.provider.connect(work.options, _outbox(work))
    lane = Lane(database, work, connection, epoch, stopping, now)
    try:
        await lane.send()
    finally:
        await lane.close()
    released = await database.execute(statements.RELEASE, {"chunk": work.chunk.pk, "epoch": epoch})
    return await released.fetchone()


def _outbox(work: Assignment) -> Callable[[Sequence[Outgoing]], Any]:
    """Where the sandbox writes: a connection apart, as the outside world would be."""
    from regulars.runs.outbox import writer

    return writer(work.run.organization_id, work.chunk.account_id)
