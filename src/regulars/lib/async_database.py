"""Connections of the sender's own: psycopg async, outside Django's transactions and threads.

Every wait for the server has an end. A server that is gone is noticed by the kernel's probes (see
DATABASES in the settings); one that keeps its connections and answers nothing (a stopped process,
a proxy that lost its other side) by `patience`: then the socket is shut down from this side, the
wait ends with an OperationalError, and the caller may connect anew.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any, Self

from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import (
    AsyncClientCursor,
    AsyncConnection,
    InterfaceError,
    InternalError,
    Notify,
    OperationalError,
)
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from regulars.lib.idle import IdleShelf

# The server itself gives up earlier, with better words; this is for a server that says nothing.
STATEMENT_SECONDS = 15
PATIENCE_SECONDS = 20.0
CONNECT_SECONDS = 20.0
# A sender takes one chunk after the other: the connection waits this long for the next.
IDLE_SECONDS = 10.0

# How it shows that the database went away, or ended a transaction that stood still for too long
# (a process that was frozen in it finds this when it wakes).
LOST = (OperationalError, InterfaceError, InternalError)

# Told whenever a server answered (or a wait for it ended): a sign of life of whatever asked.
on_answer: ContextVar[Callable[[], None] | None] = ContextVar("on_answer", default=None)

# A transaction left open in mid-way is ended by the server, and what it had locked is free for a
# successor. A claim must survive a crash of the server before its messages leave, so a server that
# is set to forget its last commits is asked not to; a stricter setting stays as it is.
_SESSION = f"""
SET statement_timeout = '{STATEMENT_SECONDS}s';
SET idle_in_transaction_session_timeout = '10s';
SET TimeZone = 'UTC';
SELECT set_config('synchronous_commit', 'on', FALSE) WHERE current_setting('synchronous_commit') = 'off'
"""


class BoundedConnection(AsyncConnection[Any]):
    """A connection on which nothing waits for ever, but for notifications."""

    patience: float | None = PATIENCE_SECONDS

    async def wait(self, *arguments: Any, **options: Any) -> Any:
        """Every wait for the server passes here; none lasts longer than `patience`."""
        if self.patience is None:
            return await super().wait(*arguments, **options)
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(self.patience, self._hang_up)
        try:
            return await super().wait(*arguments, **options)
        finally:
            alarm.cancel()
            _tell()

    def _hang_up(self) -> None:
        # A cancelled wait would first ask the silent server to stop; a socket that ends does not ask.
        with suppress(OSError), socket.socket(fileno=os.dup(self.pgconn.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)

    async def notifies(self, **options: Any) -> AsyncGenerator[Notify, None]:
        """As psycopg's: no notification for an hour is no fault."""
        patience, self.patience = self.patience, None
        try:
            async with aclosing(super().notifies(**options)) as found:
                async for notification in found:
                    yield notification
        finally:
            self.patience = patience

    @classmethod
    async def connect(cls, *arguments: Any, **options: Any) -> Self:
        """As psycopg's, with an end that includes looking up the host's name."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await super().connect(*arguments, **options)
        except TimeoutError as problem:
            raise OperationalError("The database did not answer in time") from problem
        finally:
            _tell()


def _tell() -> None:
    if tell := on_answer.get():
        tell()


def parameters() -> dict[str, Any]:
    """How to reach Django's default database, in psycopg's words."""
    found: dict[str, Any] = dict(connections[DEFAULT_DB_ALIAS].get_connection_params())
    for name in ("pool", "cursor_factory", "context", "server_side_binding", "prepare_threshold"):
        found.pop(name, None)
    return found


async def connect(patience: float = PATIENCE_SECONDS) -> AsyncConnection[DictRow]:
    """A new autocommit connection to Django's default database; rows are dictionaries.

    Values are bound by the client, so that text compiled by the ORM, which leaves the types of its
    parameters open, means here what it means there.
    """
    connection = await BoundedConnection.connect(
        **parameters(), autocommit=True, row_factory=dict_row, cursor_factory=AsyncClientCursor
    )
    connection.patience = patience
    await connection.execute(_SESSION)
    return connection


_idle = IdleShelf(IDLE_SECONDS)


@asynccontextmanager
async def borrow() -> AsyncIterator[AsyncConnection[DictRow]]:
    """A connection as `connect` gives, perhaps one used before; kept for the next if it is sound.

    Prepared statements of earlier borrowers may still be there.
    """
    connection = _idle.take(None)
    if connection is None or connection.closed:
        connection = await connect()
    try:
        yield connection
    except BaseException:
        await connection.close()
        raise
    if not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE:
        _idle.put(None, connection, connection.close)
    else:
        await connection.close()


async def close_idle() -> None:
    """Close what waits for the next borrower."""
    await _idle.clear()
