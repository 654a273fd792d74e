"""One sender's way to the ledger: take a chunk, exchange results for new messages, give it back.

An exchange is one round trip and one transaction: it records what has ended and claims as many new
messages. Both statements are prepared once for the chunk, with its epoch and its range of ids fixed,
so that the server plans them once and looks into one partition.

What a crash leaves behind: before an exchange commits, the rows as they were; after it, the record
and the claim, both. The server's commit is durable (`synchronous_commit` on) before any message of
the claim is handed over, so this holds for a crash of the server as well.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from regulars.lib import crash_points
from regulars.runs import statements
from regulars.runs.preparing import Assignment
from regulars.runs.recording import Ended, apply_consequences, columns, stop_what_broke
from regulars.runs.states import MOST_ATTEMPTS

# The longest that one exchange may take: a server that does not answer has been lost.
EXCHANGE_SECONDS = 8.0

_RECORD = """EXECUTE record (%(ids)s::bigint[], %(attempts)s::int[], %(states)s::text[], %(reasons)s::text[],
  %(errors)s::text[], %(provider_ids)s::text[], %(retries)s::timestamptz[], %(now)s)"""
# Planned once; and no missing statistics may talk a claim of 64 rows into reading a whole table.
_SETTINGS = "DEALLOCATE ALL; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off"
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))"
_CLAIM = "EXECUTE claim (%(now)s, %(room)s, %(after)s)"


@dataclass(frozen=True, slots=True)
class Taken:
    """A chunk that is ours: the epoch, the database's time, and how often its account failed lately."""

    epoch: int
    database_now: datetime
    strikes: int


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What an exchange brought: new rows, and whether (and how) the sender may go on."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    still_ours: bool = True
    # An outcome of this exchange stopped the account, the template or the run.
    stopped: bool = False
    # The account's breaker is open.
    held: bool = False
    # Something is due and waits until then: the account's business has written to enough guests.
    resume_at: datetime | None = None
    # How many of those that were refused are on another way.
    fell_back: int = 0


class _LateError(Exception):
    """Some of these messages were called unknown, or settled, before their results came."""


@dataclass
class ChunkLedger:
    """The statements of one epoch of one chunk on one connection."""

    database: AsyncConnection[Any]
    work: Assignment
    epoch: int
    # Looks for messages from here on; back to the start when the end was reached.
    _after: int = 0

    @classmethod
    async def take(cls, database: AsyncConnection[Any], work: Assignment, now: datetime) -> Taken | None:
        """Take the chunk, call unknown what an earlier owner left, and hold what is in quiet hours; None
        where it is not to be had."""
        values = {
            "chunk": work.chunk.pk,
            "lease": statements.LEASE_SECONDS,
            "grace": statements.GRACE_SECONDS,
        }
        async with asyncio.timeout(EXCHANGE_SECONDS), database.transaction():
            row = await (await database.execute(statements.START, values)).fetchone()
            if row is None:
                return None
            orphans = values | {
                "epoch": row["epoch"],
                "now": now,
                "at_least_once": work.at_least_once,
                "most_attempts": MOST_ATTEMPTS,
            }
            await database.execute(statements.ORPHANS, orphans)
        if work.silences:
            # Nothing is claimed before it, and it waits for whoever is withholding: so the chunk, which those
            # lock after their messages, is not locked meanwhile.
            async with asyncio.timeout(EXCHANGE_SECONDS):
                await database.execute(statements.HOLD_QUIET, dict(work.silences) | orphans)
        crash_points.reach("chunk.taken")
        return Taken(row["epoch"], row["database_now"], row["strikes"])

    async def prepare(self) -> None:
        """Prepare the two statements of an exchange on this connection."""
        fixed = dict(self.work.claim_values) | self._fixed()
        async with asyncio.timeout(EXCHANGE_SECONDS):
            await self.database.execute(_SETTINGS)
            await self.database.execute(self.work.claim, fixed)
            await self.database.execute(statements.RECORD, fixed)

    def _fixed(self) -> dict[str, Any]:
        chunk = self.work.chunk
        return {
            "chunk": chunk.pk,
            "epoch": self.epoch,
            "first": chunk.first_id,
            "last": chunk.last_id,
            "lease": statements.LEASE_SECONDS,
        }

    async def exchange(self, ended: Sequence[Ended], room: int, now: datetime) -> Exchanged:
        """Record what has ended and claim up to `room` messages, in one transaction; renews the lease.

        Raises:
            psycopg.OperationalError, TimeoutError: the database went away; what was asked may have
            been done or not, and is safe to be asked again by `record_late`.
        """
        values = columns(ended) | {"now": now, "room": room, "after": self._after}
        crash_points.reach("record.before")
        async with asyncio.timeout(EXCHANGE_SECONDS):
            if crash_points.hook or self.work.recipients or any(one.has_consequences for one in ended):
                found = await self._by_steps(ended, values, now)
            else:
                found = await self._at_once(ended, values, now)
        if ended:
            crash_points.reach("record.committed")
        if found.fell_back:
            crash_points.reach("fallback.committed")
        crash_points.reach("claim.committed")
        self._after = found.rows[-1]["id"] if room and len(found.rows) == room else 0
        return found

    async def _at_once(self, ended: Sequence[Ended], values: dict[str, Any], now: datetime) -> Exchanged:
        """Both statements in one round trip; the server makes them one transaction."""
        text = f"{_RECORD}; {_CLAIM}" if ended else _CLAIM
        cursor = await self.database.execute(text, values)
        recorded = await cursor.fetchone() if ended else None
        if ended:
            cursor.nextset()
        rows = await cursor.fetchall()
        if recorded and recorded["number"] < len(ended):
            async with self.database.transaction():
                await self._record_all(ended, now)
        return _exchanged(rows)

    async def _by_steps(self, ended: Sequence[Ended], values: dict[str, Any], now: datetime) -> Exchanged:
        """The same for what has consequences or takes turns with other chunks (and for crash tests, which
        strike between the steps).

        What came late is written down in a transaction from the start, because the chunk is locked after
        its messages, as by everybody.
        """
        try:
            return await self._steps(ended, values, now, late=False)
        except _LateError:
            return await self._steps(ended, values, now, late=True)

    async def _steps(
        self, ended: Sequence[Ended], values: dict[str, Any], now: datetime, *, late: bool
    ) -> Exchanged:
        fell_back, stopped, rows = 0, False, []
        async with self.database.transaction():
            if self.work.recipients:
                # Before anything is locked: who has its turn may have to wait for a chunk (`runs.fallback`).
                # And in a statement of its own, before the claim's snapshot: it counts what others claimed.
                await self.database.execute(_TAKE_TURNS, {"key": self.work.recipients.lock})
            if late:
                fell_back, stopped = await self._record_all(ended, now)
            elif ended:
                recorded = await (await self.database.execute(_RECORD, values)).fetchone()
                if recorded and recorded["number"] < len(ended):
                    raise _LateError
                fell_back, stopped = await self._follow(ended, now)
            if ended:
                crash_points.reach("record.inside")
            if not stopped:
                rows = await (await self.database.execute(_CLAIM, values)).fetchall()
                crash_points.reach("claim.inside")
        found = Exchanged(stopped=True) if stopped else _exchanged(rows)
        return replace(found, fell_back=fell_back)

    async def _record_all(self, ended: Sequence[Ended], now: datetime) -> tuple[int, bool]:
        """Record, with what follows, also what was called unknown meanwhile."""
        values = columns(ended) | self._fixed() | {"now": now}
        moved = await (await self.database.execute(statements.LATE, values)).fetchone()
        return await self._follow(ended, now, moved)

    async def _follow(
        self, ended: Sequence[Ended], now: datetime, moved: dict[str, Any] | None = None
    ) -> tuple[int, bool]:
        """What follows from results, in the order of locks (`runs.deltas`); how many messages take another
        way, and whether the run was stopped. `moved`: what came late moved these counts.
        """
        fell_back = await apply_consequences(self.database, self.work, ended, now)
        if moved is not None and moved["was_closed"]:
            await self.database.execute(statements.LOCK_RUN, moved)
            if moved["reopened"]:
                await self.database.execute(statements.GO_ON, moved)
            await self.database.execute(statements.MOVE_TOTALS, moved)
        return fell_back, await stop_what_broke(self.database, self.work, ended)

    async def record_late(self, ended: Sequence[Ended], known: Sequence[int], now: datetime) -> None:
        """Write down results whose own exchange failed, and hand back what never left.

        Safe at any time and any number of times: a result counts only for its own attempt, and only
        while the message is in doubt. `known` are the messages this sender got hold of; others of
        its epoch were claimed by an exchange whose answer was lost, so they were never called.
        """
        async with asyncio.timeout(EXCHANGE_SECONDS), self.database.transaction():
            if ended:
                await self._record_all(ended, now)
            values = self._fixed() | {"known": list(known), "now": now}
            await self.database.execute(statements.GIVE_BACK, values)

    async def release(self, not_before: datetime | None) -> dict[str, Any] | None:
        """Give the chunk back (run_id, urgent, closed, next_due); None where it was taken over."""
        crash_points.reach("release.before")
        values = self._fixed() | {"not_before": not_before, "account": self.work.chunk.account_id}
        async with asyncio.timeout(EXCHANGE_SECONDS):
            return await (await self.database.execute(statements.RELEASE, values)).fetchone()


def _exchanged(rows: list[dict[str, Any]]) -> Exchanged:
    """No row: somebody else's, or the run may not send. A row without a message: nothing is due."""
    if not rows:
        return Exchanged(still_ours=False)
    claimed = [row for row in rows if row["id"] is not None]
    return Exchanged(claimed, held=rows[0]["held"], resume_at=rows[0]["resume_at"])
