"""The worker process: lanes for urgent and bulk sending, planning and housekeeping side by side.

Each kind of work has its own slots, so that a large planning or a slow bulk run never keeps a
reservation confirmation waiting. SIGTERM: claims stop, calls in flight are recorded, what was
claimed and never left is handed back, and the process ends within ten seconds.

While the database is away the process waits, asks with growing pauses, says so once, and goes on
when it is back. What ends by an error is started again; what hangs, the watchdog replaces.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from procrastinate import App, PsycopgConnector
from procrastinate.contrib.django import app as django_app
from procrastinate.exceptions import ConnectorException
from procrastinate.job_context import JobContext
from procrastinate.worker import Worker
from psycopg_pool import AsyncConnectionPool

from regulars.lib import async_database, clock
from regulars.runs import tasks
from regulars.runs.deferring import BULK, CALLBACKS, HOUSEKEEPING, PLAN, URGENT, WEBHOOKS
from regulars.runs.pulse import Pulse
from regulars.runs.watchdog import Watchdog

# (queues, jobs at once): one lane of bulk sending, so that a kill leaves one window in doubt.
SLOTS = (
    ([URGENT], 1),
    ([BULK], 1),
    ([PLAN], 2),
    ([HOUSEKEEPING], 1),
    ([WEBHOOKS], 1),
    ([CALLBACKS], 1),
)
GRACEFUL_SECONDS = 8.0
HEARTBEAT_SECONDS = 2.0
STALLED_SECONDS = 10.0

# How many looks of the watchdog each may be missed.
_POLL_LOOKS = 30
_HEARTBEAT_LOOKS = 30
_STOP_LOOKS = 8
# A sender hears from the database with each claim and record; a sweep that asks for minutes hangs.
_TASK_LOOKS = {"regulars.send_chunk": 30, "regulars.sweep": 300, "regulars.tick": 300}

_LONGEST_PAUSE = 5.0

log = structlog.get_logger("regulars.worker")


def run() -> None:
    """Work until SIGTERM or SIGINT, however often the database goes away meanwhile."""
    tasks.preload()
    # What is loaded by now stays; the collector need not walk through it in mid-run again and again.
    gc.freeze()
    watchdog = Watchdog()
    watchdog.start()
    try:
        asyncio.run(work(watchdog))
    finally:
        watchdog.end()


async def work(watchdog: Watchdog) -> None:
    """The whole of it, on one event loop."""
    tasks.Draining.requested = False
    _hush()
    watchdog.guard(asyncio.get_running_loop())
    pulse = Pulse(watchdog)
    crew = [Member(queues, slots, watchdog, pulse) for queues, slots in SLOTS]
    stopping = _stop_on_signal(crew, watchdog)
    beating = asyncio.create_task(pulse.beat())
    try:
        await _first(pulse.database_is_there(), stopping.wait())
        await _work(crew, stopping)
    finally:
        beating.cancel()
        await tasks.close()


async def _work(crew: "list[Member]", stopping: asyncio.Event) -> None:
    app: App = django_app.with_connector(PsycopgConnector())
    async with _pool() as pool, app.open_async(pool):
        app.perform_import_paths()  # type: ignore[no-untyped-call]  # the library's
        await asyncio.gather(*(member.work(app, stopping) for member in crew))


class _Connection(async_database.BoundedConnection):
    """The task engine asks small questions; several of its connections may fall silent at once."""

    patience = 8.0


def _pool() -> AsyncConnectionPool[_Connection]:
    """The task engine's connections; the listeners are connections of their own beside it."""
    return AsyncConnectionPool(
        kwargs=async_database.parameters(),
        connection_class=_Connection,
        configure=_commit_each_statement,
        min_size=2,
        max_size=8,
        timeout=10,
        # Short attempts: a database that is back after an hour is used again after seconds.
        reconnect_timeout=5,
        check=AsyncConnectionPool.check_connection,
        open=False,
    )


async def _commit_each_statement(connection: _Connection) -> None:
    """The task engine asks one statement at a time; each is committed by the server as it ends.

    Else a process that is frozen between a statement and its commit (a suspended machine) would keep what
    it locked, and the same question of every other worker would wait for it.
    """
    await connection.set_autocommit(True)


class Member:
    """One of the task engine's workers, started again whenever it ends before it was asked to."""

    def __init__(self, queues: list[str], slots: int, watchdog: Watchdog, pulse: Pulse) -> None:
        self.name = "-".join(queues)
        self._queues = queues
        self._slots = slots
        self._watchdog = watchdog
        self._pulse = pulse
        self._worker: _Worker | None = None

    async def work(self, app: App, stopping: asyncio.Event) -> None:
        """Until `stopping`; waits while the database is away."""
        pause = 0.5
        while not stopping.is_set():
            began = clock.boot_seconds()
            problem = await self._run_once(app)
            if stopping.is_set():
                return
            self._pulse.look_closer()
            pause = 0.5 if clock.boot_seconds() - began > 60 else min(2 * pause, _LONGEST_PAUSE)
            await _first(asyncio.sleep(pause), stopping.wait())
            await _first(self._pulse.database_is_there(), stopping.wait())
            log.info("a part of the worker starts again", queues=self.name, error=str(problem or ""))

    async def _run_once(self, app: App) -> Exception | None:
        worker = self._worker = self._make(app)
        polls = self._watchdog.expect(
            f"polling of {self.name}", _POLL_LOOKS, excused=lambda: self._pulse.away or worker.busy
        )
        heartbeat = self._watchdog.expect(
            f"the heartbeat of {self.name}",
            _HEARTBEAT_LOOKS,
            excused=lambda: self._pulse.away or worker.asked_to_stop,
        )
        worker.polled = polls.show
        self._pulse.listen_for(self.name, lambda: worker.worker_id, heartbeat.show)
        try:
            await worker.run()  # type: ignore[no-untyped-call]  # the library's
        except Exception as problem:  # noqa: BLE001 - whatever it was, work goes on
            return problem
        else:
            return None
        finally:
            self._pulse.forget(self.name)
            self._watchdog.dismiss(polls)
            self._watchdog.dismiss(heartbeat)

    def _make(self, app: App) -> "_Worker":
        return _Worker(
            app,
            queues=self._queues,
            name=self.name,
            concurrency=self._slots,
            fetch_job_polling_interval=1.0,
            # Until SIGTERM a task that still runs when its worker ends may come to its own end.
            shutdown_graceful_timeout=None,
            delete_jobs="successful",
            install_signal_handlers=False,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
            worker_middleware=[self._watched],
        )

    async def _watched(
        self, process: Callable[[], Awaitable[Any]], context: JobContext, worker: Worker
    ) -> Any:
        """Around each task: the sender that hears nothing from the database any more hangs."""
        assert isinstance(worker, _Worker)
        looks = _TASK_LOOKS.get(context.job.task_name)
        sign = looks and self._watchdog.expect(
            f"task {context.job.call_string}", looks, excused=lambda: self._pulse.away
        )
        async_database.on_answer.set(sign.show if sign else None)
        worker.running += 1
        try:
            return await process()
        finally:
            worker.running -= 1
            if sign:
                self._watchdog.dismiss(sign)

    def stop(self) -> None:
        """End soon: tasks get their time, then they are cut."""
        if self._worker is not None:
            self._worker.shutdown_graceful_timeout = GRACEFUL_SECONDS
            self._worker.stop()


class _Worker(Worker):
    """The library's worker, which also says that it polls and how much it has in hand."""

    polled: Callable[[], None] = staticmethod(lambda: None)
    running = 0
    asked_to_stop = False

    @property
    def busy(self) -> bool:
        """Whether it need not poll: all hands are full, or it only waits for its last tasks."""
        return self.running >= self.concurrency or (self.asked_to_stop and self.running > 0)

    def stop(self) -> None:
        self.asked_to_stop = True
        super().stop()  # type: ignore[no-untyped-call]  # the library's

    async def _fetch_and_process_jobs(self) -> None:
        self.polled()
        await super()._fetch_and_process_jobs()  # type: ignore[no-untyped-call]  # the library's
        self.polled()


async def _first(*awaited: Awaitable[Any]) -> None:
    """Wait for whichever comes first and forget the others."""
    waiting = [asyncio.ensure_future(one) for one in awaited]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


def _stop_on_signal(crew: list[Member], watchdog: Watchdog) -> asyncio.Event:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        stopping.set()
        for member in crew:
            member.stop()

    def ask(*_: object) -> None:
        # Not by the loop, which may be what hangs.
        tasks.Draining.requested = True
        watchdog.finish_within(_STOP_LOOKS, _cut)
        # A loop that is closed has come to its end.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        # Refused outside the main thread, where nobody sends signals either.
        with contextlib.suppress(ValueError):
            signal.signal(number, ask)
    return stopping


def _cut(_: str) -> None:
    """A drain that does not come to its end (the database is away, a library hangs): enough.

    The ledger takes it for a kill.
    """
    log.warning("stopped before everything had come to its end")
    os._exit(0)


class _Outage(logging.Filter):
    """Drops what libraries say of a lost database, over and over: the pulse has said it once."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep everything else."""
        problem = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        return not isinstance(problem, ConnectorException)


def _hush() -> None:
    names = ["procrastinate.utils", "procrastinate.worker", "asyncio"]
    names += [f"procrastinate.worker.{'-'.join(queues)}" for queues, _ in SLOTS]
    for name in names:
        logging.getLogger(name).addFilter(_Outage())
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
