"""The worker process: lanes for urgent and bulk sending, planning and housekeeping side by side.

Each kind of work has its own slots, so that a large planning or a slow bulk run never keeps a
reservation confirmation waiting. SIGTERM: claims stop, calls in flight are recorded, what was
claimed and never left is handed back, and the process ends within ten seconds.
"""

import asyncio
import contextlib
import signal

from procrastinate import App
from procrastinate.contrib.django import app as django_app
from procrastinate.worker import Worker

from regulars.runs import tasks
from regulars.runs.deferring import BULK, HOUSEKEEPING, PLAN, URGENT

# (queues, jobs at once): one lane of bulk sending, so that a kill leaves one window in doubt.
SLOTS = (([URGENT], 1), ([BULK], 1), ([PLAN], 2), ([HOUSEKEEPING], 1))
GRACEFUL_SECONDS = 8.0
HEARTBEAT_SECONDS = 2.0
STALLED_SECONDS = 10.0


async def work() -> None:
    """Work until SIGTERM or SIGINT."""
    tasks.Draining.requested = False
    app: App = django_app.with_connector(django_app.connector.get_worker_connector())  # type: ignore[attr-defined]
    async with app.open_async():
        app.perform_import_paths()  # type: ignore[no-untyped-call]  # the library's
        workers = [_worker(app, queues, slots) for queues, slots in SLOTS]
        _stop_on_signal(workers)
        await asyncio.gather(*(_run(worker) for worker in workers))
    await tasks.close()


async def _run(worker: Worker) -> None:
    await worker.run()  # type: ignore[no-untyped-call]  # the library's


def _worker(app: App, queues: list[str], slots: int) -> Worker:
    return Worker(
        app,
        queues=queues,
        name="-".join(queues),
        concurrency=slots,
        fetch_job_polling_interval=1.0,
        shutdown_graceful_timeout=GRACEFUL_SECONDS,
        delete_jobs="successful",
        install_signal_handlers=False,
        update_heartbeat_interval=HEARTBEAT_SECONDS,
        stalled_worker_timeout=STALLED_SECONDS,
    )


def _stop_on_signal(workers: list[Worker]) -> None:
    def stop() -> None:
        tasks.Draining.requested = True
        for worker in workers:
            worker.stop()  # type: ignore[no-untyped-call]  # the library's

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop)
