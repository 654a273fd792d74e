"""Whether the database answers, asked once a second over a connection of its own.

Also sees there whether the heartbeats of this process's workers arrive, and whether the server works
on what it was asked by planning and housekeeping. Says once that the database
is away, and once that it is back; asks with growing pauses meanwhile, for ever.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import psycopg
import structlog

from regulars.lib import async_database, clock, durability, watched_database
from regulars.runs.watchdog import Watchdog

# Shorter than the patience of the work: who is asked for nothing answers at once.
_PATIENCE_SECONDS = 5.0
_LONGEST_PAUSE = 5.0
# Connecting and asking may each take their time; the sign is missed only if the pulse itself hangs.
_LOOKS = 60

_FRESH = """
SELECT id FROM procrastinate_workers
 WHERE id = ANY (%(workers)s) AND last_heartbeat > now() - interval '10 seconds'
"""

log = structlog.get_logger("regulars.worker")


class Pulse:
    """The database's state, as one process sees it."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._there = asyncio.Event()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._told: float | None = None
        self._closer = asyncio.Event()
        self._known_durable = False
        self._listened: dict[str, tuple[Callable[[], int | None], Callable[[], None]]] = {}
        self._sign = watchdog.expect("the look at the database", _LOOKS)

    @property
    def away(self) -> bool:
        """Whether the last look got no answer."""
        return not self._there.is_set()

    async def database_is_there(self) -> None:
        """Wait until it answers."""
        await self._there.wait()

    def look_closer(self) -> None:
        """Something failed that should not: do not believe the last look any longer."""
        self._there.clear()
        self._closer.set()

    def listen_for(self, name: str, worker_id: Callable[[], int | None], show: Callable[[], None]) -> None:
        """Call `show` whenever this worker's heartbeat has arrived lately."""
        self._listened[name] = (worker_id, show)

    def forget(self, name: str) -> None:
        """It works no more."""
        self._listened.pop(name, None)

    async def beat(self) -> None:
        """Look once a second, for ever."""
        pause = 0.5
        try:
            while True:
                problem = await self._look()
                self._sign.show()
                self._tell(problem)
                pause = 1.0 if problem is None else min(2 * pause, _LONGEST_PAUSE)
                await self._rest(pause)
        finally:
            await self._hang_up()

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closer.wait(), seconds)
        self._closer.clear()

    async def _look(self) -> Exception | None:
        try:
            if self._connection is None:
                self._connection = await async_database.connect(_PATIENCE_SECONDS)
                await self._see_durability(self._connection)
            await self._see_heartbeats(self._connection)
            await self._see_waits(self._connection)
        except (psycopg.Error, OSError) as problem:
            await self._hang_up()
            return problem
        return None

    async def _see_durability(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Once: a server that forgets in a crash what it has promised is worth a word."""
        if self._known_durable:
            return
        self._known_durable = True
        off = [row["name"] for row in await (await connection.execute(durability.QUERY)).fetchall()]
        if off:
            log.warning("the database is not set to survive a crash", problem=durability.in_words(off))

    async def _see_heartbeats(self, connection: psycopg.AsyncConnection[Any]) -> None:
        ids = {worker_id(): show for worker_id, show in self._listened.values()}
        wanted = [number for number in ids if number is not None]
        for row in await (await connection.execute(_FRESH, {"workers": wanted})).fetchall():
            ids[row["id"]]()

    async def _see_waits(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """End what waits (planning, the sweep) for an answer that the server does not work on."""
        asked = watched_database.waited_for()
        if not asked:
            return
        rows = await (await connection.execute(watched_database.ACTIVE, {"pids": asked})).fetchall()
        for pid in watched_database.looked(asked, [row["pid"] for row in rows]):
            log.warning("the database does not work on what it was asked; asking anew", backend=pid)

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()

    def _tell(self, problem: Exception | None) -> None:
        if problem is None:
            self._there.set()
            if self._told is not None:
                log.warning("the database answers again", after=round(clock.boot_seconds() - self._told))
            self._told = None
        else:
            self._there.clear()
            if self._told is None:
                self._told = clock.boot_seconds()
                log.warning("the database does not answer; waiting for it", error=str(problem).strip())
