"""What may stand in an e-mail, whoever carries it. Pure; nothing here can start a new line."""

import re
from typing import Annotated

import idna
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field

from regulars.providers.base import Options, Outcome, Outgoing, Verdict

LINE_LIMIT = 998

PLAIN = re.compile(r"[!-~]([ -~]*[!-~])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_ADDRESS = re.compile(r"[^\s<>()\[\]\\,;:\"@\x00-\x1f\x7f]{1,64}@[^\s<>()\[\]\\,;:\"@\x00-\x1f\x7f]{1,253}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,76}")
_OURS = {"from", "to", "cc", "bcc", "sender", "subject", "date", "message-id", "mime-version"}


class UnwritableError(ValueError):
    """The message cannot be written as a letter; the text says why."""

    def __init__(self, words: str, *, bad_address: bool = False) -> None:
        super().__init__(words)
        self.bad_address = bad_address

    def outcome(self) -> Outcome:
        """Refused before anything was written."""
        return Outcome(Verdict.REJECTED, code="unwritable", error=str(self), bad_address=self.bad_address)


def envelope_address(address: str) -> str:
    """The address as servers want it: the domain in ASCII."""
    if not _ADDRESS.fullmatch(address):
        raise UnwritableError("Invalid address", bad_address=True)
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        raise UnwritableError("Invalid address", bad_address=True) from None


def ascii_address(address: str) -> str:
    """As `envelope_address`, for services that know no letters beyond ASCII before the @."""
    found = envelope_address(address)
    if not found.isascii():
        raise UnwritableError("The mail service cannot write to addresses with letters beyond ASCII")
    return found


def checked_subject(subject: str) -> str:
    """The subject; UnwritableError where it would break the line."""
    if _CONTROL.search(subject):
        raise UnwritableError("The subject contains a line break or a control character")
    return subject


def checked_header(name: str, value: str) -> tuple[str, str]:
    """A header that may be added to a letter, on one line as List-Unsubscribe must be (RFC 8058)."""
    lower = name.lower()
    if not _HEADER_NAME.fullmatch(name) or lower in _OURS or lower.startswith("content-"):
        raise UnwritableError(f"The header {name!r} cannot be set")
    if not PLAIN.fullmatch(value) or len(name) + len(value) + 2 > LINE_LIMIT:
        raise UnwritableError(f"The header {name} must be one line of plain characters")
    return name, value


def refusal_of(message: Outgoing) -> Outcome | None:
    """The outcome of a letter that no service can take; None where nothing speaks against it.

    Looked at before a batch leaves: one such message would have all of it refused.
    """
    try:
        ascii_address(message.address)
        checked_subject(message.subject)
        for name, value in message.headers.items():
            checked_header(name, value)
    except UnwritableError as error:
        return error.outcome()
    return None


def checked_sender(address: str) -> str:
    """An address to write from, the domain in ASCII; ValueError says what is wrong."""
    try:
        found = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(f"Not an e-mail address: {error}") from None
    if not found.ascii_email:
        raise ValueError("The part before the @ must be plain letters and digits.")
    return str(found.ascii_email)


def one_line(text: str) -> str:
    """The text without spaces around it; ValueError where it would break the line."""
    if not text.isprintable():
        raise ValueError("Leave out line breaks and control characters.")
    return text.strip()


class SenderOptions(Options):
    """Who an e-mail comes from."""

    from_address: Annotated[str, AfterValidator(checked_sender)]
    from_name: Annotated[str, AfterValidator(one_line), Field(max_length=100)] = ""
