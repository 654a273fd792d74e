"""Whether a message really comes from Amazon's SNS. Pure: the certificate is given.

Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from regulars.providers.callbacks import RefusedError

# Nobody but Amazon can serve from here, over https; everything else is somebody's invention.
HOST = re.compile(r"sns\.[a-z0-9-]{1,40}\.amazonaws\.com(\.cn)?")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_HASHES = {"1": SHA1, "2": SHA256}


def is_amazons(url: str) -> bool:
    """Whether only Amazon's SNS can serve this address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain_host = parts.netloc == parts.hostname
    return parts.scheme == "https" and port is None and plain_host and bool(HOST.fullmatch(parts.netloc))


def check(told: Mapping[str, Any], certificate: bytes, now: datetime) -> None:
    """The RSA signature over the named fields, under a certificate that is valid now.

    Raises:
        RefusedError: there is none (401), or it does not fit (403).
    """
    if str(told.get("Type")) not in _SIGNED or not told.get("Signature"):
        raise RefusedError("This is no signed message of SNS.", 401)
    try:
        algorithm = _HASHES[str(told.get("SignatureVersion"))]()
        signature = base64.b64decode(told["Signature"], validate=True)
        _key(certificate, now).verify(signature, signed_text(told).encode(), PKCS1v15(), algorithm)
    except (InvalidSignature, KeyError, TypeError, ValueError, binascii.Error):
        raise RefusedError("The signature does not fit.") from None


def signed_text(told: Mapping[str, Any]) -> str:
    """What SNS signs: names and values of some fields, each on a line, in the order of the names."""
    fields = _SIGNED[str(told["Type"])]
    return "".join(f"{name}\n{told[name]}\n" for name in fields if told.get(name) is not None)


def _key(certificate: bytes, now: datetime) -> RSAPublicKey:
    found = x509.load_pem_x509_certificate(certificate)
    key = found.public_key()
    if (
        not isinstance(key, RSAPublicKey)
        or not found.not_valid_before_utc <= now <= found.not_valid_after_utc
    ):
        raise ValueError("The certificate is not valid.")
    return key
