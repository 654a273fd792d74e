"""Certificates that check a vendor's signatures: fetched from the vendor's own address, kept for a day."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from regulars.lib import clock
from regulars.lib.http import HttpClient, NoAnswerError, NotWrittenError

KEEP_SECONDS = timedelta(days=1).total_seconds()
MOST_KEPT = 50

Fetch = Callable[[str], Awaitable[bytes]]


class UnreachableError(Exception):
    """The vendor's certificate cannot be had at the moment."""


async def fetch(url: str) -> bytes:
    """The document at `url`, over TLS whose certificate is checked; no redirect is followed.

    Raises:
        UnreachableError: there was no answer, or none that is a document.
    """
    client = HttpClient(concurrency=1)
    try:
        answer = await client.get(url, {})
    except (NotWrittenError, NoAnswerError) as problem:
        raise UnreachableError(str(problem)) from None
    finally:
        await client.close()
    if answer.status != 200:
        raise UnreachableError(f"the answer was {answer.status}")
    return answer.body


class Certificates:
    """Those fetched lately, by address. Addresses are the vendor's own: handlers refuse all others."""

    def __init__(self, fetch: Fetch = fetch) -> None:
        self._fetch = fetch
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._turn = asyncio.Lock()

    async def get(self, url: str) -> bytes:
        """The certificate at `url`; one is fetched at a time.

        Raises:
            UnreachableError: it cannot be had at the moment.
        """
        if not url:
            return b""
        async with self._turn:
            until, found = self._kept.get(url, (0.0, b""))
            if clock.boot_seconds() < until:
                return found
            found = await self._fetch(url)
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[url] = (clock.boot_seconds() + KEEP_SECONDS, found)
            return found
