"""One connection to a mail server, over which letters go one after another."""

import asyncio
import contextlib
import ssl
from typing import cast

import aiosmtplib

from regulars.lib import write_by
from regulars.providers.base import Outcome, Verdict
from regulars.providers.smtp.answers import ReplyError, expect, never_shown
from regulars.providers.smtp.conversation import Conversation
from regulars.providers.smtp.mime import Letter
from regulars.providers.smtp.options import SmtpOptions
from regulars.providers.smtp.tables import Stage, reply_outcome

# Servers count; many end a connection after a hundred or so.
LETTERS_PER_SESSION = 100
# Less than the second that is kept for it: an answer that came must not get lost over a goodbye.
QUIT_SECONDS = 0.5
# What is said before a letter: how far that is, and how the reply begins where it is granted.
_ENVELOPE = ((Stage.SENDER, 2), (Stage.RECIPIENT, 2), (Stage.DATA, 3))


class Progress:
    """How far one hand-over has come; survives the exception or timeout that ends it."""

    def __init__(self) -> None:
        self.stage = Stage.CONNECT


class Session:
    """Raises aiosmtplib's errors and OSError when the connection breaks; refusals are outcomes."""

    def __init__(self, options: SmtpOptions, tls: ssl.SSLContext, timeout: float) -> None:
        host, port = options.endpoint()
        self._secrets = never_shown(options)
        self._sender = b"MAIL FROM:<" + options.from_address.encode() + b">"
        self._client = aiosmtplib.SMTP(
            hostname=host,
            port=port,
            username=options.username or None,
            password=options.password.get_secret_value() or None,
            # Otherwise the host's own name is looked up, which can take seconds.
            local_hostname=options.domain(),
            use_tls=options.security == "tls",
            start_tls=options.security == "starttls",
            tls_context=None if options.security == "none" else tls,
            timeout=timeout,
        )
        self._conversation: Conversation | None = None
        self._pipelining = False
        self._must_reset = False
        self.letters = 0

    async def open(self) -> None:
        """Connect, encrypt, greet and log in."""
        client = self._client
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
        if client.transport is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        self._pipelining = client.supports_extension("pipelining")
        self._conversation = Conversation(cast("asyncio.Transport", client.transport))

    @property
    def open_still(self) -> bool:
        return self._conversation is not None and self._conversation.is_open

    @property
    def usable(self) -> bool:
        return self.open_still and self.letters < LETTERS_PER_SESSION

    async def deliver(self, letter: Letter, progress: Progress) -> Outcome:
        """Hand over one letter. `progress` turns to WRITTEN with the only write of its bytes."""
        if letter.utf8 and not self._client.supports_extension("smtputf8"):
            words = "The mail server cannot write to addresses with letters beyond ASCII"
            return Outcome(Verdict.REJECTED, code="no_smtputf8", error=words)
        if self._conversation is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        self.letters += 1
        try:
            await self._hand_over(self._conversation, letter, progress)
        except ReplyError as refusal:
            self._must_reset = progress.stage is not Stage.WRITTEN
            # 421 is a goodbye, and what is no reply at all leaves the two sides out of step.
            if refusal.code == 421 or not 400 <= refusal.code <= 599:
                self.close()
            await self._catch_up(self._conversation)
            return reply_outcome(progress.stage, refusal.code, refusal.text, *self._secrets)
        return Outcome(Verdict.ACCEPTED, provider_id=letter.message_id)

    async def _hand_over(self, conversation: Conversation, letter: Letter, progress: Progress) -> None:
        """The envelope in one write where the server takes that, the letter in another."""
        progress.stage = Stage.SENDER
        if self._must_reset:
            conversation.say(b"RSET\r\n")
            await expect(conversation, 2)
            self._must_reset = False
        commands = self._envelope(letter)
        if self._pipelining:
            conversation.say(b"".join(commands), len(commands))
        for (stage, expected), command in zip(_ENVELOPE, commands, strict=True):
            progress.stage = stage
            if not self._pipelining:
                conversation.say(command)
            await expect(conversation, expected)
        write_by.check()
        conversation.say(letter.data)
        progress.stage = Stage.WRITTEN
        await expect(conversation, 2)

    def _envelope(self, letter: Letter) -> tuple[bytes, bytes, bytes]:
        more = b" SMTPUTF8 BODY=8BITMIME\r\n" if letter.utf8 else b"\r\n"
        return self._sender + more, b"RCPT TO:<" + letter.recipient.encode() + b">\r\n", b"DATA\r\n"

    async def _catch_up(self, conversation: Conversation) -> None:
        """After a refusal: take what the server says to the rest of the envelope.

        Where it wants a letter all the same it gets none: the connection ends, and with it whatever
        the server thinks it was about to receive.
        """
        try:
            while not conversation.in_step and conversation.is_open:
                code, _ = await conversation.reply()
                if not 400 <= code <= 599 or code == 421:
                    self.close()
        except aiosmtplib.SMTPException:
            self.close()

    async def quit(self) -> None:
        """Say goodbye, for a moment at most, and close."""
        try:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, ReplyError):
                await self._goodbye()
        finally:
            self.close()

    async def _goodbye(self) -> None:
        if self._conversation is not None:
            self._conversation.say(b"QUIT\r\n")
            async with asyncio.timeout(QUIT_SECONDS):
                await expect(self._conversation, 2)

    def close(self) -> None:
        """Drop the connection: the server discards a letter that has no final dot yet."""
        self._client.close()
