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
