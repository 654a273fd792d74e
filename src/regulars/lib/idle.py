"""Things that are costly to open, kept for a moment in case somebody needs the same again."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    thing: Any
    close: Callable[[], Awaitable[None]]
    alarm: asyncio.TimerHandle


class IdleShelf:
    """Holds what nobody uses, each for `seconds`, then closes it. Every event loop has its own."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loops: WeakKeyDictionary[Any, dict[Hashable, list[_Kept]]] = WeakKeyDictionary()
        self._closing: set[asyncio.Future[None]] = set()

    def take(self, key: Hashable) -> Any | None:
        """Something that was put here under this key, or None."""
        kept = self._mine().get(key)
        if not kept:
            return None
        one = kept.pop()
        one.alarm.cancel()
        return one.thing

    def put(self, key: Hashable, thing: Any, close: Callable[[], Awaitable[None]]) -> None:
        """Keep `thing` for the next one; `close` is called when nobody came."""
        kept = self._mine().setdefault(key, [])
        alarm = asyncio.get_running_loop().call_later(self._seconds, self._expire, kept, thing)
        kept.append(_Kept(thing, close, alarm))

    async def clear(self) -> None:
        """Close all that was put here on this loop."""
        everything = [one for kept in self._mine().values() for one in kept]
        self._mine().clear()
        for one in everything:
            one.alarm.cancel()
            with suppress(Exception):
                await one.close()

    def _mine(self) -> dict[Hashable, list[_Kept]]:
        return self._loops.setdefault(asyncio.get_running_loop(), {})

    def _expire(self, kept: list[_Kept], thing: Any) -> None:
        for one in [one for one in kept if one.thing is thing]:
            kept.remove(one)
            closing = asyncio.ensure_future(one.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
