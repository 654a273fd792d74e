"""An endpoint that only inserts: what taking a callback in costs at the very least, one commit a request.

The same server (uvicorn), the same table, a pool of connections; no check, no limit, nothing behind it.
"""

import os
from typing import Any

from psycopg_pool import AsyncConnectionPool

_INSERT = "INSERT INTO callbacks (account_id, query, headers, body) VALUES (1, %s, '{}', %s)"
_pool: AsyncConnectionPool[Any] | None = None


async def application(scope: Any, receive: Any, send: Any) -> None:
    pool = await _connected()
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    async with pool.connection() as connection:
        await connection.execute(_INSERT, (scope["query_string"].decode(), b"".join(parts)))
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _connected() -> AsyncConnectionPool[Any]:
    global _pool  # noqa: PLW0603 - one for the process
    if _pool is None:
        url = os.environ["DATABASE_URL"]
        _pool = AsyncConnectionPool(url, kwargs={"autocommit": True}, min_size=20, max_size=20, open=False)
        await _pool.open()
    return _pool
