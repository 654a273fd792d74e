"""Waiting for runs, or watching them, without holding a database connection.

One LISTEN connection per event loop (a server process has one loop) serves all who wait; besides,
each asks once a second, so that a lost notification costs a second and nothing else. A caller that
goes away ends its own wait only: the run is the engine's.
"""

import asyncio
import contextlib
import logging
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from typing import ParamSpec, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections

from regulars.runs import engine
from regulars.runs.models import Run

log = logging.getLogger(__name__)

CHANNEL = "regulars_runs"
MOST_WAITERS = 50
POLL_SECONDS = 1.0
_RECONNECT_SECONDS = 1.0

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


async def in_thread(
    function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Run database work in the request's thread, and give its connection back at once."""

    def work() -> Result:
        try:
            return function(*args, **kwargs)
        finally:
            _release_connections()

    return await sync_to_async(work)()


def _release_connections() -> None:
    for connection in connections.all(initialized_only=True):
        # Inside a transaction somebody else (a test) owns the connection.
        if not connection.in_atomic_block:
            connection.close()


async def until_settled(run_ids: Collection[UUID], seconds: float) -> bool:
    """Wait until waiting for these runs is of no more use (`engine.is_over`), at most `seconds`.

    Returns False without having waited if too many are waiting already.
    """
    if seconds <= 0:
        return True
    seat = _seats.take()
    if seat is None:
        return False
    try:
        await _watch(run_ids, seconds)
    finally:
        seat.leave()
    return True


async def _watch(run_ids: Collection[UUID], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    async with listening(run_ids) as bell:
        # The bell is cleared before the look, so that what happens after the look rings again.
        while not await in_thread(_all_settled, run_ids) and (left := deadline - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), min(POLL_SECONDS, left))
            bell.clear()


def _all_settled(run_ids: Collection[UUID]) -> bool:
    return all(engine.is_over(run) for run in Run.objects.filter(pk__in=run_ids))


class Seats:
    """How many callers of this process wait, or watch, at the moment."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._lock = threading.Lock()

    def take(self) -> "Seat | None":
        """A seat, if one is free."""
        with self._lock:
            if self.taken >= self.most:
                return None
            self.taken += 1
        return Seat(self)

    def give_back(self) -> None:
        with self._lock:
            self.taken -= 1


class Seat:
    """Taken until it is left. One that is dropped unused is left too: its caller may vanish early."""

    def __init__(self, seats: Seats) -> None:
        self._seats: Seats | None = seats

    def leave(self) -> None:
        seats, self._seats = self._seats, None
        if seats is not None:
            seats.give_back()

    def __del__(self) -> None:
        self.leave()


class _Listener:
    """The LISTEN connection of one event loop, open while somebody waits."""

    def __init__(self) -> None:
        self.bells: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.task: asyncio.Task[None] | None = None

    def add(self, names: Collection[str], bell: asyncio.Event) -> None:
        for name in names:
            self.bells[name].add(bell)
        if self.task is None:
            self.task = asyncio.create_task(self._listen())

    async def remove(self, names: Collection[str], bell: asyncio.Event) -> None:
        for name in names:
            self.bells[name].discard(bell)
            if not self.bells[name]:
                del self.bells[name]
        if not self.bells and self.task is not None:
            task, self.task = self.task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except psycopg.Error:
                log.warning("Lost the connection that listens for runs; connecting again")
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _hear(self) -> None:
        parameters = connections[DEFAULT_DB_ALIAS].get_connection_params()
        # Django's own cursor class and adapters are for its synchronous connections.
        for name in ("cursor_factory", "context"):
            parameters.pop(name, None)
        async with await psycopg.AsyncConnection.connect(**parameters, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            async for notice in connection.notifies():
                for bell in self.bells.get(notice.payload, ()):
                    bell.set()


@contextlib.asynccontextmanager
async def listening(run_ids: Collection[UUID]) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever something happened to one of these runs, for the time of the block."""
    listener = _listeners.setdefault(asyncio.get_running_loop(), _Listener())
    names = {str(run_id) for run_id in run_ids}
    bell = asyncio.Event()
    listener.add(names, bell)
    try:
        yield bell
    finally:
        await listener.remove(names, bell)


_seats = Seats(MOST_WAITERS)
_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, _Listener] = WeakKeyDictionary()
