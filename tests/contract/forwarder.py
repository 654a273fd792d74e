"""In front of Prism: asks it for a certain example, and fails where it says that we break the description.

Prism answers the first example unless a header names another, which our adapters do not send.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from .servers import Served, http_answer, read_request, serve


@contextlib.asynccontextmanager
async def forwarder(url: str, prefer: str) -> AsyncIterator[Served]:
    """Passes each request on to the Prism at `url` with a `Prefer` header, and the answer back."""
    target = urlsplit(url)

    async def handler(reader, writer, served):
        while True:
            request = await read_request(reader)
            served.received.append(request)
            line, _, rest = request.partition(b"\r\n")
            added = f"\r\nPrefer: {prefer}\r\nConnection: close\r\n" if prefer else "\r\n"
            other, up = await asyncio.open_connection(target.hostname, target.port)
            try:
                up.write(line + added.encode() + rest)
                writer.write(await _whole_answer(other))
                await writer.drain()
            finally:
                up.close()
                await up.wait_closed()

    async with serve(handler) as served:
        yield served


async def _whole_answer(reader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = dict(line.decode().lower().split(": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    body = await reader.readexactly(int(lines["content-length"]))
    status = int(head.split(b" ", 2)[1])
    # Prism's word on a request that breaks the description.
    violations = lines.get("sl-violations", "")
    assert not violations, violations
    return http_answer(status, body)
