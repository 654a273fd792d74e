"""The link by which a guest unsubscribes: signed, opaque, of constant size; nothing is stored for it.

A token names the customer, the message and its channel, so that it works without login, for as long
as the customer is known, and costs a message no row. 33 bytes, in 44 characters: 16 of a signature
over the ids, 17 of the ids hidden under a key that the signature chooses (the construction of a
deterministic, authenticated encryption). Whoever has no key can neither read the ids, nor guess a
token (2^128), nor count upwards. Keys are rotated by putting a new one first (`settings.LINK_KEYS`).
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings

from regulars.customers.models import Channel

_CHANNELS = (Channel.WHATSAPP.value, Channel.SMS.value, Channel.EMAIL.value)
_IDS = struct.Struct(">qqB")
_SIGNATURE = 16
LENGTH = 44


@dataclass(frozen=True, slots=True)
class Link:
    """What a token says: who may unsubscribe, from which channel, and which message carried it."""

    customer_id: int
    message_id: int
    channel: str


@dataclass(frozen=True, slots=True)
class _Key:
    """One secret, as two keys that have nothing to do with each other."""

    signing: bytes
    hiding: bytes

    @classmethod
    def of(cls, secret: str) -> "_Key":
        return cls(
            *(
                hmac.digest(secret.encode(), f"regulars unsubscribe {use}".encode(), hashlib.sha256)
                for use in ("signing", "hiding")
            )
        )

    def signature(self, ids: bytes) -> bytes:
        return hmac.digest(self.signing, ids, hashlib.sha256)[:_SIGNATURE]

    def hide(self, ids: bytes, signature: bytes) -> bytes:
        """The ids as noise, or the noise as ids."""
        noise = hmac.digest(self.hiding, signature, hashlib.sha256)[: len(ids)]
        return (int.from_bytes(ids) ^ int.from_bytes(noise)).to_bytes(len(ids))


def sign(link: Link) -> str:
    """The token of `link`, under the newest key."""
    key = _keys(tuple(settings.LINK_KEYS))[0]
    ids = _IDS.pack(link.customer_id, link.message_id, _CHANNELS.index(link.channel))
    signature = key.signature(ids)
    return base64.urlsafe_b64encode(signature + key.hide(ids, signature)).decode()


def read(token: str) -> Link | None:
    """What the token says; None if it is not one of ours, whatever is wrong with it."""
    if len(token) != LENGTH:
        return None
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    for key in _keys(tuple(settings.LINK_KEYS)):
        ids = key.hide(raw[_SIGNATURE:], raw[:_SIGNATURE])
        if hmac.compare_digest(key.signature(ids), raw[:_SIGNATURE]):
            customer_id, message_id, channel = _IDS.unpack(ids)
            return Link(customer_id, message_id, _CHANNELS[channel])
    return None


def url(token: str) -> str:
    """The address that a guest opens."""
    return f"{settings.PUBLIC_URL or settings.LOCAL_URL}/u/{token}"


@lru_cache(maxsize=8)
def _keys(secrets: Sequence[str]) -> tuple[_Key, ...]:
    return tuple(_Key.of(secret) for secret in secrets)
