"""Signatures of outgoing webhooks by the Standard Webhooks specification (standardwebhooks.com).

Its own package would bring another HTTP client along for these few lines.
"""

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"


def new_secret() -> str:
    """A random secret of 24 bytes, in the form that receivers' libraries read."""
    return PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers: an id that repetitions keep, seconds since 1970 of this attempt, the signature.

    Raises:
        ValueError: the secret is not base64 after its prefix.
    """
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
