"""What an adapter writes: the requests that reach a local server, in their order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from regulars.providers.base import Connection
from regulars.providers.registry import get

from .http_vendor import Asked
from .servers import answering, serve
from .suite import no_outbox


def asked_by(
    kind: str, call: Callable[[Connection], Awaitable[Any]], answer: bytes, path: str = "", **options: Any
) -> Asked:
    """The one request that `call` makes at an account with these options; each is answered with `answer`.

    `path`: where the vendor's address has one of its own, as in `https://api.example.com/v3`.
    """

    async def scenario() -> list[bytes]:
        async with serve(answering(lambda request: answer)) as served:
            given = get(kind).options.model_validate(options | {"base_url": served.url + path})
            connection = await get(kind).connect(given, no_outbox)
            try:
                await call(connection)
            finally:
                await connection.close()
            return served.received

    (request,) = asyncio.run(scenario())
    return Asked.of(request)
