"""A provider that fails on purpose: HTTP or SMTP on loopback, over real sockets, in a thread of its own.

A `Script` says what happens to each message: by its address, else the next in turn, else as usual. The
server keeps two lists: `received`, the addresses whose message came in to its last byte, and `taken`,
those of them that it did not refuse in words. Whoever is in `taken` must never be sent to again.
"""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs

# Longer than any timeout of a test.
FOR_EVER = 60.0


@dataclass(frozen=True)
class Reply:
    """What the server does with one message.

    `at`: how far it lets the message come. HTTP: `unread` or `read`. SMTP: `greeting`, `EHLO`,
    `STARTTLS`, `AUTH`, `MAIL`, `RCPT`, `DATA` or `dot`, where the reply takes the place of the usual.
    `raw` is written as it is, `pace` seconds between its bytes (0: at once); then `ending`.
    `refuses`: the words say that the message was not taken.
    """

    at: str
    raw: bytes = b""
    pace: float = 0.0
    ending: str = "keep"
    refuses: bool = False
    extensions: tuple[str, ...] = ()
    # Seconds between the two dates that an answer may name.
    retry_date: int | None = None

    def after(self, seconds: int) -> "Reply":
        """The same, with RETRY-DATE that many seconds after NOW-DATE."""
        return replace(self, retry_date=seconds)

    def bytes_now(self) -> bytes:
        """`raw`, with its dates, if it has any, filled in."""
        if self.retry_date is None:
            return self.raw
        now = dt.datetime.now(dt.UTC)
        later = now + dt.timedelta(seconds=self.retry_date)
        stamp = "%a, %d %b %Y %H:%M:%S GMT"
        dated = self.raw.replace(b"RETRY-DATE", later.strftime(stamp).encode())
        return dated.replace(b"NOW-DATE", now.strftime(stamp).encode())


def http(status: int, body: bytes = b"", *, refuses: bool = False, **headers: str) -> Reply:
    """A whole HTTP answer after the whole request."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Reply("read", "\r\n".join(lines).encode() + b"\r\n\r\n" + body, refuses=refuses)


def smtp(at: str, reply: str = "", **fields) -> Reply:
    """An SMTP reply at a stage; a 4xx or 5xx refuses."""
    raw = reply.encode() + b"\r\n" if reply else b""
    return Reply(at, raw, refuses=reply[:1] in ("4", "5"), **fields)


# The message is taken, and the server says so.
ACCEPTS = Reply("accept")


@dataclass
class Script:
    """Which reply a message gets: its address's, else the next in turn, else the usual one."""

    usual: Reply
    by_address: dict[str, Reply] = field(default_factory=dict)
    in_turn: deque[Reply] = field(default_factory=deque)

    def draw(self) -> Reply:
        return self.in_turn.popleft() if self.in_turn else self.usual

    def for_address(self, address: str, drawn: Reply) -> Reply:
        return self.by_address.get(address, drawn)


class HangUpError(Exception):
    """The connection is over."""


class FaultServer:
    """One listener; subclasses speak a protocol. `up`, `down` and `close` are for the test's thread."""

    def __init__(self, usual: Reply = ACCEPTS, *, tls: ssl.SSLContext | None = None) -> None:
        self.script = Script(usual)
        self.received: list[str] = []
        self.taken: list[str] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        # A failed handshake is what the test is about, not news.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.up()

    def follow(
        self,
        usual: Reply = ACCEPTS,
        in_turn: Iterable[Reply] = (),
        *,
        by_address: dict[str, Reply] | None = None,
    ) -> None:
        """A new script from now on; without arguments everything is accepted."""
        self.script = Script(usual, by_address or {}, deque(in_turn))

    def up(self) -> None:
        """Listen, on the same port as before."""
        self._do(self._up())

    def down(self) -> None:
        """Refuse connections and cut those there are."""
        self._do(self._down())

    def close(self) -> None:
        """For good; a second time does nothing."""
        if self._loop.is_closed():
            return
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _do(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _up(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self._tls, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _down(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for writer in list(self._writers):
            _reset(writer)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self.connections += 1
        self._writers.add(writer)
        self._tasks.add(task)
        try:
            await self.serve(reader, writer)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, HangUpError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    def note(self, address: str, reply: Reply) -> None:
        """The message to `address` came in to its last byte."""
        self.received.append(address)
        if not reply.refuses:
            self.taken.append(address)

    async def say(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        """Write the reply and end as it says; HangUpError when that ends the connection."""
        raw = reply.bytes_now()
        for piece in _pieces(raw, reply.pace):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(reply.pace)
        if reply.ending == "keep":
            return
        if reply.ending == "hang":
            await asyncio.sleep(FOR_EVER)
        if reply.ending == "reset":
            _reset(writer)
        raise HangUpError


class HttpFaults(FaultServer):
    """Twilio's Messages resource, as far as its client can tell."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            drawn = self.script.draw()
            if drawn.at == "unread":
                # Sooner, and the reset may fail the connecting already.
                await asyncio.sleep(0.1)
                await self.say(writer, drawn)
            address = await _form_address(reader)
            reply = self.script.for_address(address, drawn)
            self.note(address, reply)
            await self.say(writer, self._made(reply))

    def _made(self, reply: Reply) -> Reply:
        if reply.at != ACCEPTS.at:
            return reply
        return http(201, b'{"sid": "SM%032x", "status": "queued"}' % len(self.received))


class SmtpFaults(FaultServer):
    """A mail server that fails at the stage it is told to."""

    def __init__(self, usual: Reply = ACCEPTS, *, tls=None, starttls: ssl.SSLContext | None = None) -> None:
        self._starttls = starttls
        super().__init__(usual, tls=tls)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One session; a letter's reply is drawn when its connection opens, or with its MAIL."""
        reply, address, fresh = self.script.draw(), "", True
        await self._step(writer, reply, "greeting", b"220 mail.example.com ready")
        while line := await reader.readline():
            verb = line.split()[0].decode("ascii", "replace").upper()
            if verb == "QUIT":
                writer.write(b"221 Bye\r\n")
                return
            if verb == "MAIL" and not fresh:
                reply = self.script.draw()
            if verb == "RCPT":
                address = line.partition(b"<")[2].partition(b">")[0].decode()
                reply = self.script.for_address(address, reply)
            stopped = await self._step(writer, reply, verb, self._usual(verb, reply))
            if verb == "STARTTLS" and not stopped and self._starttls:
                await writer.start_tls(self._starttls)
            goes_on = not stopped or reply.raw.startswith(b"354")
            if verb == "DATA" and goes_on:
                await self._letter(reader, writer, address, reply)
            fresh = fresh and verb not in ("MAIL", "RCPT", "DATA")

    async def _letter(self, reader, writer, address: str, reply: Reply) -> None:
        await reader.readuntil(b"\r\n.\r\n")
        at_dot = reply.at == "dot"
        self.note(address, reply if at_dot else replace(reply, refuses=False))
        await self._step(writer, reply, "dot", b"250 2.0.0 Taken")

    async def _step(self, writer, reply: Reply, stage: str, usual: bytes) -> bool:
        """The scripted reply if this is its stage, else the usual one; True when it was scripted."""
        if reply.at == stage:
            await self.say(writer, reply)
            return True
        writer.write(usual + b"\r\n")
        await writer.drain()
        return False

    def _usual(self, verb: str, reply: Reply) -> bytes:
        if verb == "EHLO":
            lines = ["mail.example.com", *(["STARTTLS"] if self._starttls else []), *reply.extensions]
            marks = ["-"] * (len(lines) - 1) + [" "]
            return "\r\n".join(f"250{m}{text}" for m, text in zip(marks, lines, strict=True)).encode()
        return {"DATA": b"354 Go on", "AUTH": b"235 2.7.0 Welcome", "STARTTLS": b"220 Go on"}.get(
            verb, b"250 2.0.0 Ok"
        )


async def _form_address(reader: asyncio.StreamReader) -> str:
    """Read one whole request; whom its form is for."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    form = parse_qs((await reader.readexactly(length)).decode())
    return form.get("To", ["nobody"])[0]


def _pieces(raw: bytes, pace: float) -> list[bytes]:
    return [raw[i : i + 1] for i in range(len(raw))] if pace else ([raw] if raw else [])


def _reset(writer: asyncio.StreamWriter) -> None:
    """End with a TCP reset in place of an orderly close."""
    found = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def refused_port():
    """A port that refuses connections, kept from everybody else meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
