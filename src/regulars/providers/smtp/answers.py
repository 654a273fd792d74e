"""What a mail server answers, and what it means for the letter that was under way."""

from base64 import b64encode

import aiosmtplib

from regulars.providers.base import Outcome, Verdict
from regulars.providers.classes import plain
from regulars.providers.smtp.conversation import Conversation
from regulars.providers.smtp.options import SmtpOptions
from regulars.providers.smtp.tables import Stage, reply_outcome, silence


class ReplyError(Exception):
    """The server refused a command."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


async def expect(conversation: Conversation, expected: int) -> None:
    """The next reply, which is a refusal unless its first digit is the one expected."""
    code, text = await conversation.reply()
    if code // 100 != expected:
        raise ReplyError(code, text)


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
