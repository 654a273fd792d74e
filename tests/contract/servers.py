"""Servers on loopback that answer as they are told, or misbehave, over real sockets.

They run in the event loop of the test; the clients under test have threads of their own or share it.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Served:
    port: int
    connections: int = 0
    # What was received, in order: whole HTTP requests, or SMTP commands and letters.
    received: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def serve(handler: Callable[..., Awaitable[None]]) -> AsyncIterator[Served]:
    """Run `handler(reader, writer, served)` for each connection until the block ends."""
    served = Served(0)
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer, served)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.connections += 1
        writers.append(writer)
        task = asyncio.get_running_loop().create_task(run(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
        await server.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset instead of an orderly end."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def deaf_port():
    """A port that accepts no more connections and refuses none: connecting hangs."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()[1]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One whole HTTP request with its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head + await reader.readexactly(length)


def http_answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answering(respond: Callable[[bytes], bytes]) -> Callable[..., Awaitable[None]]:
    """An HTTP server that keeps connections and answers each request with `respond(request)`."""

    async def handler(reader, writer, served):
        while True:
            request = await read_request(reader)
            served.received.append(request)
            writer.write(respond(request))
            await writer.drain()

    return handler


class MailServer:
    """An SMTP server that follows a script: `replies[verb]` in place of 250, or `hang up` there.

    `EHLO`, `MAIL`, `RCPT`, `DATA` are the commands; `CONNECT` the greeting, `DOT` the final dot. A
    value is a reply, `drop` (end the connection), `reset`, `hang`, or a function of the line that
    gives one of those.
    """

    def __init__(self, extensions: tuple[str, ...] = (), **replies) -> None:
        self.extensions = extensions
        self.replies = replies
        self.letters: list[bytes] = []
        self.commands: list[bytes] = []

    async def __call__(self, reader, writer, served) -> None:
        if not await self._say(writer, "CONNECT", b"", "220 mail.example.com ready"):
            return
        while line := await reader.readline():
            self.commands.append(line.rstrip())
            verb = line.split()[0].decode().upper()
            if verb == "QUIT":
                writer.write(b"221 Bye\r\n")
                return
            if not await self._say(writer, verb, line, self._usual(verb)):
                return
            if verb == "DATA" and self._went_on:
                letter = await reader.readuntil(b"\r\n.\r\n")
                self.letters.append(letter)
                if not await self._say(writer, "DOT", letter, "250 2.0.0 Taken"):
                    return

    def _usual(self, verb: str) -> str:
        if verb == "EHLO":
            lines = ["mail.example.com", *self.extensions]
            marks = ["-"] * (len(lines) - 1) + [" "]
            return "\r\n".join(f"250{m}{text}" for m, text in zip(marks, lines, strict=True))
        return "354 Go on" if verb == "DATA" else "250 2.0.0 Ok"

    async def _say(self, writer, verb: str, line: bytes, usual: str) -> bool:
        told = self.replies.get(verb, usual)
        reply = told(line) if callable(told) else told
        reply = usual if reply is None else reply
        if reply == "drop":
            return False
        if reply == "reset":
            reset(writer)
            return False
        if reply == "hang":
            await asyncio.sleep(60)
        self._went_on = reply.startswith("354")
        writer.write(reply.encode() + b"\r\n")
        await writer.drain()
        return not reply.startswith("421")
