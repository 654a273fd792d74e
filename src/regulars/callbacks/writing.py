"""Callbacks into the database, many in one commit: whoever waits is told when its own is durable.

While one batch is being written the next gathers, so the more come in the fewer commits each of them
costs. What is written is asked to be applied a moment later. A crash before the commit loses nothing:
nobody was told that it was taken, and the provider comes again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from regulars.lib import async_database
from regulars.runs.deferring import apply_callbacks_job, statement

log = structlog.get_logger("regulars.callbacks")

# In one commit; waiting at most, in requests and in bytes. More than that is pressure.
MOST_AT_ONCE = 500
MOST_WAITING = 2_000
MOST_BYTES = 32 * 1024 * 1024
# Providers give up after ten seconds or more; then they come again.
PATIENCE_SECONDS = 8.0
# From a write to asking for its application: a burst asks a few times a second.
ASK_SECONDS = 0.05

_COPY = "COPY callbacks (account_id, query, headers, body) FROM STDIN"


class NotTakenError(Exception):
    """It could not be written: the provider has to come again."""


@dataclass(frozen=True, slots=True)
class Row:
    """One checked request."""

    account_id: int
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class _Waiting:
    row: Row
    written: "asyncio.Future[None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Writer:
    """One for a process (and event loop): one connection, one batch under way."""

    def __init__(self, connect: Callable[[], Awaitable[AsyncConnection[Any]]] | None = None) -> None:
        self._connect = connect or (lambda: async_database.connect(PATIENCE_SECONDS))
        self._connection: AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._working: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether more comes in than can be written: then nothing is taken for a moment."""
        return len(self._waiting) >= MOST_WAITING or self._bytes >= MOST_BYTES

    async def write(self, row: Row) -> None:
        """Return when it is committed.

        Raises:
            NotTakenError: the database did not take it (or nobody knows whether it did).
        """
        waiting = _Waiting(row)
        self._waiting.append(waiting)
        self._bytes += len(row.body)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        await waiting.written

    async def close(self) -> None:
        """Finish what waits, and let go of the connection."""
        for task in (self._working, self._asking):
            if task is not None:
                await asyncio.gather(task, return_exceptions=True)
        await self._hang_up()

    async def _work(self) -> None:
        while self._waiting:
            # Whoever is ready at this very moment comes along.
            await asyncio.sleep(0)
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            problem = await self._insert([one.row for one in batch])
            self._bytes -= sum(len(one.row.body) for one in batch)
            for one in batch:
                _tell(one.written, problem)
            if problem is None:
                self._ask_soon()

    async def _insert(self, rows: list[Row]) -> Exception | None:
        """Write the batch; once more on a new connection, for the old one may have died long ago."""
        for tries_left in (1, 0):
            try:
                async with self._turn:
                    await self._copy(await self._connected(), rows)
            except Exception as problem:  # noqa: BLE001 - whatever it was, the provider comes again
                await self._hang_up()
                if not tries_left:
                    log.warning("callbacks could not be written", error=type(problem).__name__)
                    return problem
            else:
                return None
        return None

    async def _copy(self, connection: AsyncConnection[Any], rows: list[Row]) -> None:
        async with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                await copy.write_row((row.account_id, row.query, json.dumps(dict(row.headers)), row.body))

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
        return self._connection

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _ask_soon(self) -> None:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        """Ask for the application of all that has been written by now; the sweep finds what this misses."""
        await asyncio.sleep(ASK_SECONDS)
        self._asking = None
        try:
            async with self._turn:
                await (await self._connected()).execute(*statement([apply_callbacks_job()]))
        except UniqueViolation:
            # Somebody else asked at the same moment.
            return
        except Exception as problem:  # noqa: BLE001 - it is asked for every few seconds besides
            log.warning("applying callbacks could not be asked for", error=type(problem).__name__)


def _tell(written: "asyncio.Future[None]", problem: Exception | None) -> None:
    if written.done():
        return
    if problem is None:
        written.set_result(None)
    else:
        written.set_exception(NotTakenError(type(problem).__name__))
