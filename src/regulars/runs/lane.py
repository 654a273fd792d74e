"""One lane of sending: claim, hand over, record. The guarantee lives here.

A message is handed over at most once per claim, and claimed again only if its last attempt was
definitely refused or never left. What a kill leaves behind:

1. After the chunk was taken, before a claim: a lease that runs out; nothing else.
2. After a claim, before the call: rows in `sending`. The successor cannot know that they did not
   leave, so they become `unknown`.
3. After the call, before the record: the same rows, the same answer, and it is the true one.
4. After the record: nothing; the rows are settled.

So a kill leaves at most one window of messages in doubt, and in doubt is what they say. A sender
that slept past its lease sees so on a clock that counts sleep, immediately before each call, and
does not call; its late results are accepted only for its own attempt. A sender that loses the
database keeps what it knows, calls nobody any more, and writes it down when the database is back.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from regulars.lib import async_database, clock, crash_points, write_by
from regulars.lib.time_limit import TimeLimit
from regulars.providers.base import Connection, Outcome, Outgoing, Verdict
from regulars.runs import statements
from regulars.runs.breaking import Breaker
from regulars.runs.buckets import Slots, close_breaker, open_breaker
from regulars.runs.ledger import EXCHANGE_SECONDS, ChunkLedger, Exchanged
from regulars.runs.preparing import Assignment
from regulars.runs.recording import Attempt, Ended, stop
from regulars.runs.rendering import Renderer
from regulars.runs.states import after

log = structlog.get_logger("regulars.sending")

# Rows claimed ahead, hand-overs recorded together, and the longest a record waits for company.
WINDOW = 64
RECORD_EVERY = 32
RECORD_SECONDS = 0.1
# However slow the provider: so often a sender looks whether its run may still send.
LOOK_SECONDS = 0.5
# A task gives its slot back after this long, so that other organizations get theirs.
TURN_SECONDS = 10.0
# How often those who watch the run hear of it.
TELL_SECONDS = 0.5
# How long a sender that lost the database tries to write down what it knows, and how much of that
# is left to it once its process is told to stop.
LATE_SECONDS = 3600.0
STOPPING_SECONDS = 5.0


@dataclass
class Lane:
    """One attempt of one process at one chunk, under one epoch."""

    ledger: ChunkLedger
    work: Assignment
    connection: Connection
    stopping: Callable[[], bool]
    now: Callable[[], datetime]
    slots: Slots
    breaker: Breaker
    renderer: Renderer
    # The lease's end on the clock that counts suspension.
    lease_ends: float = 0.0
    turn_ends: float = math.inf
    # Claimed and not handed over yet: first the rows, then the messages that are made of them.
    waiting: deque[tuple[Attempt, dict[str, Any]]] = field(default_factory=deque)
    ready: deque[tuple[Attempt, Outgoing]] = field(default_factory=deque)
    calling: int = 0
    finished: list[tuple[Attempt, Outcome | None]] = field(default_factory=list)
    # Results that an exchange has taken along and that are not known to be recorded yet.
    recording: list[Ended] = field(default_factory=list)
    stopped: bool = False
    # Set to wake the callers; set by them when there is enough to be worth a record.
    there_is_work: asyncio.Event = field(default_factory=asyncio.Event)
    worth_a_record: asyncio.Event = field(default_factory=asyncio.Event)
    told: float = 0.0
    callers: list[asyncio.Task[None]] = field(default_factory=list)
    time_limit: TimeLimit = field(init=False)

    def __post_init__(self) -> None:
        self.time_limit = TimeLimit(self.work.provider.request_timeout.total_seconds())

    async def send(self) -> None:
        """Send what is due, until nothing is, the turn is over, or somebody else owns the chunk."""
        # Not all at once: lanes that share an account's rate would all pause together.
        self.turn_ends = clock.boot_seconds() + TURN_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        self.callers = [asyncio.create_task(self._caller()) for _ in range(self._width())]
        while await self._exchange():
            if self.stopping() or (self._turn_is_over() and not self._has_reserved()):
                break
            await self._until_worth()
        await self._wind_up()

    def resumes_at(self) -> datetime | None:
        """When the account grants more, where that is why this lane ends; None: at once."""
        return None if self._turn_is_over() and self.slots.moments_soon(self.now()) else self.slots.resume_at

    def _has_reserved(self) -> bool:
        """What was reserved of the account's rate cannot be given back: it is used first.

        Not what had a moment and missed it: its turn being over, nobody reserves another for it.
        """
        return bool(self.slots.limits) and (
            self.calling > 0 or (self._unsent() > 0 and self.slots.at_hand > 0)
        )

    def _turn_is_over(self) -> bool:
        return clock.boot_seconds() > self.turn_ends

    def end(self) -> None:
        """Call nobody any more. What was being called at this moment counts as unanswered."""
        self.stopped = True
        for caller in self.callers:
            caller.cancel()

    def _width(self) -> int:
        return min(self.work.provider.concurrency, max(1, WINDOW // self.work.provider.max_batch))

    def in_doubt(self) -> int:
        """Rows that a kill at this moment would leave in `sending`: all that is claimed and unrecorded."""
        return self._unsent() + self.calling + len(self.finished)

    def _unsent(self) -> int:
        return len(self.waiting) + len(self.ready)

    async def _exchange(self) -> bool:
        """Record what has ended, claim more; False when there is nothing (left) to do here."""
        room = await self._room()
        await self._swap(room)
        return bool(self.in_doubt()) and not self.stopped

    async def _swap(self, room: int) -> None:
        """One exchange. Results stay with the lane until the database has them for certain."""
        asked_at, now = clock.boot_seconds(), self.now()
        self.recording += self._judged(now)
        allowed = self.breaker.allows(room, under_way=self._unsent() + self.calling)
        found = await self.ledger.exchange(self.recording, allowed, now)
        self.recording = []
        if found.still_ours and not found.stopped:
            self.lease_ends = asked_at + statements.LEASE_SECONDS
        self.stopped = self.stopped or found.stopped or found.held or not found.still_ours
        if found.resume_at or not self.slots.limits:
            self.slots.resume_at = found.resume_at
        await self._receive(found, now)
        await self._mind_the_account()
        await self._tell()

    def _judged(self, now: datetime) -> list[Ended]:
        ended, self.finished = self.finished, []
        for _, outcome in ended:
            self.breaker.count(outcome)
        return [
            Ended(
                attempt,
                outcome,
                after(
                    outcome,
                    attempt.number,
                    now,
                    at_least_once=self.work.at_least_once,
                    account_is_down=self.breaker.account_is_down,
                ),
            )
            for attempt, outcome in ended
        ]

    async def _room(self) -> int:
        """How many messages may be claimed: the window, the rate, one where the account is on trial.

        What has ended is recorded by the transaction that claims: it leaves as the new ones come.
        """
        over = self.stopped or self.stopping() or self._turn_is_over()
        room = 0 if over else WINDOW - self._unsent() - self.calling
        if self.breaker.on_trial:
            room = min(room, 1 - min(1, self.in_doubt()))
        if over or not self.slots.limits or room + self._unsent() <= 0:
            return max(0, room)
        # Also where nothing more may be claimed: what missed its moment needs another.
        async with asyncio.timeout(EXCHANGE_SECONDS):
            at_hand = await self.slots.reserve(self.ledger.database, room + self._unsent())
        self.there_is_work.set()
        return max(0, min(room, at_hand - self._unsent()))

    async def _receive(self, found: Exchanged, now: datetime) -> None:
        """Known from here on: whatever happens, these are handed back or recorded."""
        rows = [row for row in found.rows if not row["objection"]]
        if not rows:
            return
        try:
            await self.renderer.learn(self.ledger.database, rows, now)
        except BaseException:
            self.finished += [(Attempt.of(row), None) for row in rows]
            raise
        self.waiting.extend((Attempt.of(row), row) for row in rows)
        self.there_is_work.set()

    async def _mind_the_account(self) -> None:
        """Open or close the breaker, and stop where everybody is refused in the same way."""
        database, account = self.ledger.database, self.work.chunk.account_id
        judgment = self.breaker.judge()
        if judgment.refused is not None:
            async with database.transaction():
                await stop(database, self.work, judgment.refused)
        if judgment.reason:
            await open_breaker(database, account, judgment.reason, judgment.pause)
        if judgment.works_again:
            await close_breaker(database, account)
        self.stopped = self.stopped or bool(judgment.reason) or judgment.refused is not None

    async def _tell(self) -> None:
        if clock.boot_seconds() - self.told < TELL_SECONDS:
            return
        self.told = clock.boot_seconds()
        await self.ledger.database.execute(statements.NOTIFY_PROGRESS, {"run": self.work.run.pk})

    async def _until_worth(self) -> None:
        """Wait until enough has ended to be worth a record, but not for long."""
        self._notice()
        looks_again = clock.boot_seconds() + LOOK_SECONDS
        while not self.worth_a_record.is_set() and clock.boot_seconds() < looks_again:
            await self._wait(RECORD_SECONDS)
            if self.finished or self.slots.run_low:
                break
        self.worth_a_record.clear()

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.worth_a_record.wait()

    def _notice(self) -> None:
        if len(self.finished) >= RECORD_EVERY or not (self._unsent() or self.calling):
            self.worth_a_record.set()

    async def _caller(self) -> None:
        """Takes what waits, in order, and hands it over; one of several side by side."""
        while True:
            batch, moment = await self._next()
            self.calling += len(batch)
            try:
                if await self._comes_in_time(moment):
                    await self._hand_over(batch)
                else:
                    self.ready.extendleft(reversed(batch))
            finally:
                self.calling -= len(batch)
                self._notice()

    async def _next(self) -> tuple[list[tuple[Attempt, Outgoing]], float | None]:
        """Wait for something to send and, where the account has a rate, for a moment to send it at."""
        while True:
            if len(self.ready) < self.work.provider.max_batch and not self.stopped:
                self._make_ready()
            if self.ready and not self.stopped:
                size = min(len(self.ready), self.work.provider.max_batch)
                if not self.slots.limits:
                    return self._taken(size), None
                if moments := self.slots.take(size):
                    # A batch leaves at the last of its messages' moments.
                    return self._taken(len(moments)), moments[-1]
            self.there_is_work.clear()
            await self.there_is_work.wait()

    def _make_ready(self) -> None:
        """Render the next call's messages, while the database is busy with the exchange.

        Several in a row where a call takes one: between calls each costs three times as much. Not where
        calls have moments of their own, which it would make late.
        A guest whose message cannot be rendered fails alone: nothing of it leaves, and it takes nothing
        of the account's rate.
        """
        at_once = 1 if self.slots.limits else RECORD_EVERY
        while self.waiting and len(self.ready) < max(at_once, self.work.provider.max_batch):
            attempt, row = self.waiting.popleft()
            made = self.renderer.render(row)
            if isinstance(made, Outgoing):
                self.ready.append((attempt, made))
            else:
                self.finished.append((attempt, made))
                self._notice()

    def _taken(self, size: int) -> list[tuple[Attempt, Outgoing]]:
        return [self.ready.popleft() for _ in range(size)]

    async def _comes_in_time(self, moment: float | None) -> bool:
        """Wait for the moment; False where this process slept through it."""
        if moment is None:
            return True
        await asyncio.sleep(max(0.0, moment - clock.boot_seconds()))
        return self.stopped or not self.slots.missed(moment)

    async def _hand_over(self, batch: Sequence[tuple[Attempt, Outgoing]]) -> None:
        """The one call that gives messages to the provider, behind the last look at the lease.

        Nothing may be awaited between the look and the call: a frozen process wakes up behind it.
        """
        crash_points.reach("call.before")
        ended: Sequence[Outcome | None] = _UNANSWERED * len(batch)
        try:
            if self.stopped or clock.boot_seconds() >= self.lease_ends:
                self.stopped = True
                ended = [None] * len(batch)
            else:
                ended = await self._call([outgoing for _, outgoing in batch])
                crash_points.reach("call.after")
        finally:
            self.finished += zip((attempt for attempt, _ in batch), ended, strict=True)

    async def _call(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        # The adapter looks once more at the moment of writing: connecting may take a while.
        write_by.deadline.set(self.lease_ends)
        try:
            with self.time_limit.begin():
                return await self.connection.send(batch)
        except TimeoutError:
            return _UNANSWERED * len(batch)
        except Exception:
            # A fault of an adapter: the request may have been written, so it counts as that.
            log.exception("adapter failed", provider=self.work.provider.kind)
            return _UNANSWERED * len(batch)

    async def _wind_up(self) -> None:
        """Let running calls end, record them, and hand back what was claimed and never left."""
        await self._settle_calls()
        self.stopped = True
        if self.finished or self.recording:
            await self._swap(0)

    async def _settle_calls(self) -> None:
        """Call nobody any more; wait for those that are being called."""
        self.stopped = True
        self.finished += [(attempt, None) for attempt, _ in (*self.ready, *self.waiting)]
        self.ready.clear()
        self.waiting.clear()
        while self.calling:
            self.worth_a_record.clear()
            await self._wait(LOOK_SECONDS)

    async def settle_late(self) -> None:
        """After the database was lost: keep what is known, write it down as soon as it is back."""
        await self._settle_calls()
        self.recording += self._judged(self.now())
        known = [one.attempt.message_id for one in self.recording]
        deadline = clock.boot_seconds() + LATE_SECONDS
        while clock.boot_seconds() < deadline:
            with suppress(*async_database.LOST, TimeoutError, OSError):
                await self._reconnect()
                await self.ledger.record_late(self.recording, known, self.now())
                return
            if self.stopping():
                deadline = min(deadline, clock.boot_seconds() + STOPPING_SECONDS)
            await asyncio.sleep(1)
        log.error("results were lost with the database", messages=len(known), run=str(self.work.run.pk))

    async def _reconnect(self) -> None:
        with suppress(Exception):
            await self.ledger.database.close()
        async with asyncio.timeout(EXCHANGE_SECONDS):
            self.ledger.database = await async_database.connect()


_UNANSWERED = [Outcome(Verdict.UNKNOWN, error="Outcome unknown: the provider did not answer in time")]
