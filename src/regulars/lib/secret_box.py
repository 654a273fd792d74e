"""Secrets at rest: provider credentials are stored encrypted, the key lives outside the database.

The key is `$SECRET_KEY`'s neighbour: derived from it, so that one secret is to be kept and backed up.
"""

import base64
import hashlib
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken


class SecretUnreadableError(Exception):
    """The stored secret cannot be read with this SECRET_KEY: restore the key, or enter the secret again."""


def seal(values: dict[str, Any], key: str) -> str:
    """Encrypt `values` (JSON) with a key derived from `key`."""
    return _box(key).encrypt(json.dumps(values).encode()).decode()


def unseal(sealed: str, key: str) -> dict[str, Any]:
    """Decrypt what `seal` made.

    Raises:
        SecretUnreadableError: the key is another one, or the text was damaged.
    """
    if not sealed:
        return {}
    try:
        values: dict[str, Any] = json.loads(_box(key).decrypt(sealed.encode()))
    except InvalidToken as error:
        raise SecretUnreadableError(SecretUnreadableError.__doc__) from error
    return values


def _box(key: str) -> Fernet:
    digest = hashlib.sha256(b"regulars secret box\0" + key.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
