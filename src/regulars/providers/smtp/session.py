"""One connection to a mail server, over which letters go one after another."""

import contextlib
import ssl
from base64 import b64encode

import aiosmtplib

from regulars.lib import write_by
from regulars.providers.base import Outcome, Verdict
from regulars.providers.classes import plain
from regulars.providers.smtp.mime import Letter
from regulars.providers.smtp.options import SmtpOptions
from regulars.providers.smtp.tables import Stage, reply_outcome, silence

# Servers count; many end a connection after a hundred or so.
LETTERS_PER_SESSION = 100
# Less than the second that is kept for it: an answer that came must not get lost over a goodbye.
QUIT_SECONDS = 0.5


class ReplyError(Exception):
    """The server refused a command."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


class Progress:
    """How far one hand-over has come; survives the exception or timeout that ends it."""

    def __init__(self) -> None:
        self.stage = Stage.CONNECT


class Session:
    """Raises aiosmtplib's errors and OSError when the connection breaks; refusals are outcomes."""

    def __init__(self, options: SmtpOptions, tls: ssl.SSLContext, timeout: float) -> None:
        host, port = options.endpoint()
        self._secrets = never_shown(options)
        self._sender = b"FROM:<" + options.from_address.encode() + b">"
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
        self._must_reset = False
        self.letters = 0

    async def open(self) -> None:
        """Connect, encrypt, greet and log in."""
        await self._client.connect()
        if self._client.is_ehlo_or_helo_needed:
            await self._client.ehlo()

    @property
    def open_still(self) -> bool:
        return self._client.is_connected

    @property
    def usable(self) -> bool:
        return self.open_still and self.letters < LETTERS_PER_SESSION

    async def deliver(self, letter: Letter, progress: Progress) -> Outcome:
        """Hand over one letter. `progress` turns to WRITTEN with the only write of its bytes."""
        if letter.utf8 and not self._client.supports_extension("smtputf8"):
            words = "The mail server cannot write to addresses with letters beyond ASCII"
            return Outcome(Verdict.REJECTED, code="no_smtputf8", error=words)
        self.letters += 1
        try:
            await self._hand_over(letter, progress)
        except ReplyError as refusal:
            self._must_reset = progress.stage is not Stage.WRITTEN
            # 421 is a goodbye, and what is no reply at all leaves the two sides out of step.
            if refusal.code == 421 or not 400 <= refusal.code <= 599:
                self.close()
            return reply_outcome(progress.stage, refusal.code, refusal.text, *self._secrets)
        return Outcome(Verdict.ACCEPTED, provider_id=letter.message_id)

    async def _hand_over(self, letter: Letter, progress: Progress) -> None:
        progress.stage = Stage.SENDER
        if self._must_reset:
            await self._command(b"RSET")
            self._must_reset = False
        options = (b"SMTPUTF8", b"BODY=8BITMIME") if letter.utf8 else ()
        await self._command(b"MAIL", self._sender, *options)
        progress.stage = Stage.RECIPIENT
        await self._command(b"RCPT", b"TO:<" + letter.recipient.encode() + b">")
        progress.stage = Stage.DATA
        await self._command(b"DATA", expected=3)
        protocol = self._client.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        write_by.check()
        protocol.write(letter.data)
        progress.stage = Stage.WRITTEN
        reply = await protocol.read_response(timeout=self._client.timeout)
        if reply.code // 100 != 2:
            raise ReplyError(reply.code, reply.message)

    async def _command(self, *words: bytes, expected: int = 2) -> None:
        reply = await self._client.execute_command(*words)
        if reply.code // 100 != expected:
            raise ReplyError(reply.code, reply.message)

    async def quit(self) -> None:
        """Say goodbye, for a moment at most, and close."""
        try:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await self._client.quit(timeout=QUIT_SECONDS)
        finally:
            self.close()

    def close(self) -> None:
        """Drop the connection: the server discards a letter that has no final dot yet."""
        self._client.close()


def never_shown(options: SmtpOptions) -> tuple[str, ...]:
    """The password, also as it travels: a server may quote the line that it refuses."""
    password = options.password.get_secret_value()
    plainly = f"\0{options.username}\0{password}"
    return password, *(b64encode(text.encode()).decode() for text in (plainly, password) if password)


def broken(error: Exception, stage: Stage, *secrets: str) -> Outcome:
    """The outcome of an exception that ended a hand-over at `stage`."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return reply_outcome(stage, error.code, error.message, *secrets)
    lost = isinstance(error, OSError | aiosmtplib.SMTPTimeoutError)
    if stage is Stage.CONNECT and isinstance(error, aiosmtplib.SMTPException) and not lost:
        # What the account asks for (STARTTLS, a login) the server does not offer.
        words = "The mail server does not offer what the account asks for: check security, port and username"
        return Outcome(Verdict.STOP_ACCOUNT, code="not_offered", error=f"{words} ({plain(str(error))})")
    return silence(stage, plain(str(error)) or type(error).__name__)
