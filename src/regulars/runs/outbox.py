"""The sandbox's outside world: a table that survives whatever happens to the sender's transactions."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from psycopg import AsyncConnection

from regulars.lib import async_database, clock
from regulars.providers.base import Outgoing
from regulars.runs.statements import WRITE_OUTBOX

_connections: dict[int, AsyncConnection[Any]] = {}
_lock: dict[int, asyncio.Lock] = {}


def writer(organization_id: int, account_id: int) -> Callable[[Sequence[Outgoing]], Awaitable[None]]:
    """A function that writes messages to the outbox, each call committed by itself."""

    async def write(batch: Sequence[Outgoing]) -> None:
        loop = id(asyncio.get_running_loop())
        async with _lock.setdefault(loop, asyncio.Lock()):
            connection = await _connection(loop)
            await connection.execute(
                WRITE_OUTBOX,
                {
                    "organization": organization_id,
                    "account": account_id,
                    "now": clock.now(),
                    "ids": [message.message_id for message in batch],
                    "channels": [message.channel for message in batch],
                    "addresses": [message.address for message in batch],
                    "subjects": [message.subject for message in batch],
                    "bodies": [message.body for message in batch],
                    "htmls": [message.html for message in batch],
                },
            )

    return write


class Reading:
    """The outbox for looking something up: it can be asked, and nothing can be written to it."""

    def __init__(self, database: AsyncConnection[Any], account_id: int) -> None:
        self._database = database
        self._account_id = account_id

    async def __call__(self, batch: Sequence[Outgoing]) -> None:
        raise RuntimeError("A look-up sends nothing")

    async def taken(self, message_ids: Sequence[int]) -> set[int]:
        """Those of these messages that are in the outbox."""
        values = {"account": self._account_id, "ids": list(message_ids)}
        rows = await (await self._database.execute(_TAKEN, values)).fetchall()
        return {row["message_id"] for row in rows}


_TAKEN = """
SELECT DISTINCT message_id FROM sandbox_outbox
 WHERE account_id = %(account)s AND message_id = ANY (%(ids)s::bigint[])
"""


async def _connection(loop: int) -> AsyncConnection[Any]:
    found = _connections.get(loop)
    if found is None or found.closed:
        found = _connections[loop] = await async_database.connect()
    return found


async def close() -> None:
    """Close this loop's connection; the next write opens another."""
    loop = id(asyncio.get_running_loop())
    _lock.pop(loop, None)
    if found := _connections.pop(loop, None):
        await found.close()
