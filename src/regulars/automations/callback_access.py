"""How a provider reaches us about one account: its secret address, the password, and what checks it.

Address and password are made from the installation's SECRET_KEY and the account, so that neither is
stored, both can be shown again to whoever may see them, and a wrong address is refused without a look
into the database. `renew` makes other ones.
"""

import base64
import hashlib
import hmac
import re
import secrets as random
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from regulars.automations.models import CallbackAccess, ProviderAccount
from regulars.lib import secret_box
from regulars.providers import callbacks

PATH = "/api/callbacks/"
# Enough that nobody guesses it; letters that survive every form field.
TOKEN_LENGTH = 32
MOST_SECRET = 500
MOST_WORDS = 50


class CallbackSettingError(ValueError):
    """What was given cannot be kept; the text says why."""


def access_of(account: ProviderAccount) -> CallbackAccess:
    """What is set, or the defaults."""
    try:
        return account.callback_access
    except CallbackAccess.DoesNotExist:
        return CallbackAccess(account=account)


def token_of(account: ProviderAccount) -> str:
    """The secret part of the account's address."""
    return _made("address", account)


def password_of(account: ProviderAccount) -> str:
    """What vendors that sign nothing send in a header, and Meta in its handshake."""
    return _made("password", account)


def _made(label: str, account: ProviderAccount) -> str:
    named = f"callback {label} {account.kind} {account.pk} {access_of(account).salt}"
    digest = hmac.digest(settings.SECRET_KEY.encode(), named.encode(), hashlib.sha256)
    return base64.b32encode(digest).decode().lower()[:TOKEN_LENGTH]


def address_of(account: ProviderAccount) -> str:
    """The whole address for the vendor; empty for kinds that never call, and where nobody can reach us."""
    if not settings.PUBLIC_URL or callbacks.handler(account.kind) is None:
        return ""
    return settings.PUBLIC_URL.rstrip("/") + path_of(account)


def path_of(account: ProviderAccount) -> str:
    """The address without the host."""
    return f"{PATH}{account.kind}/{account.pk}-{token_of(account)}"


def secrets_of(account: ProviderAccount) -> dict[str, str]:
    """What a handler may need: the options and secrets of sending, those of callbacks, our password.

    Raises:
        SecretUnreadableError: they were sealed with another SECRET_KEY.
    """
    sealed = (account.sealed_secrets, access_of(account).sealed_secrets)
    opened = [secret_box.unseal(one, settings.SECRET_KEY) for one in sealed]
    known: dict[str, Any] = account.options | opened[0] | opened[1]
    texts = {name: value for name, value in known.items() if isinstance(value, str)}
    return texts | {callbacks.PASSWORD: password_of(account)}


def missing(account: ProviderAccount) -> dict[str, str]:
    """Secrets without which no callback can be checked, with where the owner finds each."""
    handler = callbacks.handler(account.kind)
    known = secrets_of(account)
    return (
        {}
        if handler is None
        else {name: where for name, where in handler.needs.items() if not known.get(name)}
    )


def configure(
    account: ProviderAccount,
    *,
    secrets: Mapping[str, str] | None = None,
    tracking: bool | None = None,
    confirms: bool | None = None,
    stop_words: Sequence[str] | None = None,
) -> CallbackAccess:
    """Change what is given; a secret that is left out stays, an empty one is taken away.

    Raises:
        CallbackSettingError: a secret that this kind does not use, or a word that is none.
        SecretUnreadableError: the secrets that are to stay were sealed with another SECRET_KEY.
    """
    access = access_of(account)
    if secrets is not None:
        known = secret_box.unseal(access.sealed_secrets, settings.SECRET_KEY) | _checked(account, secrets)
        kept = {name: value for name, value in known.items() if value}
        access.sealed_secrets = secret_box.seal(kept, settings.SECRET_KEY) if kept else ""
    if stop_words is not None:
        access.stop_words = _checked_words(stop_words)
    access.tracking = access.tracking if tracking is None else tracking
    access.confirms = access.confirms if confirms is None else confirms
    access.save()
    account.callback_access = access
    return access


def renew(account: ProviderAccount) -> CallbackAccess:
    """Another address and password: the old ones are refused within seconds."""
    access = access_of(account)
    access.salt = random.token_hex(8)
    access.save()
    account.callback_access = access
    return access


# What may be set although callbacks can be checked without it.
_OPTIONAL = {"ses": ("topic_arn",), "meta": ("verify_token",), "twilio": ("shared_key",)}


def secret_names(kind: str) -> list[str]:
    """The secrets that may be set for callbacks of this kind."""
    handler = callbacks.handler(kind)
    return [] if handler is None else [*handler.needs, *_OPTIONAL.get(kind, ())]


def _checked(account: ProviderAccount, secrets: Mapping[str, str]) -> dict[str, str]:
    names = secret_names(account.kind)
    for name, value in secrets.items():
        if name not in names:
            listed = f"It uses: {', '.join(names)}." if names else "It uses none."
            raise CallbackSettingError(f"Callbacks of {account.kind} use no “{name}”. {listed}")
        if len(value) > MOST_SECRET or not value.isprintable():
            raise CallbackSettingError(f"“{name}” must be one line of at most {MOST_SECRET} characters.")
    return dict(secrets)


def _checked_words(words: Sequence[str]) -> list[str]:
    found = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    if len(found) > MOST_WORDS or any(len(word) > 64 or not re.search(r"\w", word) for word in found):
        raise CallbackSettingError(f"Give at most {MOST_WORDS} words of up to 64 characters.")
    return found
