"""What the sandbox is told to do with whom. Pure; decided by a hash, so a run can be repeated."""

from enum import StrEnum
from hashlib import blake2b
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from regulars.providers.base import Options, Outgoing


class Fate(StrEnum):
    """What the sandbox does with a message."""

    ACCEPT = "accept"
    REJECT = "reject"
    # Refused for now on the first attempt, taken on the second.
    THROTTLE = "throttle"
    # No answer: half of them were taken all the same.
    TIMEOUT = "timeout"
    # The process is killed right after the message was taken.
    DIE = "die"


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Share = Annotated[float, Field(ge=0, le=1)]
# Whole addresses or their endings (`@example.com`, `0100`); text is split at commas.
Addresses = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class SandboxOptions(Options):
    """Shares of all messages (0 to 1, together at most 1), or addresses, that meet a fate."""

    reject_share: Share = 0
    throttle_share: Share = 0
    timeout_share: Share = 0
    die_share: Share = 0
    reject_addresses: Addresses = ()
    throttle_addresses: Addresses = ()
    timeout_addresses: Addresses = ()
    die_addresses: Addresses = ()
    # How long a call takes, half of it before and half after the message is taken.
    delay_ms: Annotated[int, Field(ge=0, le=6_000)] = 0
    # Every kind takes it; the sandbox calls nobody.
    base_url: str = ""

    @model_validator(mode="after")
    def _shares_fit(self) -> "SandboxOptions":
        if sum(share for _, share in self.shares()) > 1 + 1e-9:
            raise ValueError("The shares add up to more than 1: lower one of them.")
        return self

    def shares(self) -> tuple[tuple[Fate, float], ...]:
        return (
            (Fate.REJECT, self.reject_share),
            (Fate.THROTTLE, self.throttle_share),
            (Fate.TIMEOUT, self.timeout_share),
            (Fate.DIE, self.die_share),
        )

    def listed(self) -> tuple[tuple[Fate, tuple[str, ...]], ...]:
        return (
            (Fate.REJECT, self.reject_addresses),
            (Fate.THROTTLE, self.throttle_addresses),
            (Fate.TIMEOUT, self.timeout_addresses),
            (Fate.DIE, self.die_addresses),
        )


def draw(message: Outgoing, purpose: str) -> float:
    """A number in [0, 1) that depends on the message, its address and `purpose` only."""
    text = f"{purpose}\0{message.message_id}\0{message.address}"
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48


def fate_of(message: Outgoing, options: SandboxOptions) -> Fate:
    """What happens to this message: a listed address first, else by share."""
    for fate, endings in options.listed():
        if endings and message.address.endswith(endings):
            return fate
    number = draw(message, "fate")
    for fate, share in options.shares():
        if number < share:
            return fate
        number -= share
    return Fate.ACCEPT
