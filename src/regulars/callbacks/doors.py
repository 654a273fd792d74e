"""Which accounts may be called at, and by what proof: looked up once in a while, not for each request."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.db import connection

from regulars.automations import callback_access
from regulars.automations.models import ProviderAccount
from regulars.lib import clock
from regulars.providers import callbacks
from regulars.providers.callbacks import Callbacks

# So long a changed secret or address may still be the old one.
KEEP_SECONDS = 10.0
# Addresses are tried by strangers, too: this many answers are remembered.
MOST_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Door:
    """An account that may be called at: its handler, the secret of its address, and what proves the rest."""

    account_id: int
    handler: Callbacks
    token: str
    secrets: Mapping[str, str]


def load(kind: str, account_id: int) -> Door | None:
    """The door of this account; None where there is none.

    Raises:
        SecretUnreadableError: its secrets were sealed with another SECRET_KEY.
        OperationalError: the database is away.
    """
    handler = callbacks.handler(kind)
    if handler is None:
        return None
    try:
        rows = ProviderAccount.objects.select_related("callback_access", "organization")
        account = rows.filter(pk=account_id, kind=kind, organization__is_demo=False).first()
        if account is None:
            return None
        token, secrets = callback_access.token_of(account), callback_access.secrets_of(account)
        return Door(account.pk, handler, token, secrets)
    finally:
        # Inside a transaction somebody else (a test) owns the connection.
        if not connection.in_atomic_block:
            connection.close()


class Doors:
    """Doors by kind and account, each for a few seconds; one look at a time for each."""

    def __init__(self, look: Callable[[str, int], Door | None] = load) -> None:
        self._look = sync_to_async(look, thread_sensitive=False)
        self._kept: dict[tuple[str, int], tuple[float, asyncio.Task[Door | None]]] = {}

    async def find(self, kind: str, account_id: int) -> Door | None:
        """As `load`; everybody who asks meanwhile gets the same answer."""
        key, now = (kind, account_id), clock.boot_seconds()
        until, looking = self._kept.get(key, (0.0, None))
        if looking is None or now >= until:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            looking = asyncio.create_task(self._look(kind, account_id))
            self._kept[key] = (now + KEEP_SECONDS, looking)
        try:
            return await asyncio.shield(looking)
        except Exception:
            # What failed is asked again at once, not after ten seconds.
            self._kept.pop(key, None)
            raise
