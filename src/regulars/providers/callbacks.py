"""What the providers tell by themselves: the words for it, and which vendor's handler reads which callback.

Pure: no input or output. A handler checks that a request comes from its vendor, and reads from the raw
request what was told: facts about messages, what guests wrote, what they chose on the vendor's own screens.
What follows from it is decided elsewhere (`regulars.callbacks`).
"""

import base64
import binascii
import hmac
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from regulars.providers.base import Approval, Report

# The name under which a handler finds the password that we made for the account's callbacks.
PASSWORD = "callback_password"  # noqa: S105 - a name
_OUR_ID = re.compile(r"(?:message|regulars|m)?[-:_]?([1-9]\d{0,18})", re.IGNORECASE)
_BIGGEST_ID = 2**63 - 1


class RefusedError(Exception):
    """Nothing proves that the vendor sent it. `status`: 401 (no proof at all), 403 (a wrong one)."""

    def __init__(self, words: str, status: int = 403) -> None:
        super().__init__(words)
        self.status = status


class MalformedError(ValueError):
    """The vendor sent something that is not in its documented form."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came: `url` as the vendor called it, header names in lower case, the raw body."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """The parameters in the address; of several with one name the last."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    def form(self) -> list[tuple[str, str]]:
        """The fields of a form-encoded body, in their order."""
        return parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)

    def document(self) -> Any:
        """The body as JSON.

        Raises:
            MalformedError: it is none.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise MalformedError("The body is not JSON.") from None


@dataclass(frozen=True, slots=True)
class Fact:
    """A later fact about one message. `report` is None where it says nothing of the message's state.

    The message is named by our own id, or by the vendor's number and the address. `key` tells this fact
    from others about the message. `tracked`: told by watching the guest (opens, clicks), so it counts only
    where the owner switched that on. `opt_out`: the guest told the vendor to stop.
    """

    report: Report | None
    key: str
    channel: str
    address: str = ""
    message_id: int | None = None
    provider_id: str = ""
    attempt: int | None = None
    words: str = ""
    at: datetime | None = None
    bad_address: bool = False
    complaint: bool = False
    opt_out: bool = False
    tracked: bool = False


@dataclass(frozen=True, slots=True)
class Inbound:
    """What a guest wrote to us. `answered`: the vendor has already confirmed a stop or start by itself.

    `to`: the sender of ours that it was written to, as the account's options name it. `user_id`: the
    guest's WhatsApp user id, where the vendor tells it beside the number.
    """

    key: str
    channel: str
    address: str
    text: str
    at: datetime | None = None
    answered: bool = False
    to: str = ""
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a guest chose on the vendor's own screen: no marketing any more (`stop`), or again."""

    key: str
    channel: str
    address: str
    stop: bool
    words: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """The vendor asks whether it may call here: yes is a GET of `url`."""

    url: str


@dataclass(frozen=True, slots=True)
class TemplateNews:
    """What the vendor says of a template that it keeps (`reference` is its own id); empty: nothing of that.

    `reason`: why it is not approved, in the vendor's words.
    """

    reference: str
    at: datetime | None = None
    approval: Approval | None = None
    reason: str = ""
    category: str = ""
    quality: str = ""


# No limit at all, where a limit is told.
NO_LIMIT = 0


@dataclass(frozen=True, slots=True)
class AccountNews:
    """What the vendor says of accounts: those whose option (a name and its value) is this one.

    `recipients_per_day`: the most different guests in any 24 hours (`NO_LIMIT`: any number). `flagged`:
    whether guests complain of what comes from `number`. `works`: whether anything may be sent at all;
    if not, `words` say why and what to do. None: nothing is said of that.
    """

    option: tuple[str, str]
    at: datetime | None = None
    recipients_per_day: int | None = None
    number: str = ""
    flagged: bool | None = None
    works: bool | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """The vendor told something that nobody here reads: `what` it is, in its own words."""

    what: str


Event = Fact | Inbound | Choice | Subscription | TemplateNews | AccountNews | Unread


class Callbacks(ABC):
    """How one vendor calls us. Stateless; `secrets` are the account's options and secrets by name."""

    label: ClassVar[str]
    # Larger bodies are refused (413) before they are read.
    most_bytes: ClassVar[int] = 256 * 1024
    # What makes the vendor come back later, when we cannot take it now.
    busy_status: ClassVar[int] = 503
    # Secrets without which no request can be checked, beyond those of sending; words for the owner.
    needs: ClassVar[Mapping[str, str]] = {}
    # Where the owner enters the address, in the vendor's own words.
    where: ClassVar[str] = ""
    # Headers that `events` reads: the only ones that are kept.
    kept_headers: ClassVar[tuple[str, ...]] = ()
    # What a taken request is answered with: content type and body.
    answer: ClassVar[tuple[str, bytes]] = ("text/plain", b"")

    def greet(self, request: Request, secrets: Mapping[str, str]) -> str:
        """The answer to a GET by which the vendor makes sure that we are who we say.

        Raises:
            RefusedError: this vendor does no such thing, or the proof is wrong.
        """
        raise RefusedError("Only POST is taken here.", 405)

    def certificate_url(self, request: Request) -> str:
        """The address of the certificate that `check` needs; empty where none is needed.

        Raises:
            RefusedError: it names one that is not the vendor's.
        """
        return ""

    @abstractmethod
    def check(
        self, request: Request, secrets: Mapping[str, str], now: datetime, certificate: bytes = b""
    ) -> None:
        """Whether the request comes from the vendor.

        Raises:
            RefusedError: it does not prove that.
        """

    @abstractmethod
    def events(self, request: Request) -> list[Event]:
        """What a checked request tells.

        Raises:
            MalformedError: it is not in the vendor's form.
        """


BUILT_IN = {
    "twilio": "regulars.providers.twilio.callbacks:TwilioCallbacks",
    "meta": "regulars.providers.meta.callbacks:MetaCallbacks",
    "brevo": "regulars.providers.brevo.callbacks:BrevoCallbacks",
    "ses": "regulars.providers.ses.callbacks:SesCallbacks",
    "postmark": "regulars.providers.anymail.callbacks:PostmarkCallbacks",
    "mailgun": "regulars.providers.anymail.callbacks:MailgunCallbacks",
    "resend": "regulars.providers.anymail.callbacks:ResendCallbacks",
}


@cache
def handler(kind: str) -> Callbacks | None:
    """The handler of this kind of provider, one object per process; None for kinds that never call."""
    if kind not in BUILT_IN:
        return None
    module, _, name = BUILT_IN[kind].partition(":")
    found: Callbacks = getattr(import_module(module), name)()
    return found


def our_id(value: object) -> int | None:
    """The id of our message in what a vendor gives back of ours; None where there is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    found = _OUR_ID.fullmatch(str(value).strip())
    return int(found[1]) if found and int(found[1]) <= _BIGGEST_ID else None


def phone(value: object) -> str:
    """A vendor's way to write a number (`34612345678`, `whatsapp:+34…`) in E.164; empty where it is none."""
    digits = str(value or "").removeprefix("whatsapp:").strip().removeprefix("+")
    return f"+{digits}" if re.fullmatch(r"[0-9]{3,15}", digits) else ""


def mailbox(value: object) -> str:
    """An e-mail address as we compare it: of `Ana <Ana@Example.com>` the address, in lower case."""
    text = str(value or "").strip()
    return (text[text.rfind("<") + 1 : -1] if text.endswith(">") else text).strip().lower()


def moment(seconds: object) -> datetime | None:
    """The moment so many seconds after 1970; None where that is not what it is."""
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def iso_moment(text: object) -> datetime | None:
    """The moment that an ISO 8601 text with a zone names; None where it is none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None


def listed(value: object) -> list[dict[str, Any]]:
    """The objects of a list; a vendor's surprise in their place is left out."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def mapped(value: object) -> dict[str, Any]:
    """An object, or an empty one in place of whatever else it is."""
    return value if isinstance(value, dict) else {}


def check_password(request: Request, secrets: Mapping[str, str]) -> None:
    """For vendors that sign nothing: `Authorization` holds the password that we made, as Basic or Bearer.

    Raises:
        RefusedError: it is missing (401) or wrong (403).
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        given = _decoded(given).partition(":")[2]
    if not given.strip():
        raise RefusedError("The Authorization header is missing.", 401)
    if not same(given.strip(), secrets.get(PASSWORD, "")):
        raise RefusedError("The Authorization header holds another password.")


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def same(given: str, wanted: str) -> bool:
    """Whether both are equal and not empty, in a time that tells nothing of where they differ."""
    return bool(wanted) and hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
