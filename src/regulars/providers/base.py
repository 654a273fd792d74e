"""The words in which the engine and the providers speak: Outgoing, Outcome, capabilities.

Pure: no input or output. An adapter is one folder with `send.py` and its tables; nothing outside
the folder knows the vendor's name.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict


class Verdict(StrEnum):
    """What the one call that hands a message over can have said."""

    ACCEPTED = "accepted"
    # Not again for this occasion.
    REJECTED = "rejected"
    # Never taken, come back after `retry_after`.
    THROTTLED = "throttled"
    # Never taken: the service does not answer, or refused before the request was written.
    UNAVAILABLE = "unavailable"
    # May have been taken: nobody can say without asking.
    UNKNOWN = "unknown"
    # The template is broken: the automation pauses, the rest waits.
    STOP_TEMPLATE = "stop_template"
    # The account is broken: the run pauses, the rest waits.
    STOP_ACCOUNT = "stop_account"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict with what follows from it. The caller never reads `error` to decide.

    `error` is for people: what is wrong and, if possible, what to do; it may quote the address.
    `bad_address` and `opt_out` say what to remember about the address on this channel.
    `this_address_only`: `retry_after` is about this address, the account need not slow down;
    `growing`: it doubles with each try. `permanent`: refused because of who is written to on this
    channel, never because of what is said or who says it; another channel may reach the guest.
    """

    verdict: Verdict
    provider_id: str = ""
    code: str = ""
    error: str = ""
    retry_after: timedelta | None = None
    bad_address: bool = False
    opt_out: bool = False
    this_address_only: bool = False
    growing: bool = False
    permanent: bool = False


class Report(StrEnum):
    """What a provider says later of a message, by itself or because it was asked."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    READ = "read"
    # The guest followed a link in it, where the owner watches that.
    CLICKED = "clicked"
    # The guest called it spam: so it arrived.
    COMPLAINED = "complained"
    # It was taken and then came back, or could not be brought to the guest.
    BOUNCED = "bounced"
    FAILED = "failed"
    # It was certainly never taken. Only an answer to the very attempt counts.
    NEVER_ACCEPTED = "never_accepted"


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up says for certain of a message."""

    report: Report
    provider_id: str = ""


class Approval(StrEnum):
    """What a vendor says of a template that it keeps and has looked at before anybody may use it."""

    APPROVED = "approved"
    PENDING = "pending"
    REJECTED = "rejected"
    # For its quality: it may come back by itself.
    PAUSED = "paused"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class ListedTemplate:
    """A template as the vendor keeps it.

    `reference` is the vendor's own id, `name` what people call it; several languages share one name.
    `category` is `marketing`, `utility` or `authentication`. `text` is what a guest reads, with each
    of `placeholders` between double braces. `reason` says why it is not approved, `unsupported`
    what it has that we cannot fill in.
    """

    reference: str
    name: str
    language: str
    approval: Approval
    category: str
    text: str
    placeholders: tuple[str, ...] = ()
    reason: str = ""
    unsupported: str = ""


class TemplatesUnavailableError(Exception):
    """The vendor's list of templates cannot be read; the text says what to do."""


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """A template that the vendor keeps, named as the vendor does, with a value for each placeholder."""

    reference: str
    name: str
    language: str
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One rendered message on its way out.

    `message_id` is the ledger's id; `idempotency_key` is stable over attempts and usable only where
    a provider documents one. `headers` are extra e-mail headers. `attempt` counts from 1 (0: not
    told). `template`: what is sent where the vendor keeps the text; `body` is then how it reads.
    `purpose` is `marketing` or `transactional`, empty where it does not matter. `callback` is where the
    provider may report about this very message; empty where nobody outside can reach us.
    """

    message_id: int
    idempotency_key: str
    channel: str
    address: str
    body: str
    subject: str = ""
    html: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    attempt: int = 0
    template: TemplateUse | None = None
    purpose: str = ""
    callback: str = ""


class Options(BaseModel):
    """Base of an account's options; unknown names are refused, secrets are `SecretStr`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a look at an account found, without sending anything; `words` are for its owner."""

    works: bool
    words: str


@dataclass(frozen=True, slots=True)
class Rate:
    """So many messages in so long, by the vendor's own word."""

    messages: int
    per: timedelta


@dataclass(frozen=True, slots=True)
class Question:
    """A message in doubt: if it was handed over at all, then between these two moments."""

    message: Outgoing
    since: datetime
    until: datetime


OutboxWriter = Callable[[Sequence[Outgoing]], Awaitable[None]]


@runtime_checkable
class OutboxReader(Protocol):
    """What can be asked of the sandbox's outside world."""

    async def taken(self, message_ids: Sequence[int]) -> set[int]:
        """Those of these messages that it took."""


class Connection(ABC):
    """An open way to a provider, kept over many messages, used by one sender lane."""

    @abstractmethod
    async def send(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        """Hand over `batch` (1 to `Provider.max_batch` messages): one outcome each, in order.

        Never raises for a provider's fault: each doubt is an Outcome (UNKNOWN where the request may
        have been processed, UNAVAILABLE only where it certainly was not written). Never retries.
        Cancellation after the request was written leaves the outcome to the caller: unknown.
        """

    async def look_up(self, questions: Sequence[Question]) -> list[Found | None]:
        """What became of these messages: one answer each, in order. Never sends.

        None says nothing: not found is no proof of absence where the provider does not promise it.
        Only where `Provider.can_look_up`.
        """
        return [None] * len(questions)

    async def templates(self) -> list[ListedTemplate]:
        """Every template that the vendor keeps for this account. Only where `Provider.lists_templates`.

        Raises:
            TemplatesUnavailableError: the account lacks something, or the vendor did not answer.
        """
        return []

    async def check(self) -> Checked | None:
        """Whether the account can be used, asked without sending anything; None where nobody can ask.

        Never raises for the provider's fault: that is what is found.
        """
        return None

    async def close(self) -> None:
        """Release sockets. Messages already answered stay answered."""
        return


class Provider(ABC):
    """A kind of vendor. Stateless; `connect` gives a Connection for one account."""

    kind: ClassVar[str]
    label: ClassVar[str]
    channels: ClassVar[tuple[str, ...]]
    options: ClassVar[type[Options]]
    # Messages per call; how many calls may be in flight at once on one connection.
    max_batch: ClassVar[int] = 1
    concurrency: ClassVar[int] = 16
    # Whether the provider itself documents that a repeated key is not processed twice.
    idempotent: ClassVar[bool] = False
    # Whether it can be asked what became of a message whose answer was lost.
    can_look_up: ClassVar[bool] = False
    # Whether it can be asked for the templates that it keeps; whether that list tells their texts and
    # the places in them (else both stay empty, and an automation names the places by itself); and the
    # channels on which it takes nothing else, unless the guest has just written
    # (`customers.service_window`).
    lists_templates: ClassVar[bool] = False
    tells_places: ClassVar[bool] = True
    template_channels: ClassVar[tuple[str, ...]] = ()
    # Whether the vendor calls back with what became of a message.
    calls_back: ClassVar[bool] = False
    # What the vendor lets through by channel, where it says so. An account's own limits bind; these
    # tell its owner what to expect.
    rates: ClassVar[Mapping[str, Rate]] = MappingProxyType({})
    request_timeout: ClassVar[timedelta] = timedelta(seconds=7)

    def takes_replies(self, options: Any, channel: str) -> bool:
        """Whether a guest can answer what is sent on `channel`: the name of a firm cannot be answered."""
        return True

    @abstractmethod
    async def connect(self, options: Any, outbox: OutboxWriter) -> Connection:
        """Open a connection. Does no I/O that could fail for the provider's sake: faults belong to
        the outcomes of `send`. `outbox` is where the sandbox writes; others ignore it.
        """

    def channels_of(self, options: Any) -> tuple[str, ...]:
        """Those of `channels` that an account with these options can use."""
        return self.channels

    def portfolio_of(self, options: Any) -> str:
        """The vendor's name for the business behind an account, or empty.

        Accounts of one business share what is limited for all of it, and its guests' user ids.
        """
        return ""
