"""What is said over an open connection to a mail server: commands out, replies in.

aiosmtplib connects, encrypts, greets and logs in; then this takes over its transport, because what
is said for each letter is said a hundred thousand times. Commands may go out together (RFC 2920):
whoever asks is woken once, when all their replies are there.
"""

import asyncio
from collections import deque

from aiosmtplib import SMTPServerDisconnected

# A reply is a few lines; a stream without end must not fill the memory.
MAX_REPLY_BYTES = 32 * 1024


class Conversation(asyncio.Protocol):
    """Takes over `transport`. What the server says unasked ends the conversation: a goodbye mostly,
    and nobody could tell any more which reply belongs to which command."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._owed = 0
        self._replies: deque[tuple[int, str]] = deque()
        self._unread = b""
        self._lines: list[str] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    @property
    def in_step(self) -> bool:
        """Whether every reply that is owed has been taken."""
        return not self._owed

    def say(self, words: bytes, replies: int = 1) -> None:
        """Write `words` at once; so many replies are owed for them.

        Raises:
            SMTPServerDisconnected: the connection is lost; nothing was written.
        """
        if self._transport.is_closing():
            raise SMTPServerDisconnected("Connection lost")
        self._owed += replies
        self._transport.write(words)

    async def reply(self) -> tuple[int, str]:
        """The next reply, code and text; 0 is the code of what is no reply at all.

        Raises:
            SMTPServerDisconnected: the connection was lost before it came.
        """
        if len(self._replies) < self._owed and not self._transport.is_closing():
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if not self._replies:
            raise SMTPServerDisconnected("Connection lost")
        self._owed -= 1
        return self._replies.popleft()

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._heard(line)
        if len(self._replies) > self._owed or len(self._unread) > MAX_REPLY_BYTES:
            self._transport.close()
        if len(self._replies) >= self._owed or self._transport.is_closing():
            self._wake()

    def _heard(self, line: bytes) -> None:
        self._size += len(line)
        code = int(line[:3]) if line[:3].isdigit() and self._size <= MAX_REPLY_BYTES else 0
        self._lines.append(line[4:].strip().decode("utf-8", "surrogateescape"))
        if not code or line[3:4] != b"-":
            self._replies.append((code, "\n".join(self._lines)))
            self._lines, self._size = [], 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
