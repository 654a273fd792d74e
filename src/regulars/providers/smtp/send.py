"""Hands e-mail to a mail server over SMTP, one message a transaction, over a few kept connections.

The guarantee: a message is UNAVAILABLE only if its final dot was certainly not written, and UNKNOWN
if it was and no reply came. SMTP knows no idempotency; our Message-ID is stable, but a server may
deliver the same one twice.
"""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from aiosmtplib import SMTPException

from regulars.lib.time_limit import TimeLimit
from regulars.providers.base import (
    Checked,
    Connection,
    OutboxWriter,
    Outcome,
    Outgoing,
    Provider,
)
from regulars.providers.mail import UnwritableError
from regulars.providers.smtp.answers import broken, never_shown
from regulars.providers.smtp.mime import Letter, Letterhead
from regulars.providers.smtp.options import SmtpOptions
from regulars.providers.smtp.session import Progress, Session
from regulars.providers.smtp.tables import Stage, silence


class Smtp(Provider):
    kind = "smtp"
    label = "E-mail (SMTP)"
    channels = ("email",)
    options = SmtpOptions
    # Connections per lane; servers commonly allow ten or twenty from one place.
    concurrency = 8

    async def connect(self, options: Any, outbox: OutboxWriter) -> Connection:
        # A second is kept for the goodbye.
        timeout = self.request_timeout - timedelta(seconds=1)
        return SmtpConnection(options, self.concurrency, timeout)


class SmtpConnection(Connection):
    """Up to `concurrency` sessions, opened as needed."""

    def __init__(self, options: SmtpOptions, concurrency: int, timeout: timedelta) -> None:
        self._options = options
        self._letterhead = Letterhead(options.from_address, options.from_name)
        self._timeout = timeout.total_seconds()
        self._time_limit = TimeLimit(self._timeout)
        self._tls = ssl.create_default_context()
        self._places = asyncio.Semaphore(concurrency)
        self._idle: list[Session] = []

    async def send(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        return [await self._send(message) for message in batch]

    async def check(self) -> Checked:
        """Connects, encrypts, greets and logs in; no letter is begun."""
        session = Session(self._options, self._tls, self._timeout)
        try:
            with self._time_limit.begin():
                await session.open()
            await session.quit()
        except (SMTPException, OSError, ValueError) as error:
            # TimeoutError is an OSError, too.
            session.close()
            found = broken(error, Stage.CONNECT, *never_shown(self._options))
            return Checked(works=False, words=found.error)
        return Checked(works=True, words="The mail server lets the account in.")

    async def close(self) -> None:
        sessions, self._idle = self._idle, []
        await asyncio.gather(*(session.quit() for session in sessions))

    async def _send(self, message: Outgoing) -> Outcome:
        try:
            letter = self._letterhead.write(message)
        except UnwritableError as error:
            return error.outcome()
        async with self._places:
            return await self._hand_over(letter)

    async def _hand_over(self, letter: Letter) -> Outcome:
        progress = Progress()
        sessions: list[Session] = []
        try:
            with self._time_limit.begin():
                outcome = await self._over_a_session(letter, progress, sessions)
        except TimeoutError:
            # Also aiosmtplib's own timeouts.
            outcome = silence(progress.stage, "no answer in time")
        except (SMTPException, OSError, ValueError) as error:
            # ValueError: a host that is no name, a login whose characters no server takes.
            outcome = broken(error, progress.stage, *never_shown(self._options))
        else:
            await self._give_back(sessions.pop())
        finally:
            # Whatever did not end in order, cancellation included, is not used again.
            for session in sessions:
                session.close()
        return outcome

    async def _over_a_session(self, letter: Letter, progress: Progress, sessions: list[Session]) -> Outcome:
        """Deliver; the session used is the last of `sessions`, so that the caller can end it."""
        kept = self._take_idle()
        if kept is not None:
            sessions.append(kept)
            # Between letters servers hang up, or answer the next one with a goodbye (421): that one
            # was not begun. A goodbye from a fresh connection is meant.
            try:
                outcome = await kept.deliver(letter, progress)
            except (SMTPException, OSError):
                if progress.stage is not Stage.SENDER:
                    raise
            else:
                if progress.stage is not Stage.SENDER or kept.open_still:
                    return outcome
        progress.stage = Stage.CONNECT
        fresh = Session(self._options, self._tls, self._timeout)
        sessions.append(fresh)
        await fresh.open()
        return await fresh.deliver(letter, progress)

    def _take_idle(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if session.usable:
                return session
            session.close()
        return None

    async def _give_back(self, session: Session) -> None:
        if session.usable:
            self._idle.append(session)
        else:
            await session.quit()
