"""demo, up, web, worker: the processes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError

_port_option = click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=lambda: int(os.environ.get("REGULARS_PORT") or 8000),
    show_default="8000, or $REGULARS_PORT",
    help="Where to serve.",
)
_host_option = click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")


@contextlib.contextmanager
def _ending_well() -> Iterator[None]:
    """SIGTERM at any moment ends this process with 0, as whoever keeps it expects."""
    signal.signal(signal.SIGTERM, _end_now)
    # A process that replaced itself was born with it blocked: what came meanwhile comes now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        # Nothing but the interpreter's own end is left, which would put the rude default back.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_now(*_: object) -> None:
    """Tidy up and end; whoever asks again wants no tidying."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    raise SystemExit(0)


@click.command()
@click.option("--no-serve", is_flag=True, help="End after the run.")
@_port_option
@_ending_well()
def demo(no_serve: bool, port: int) -> None:
    """A demo restaurant: seed it, preview, run once through the sandbox, then serve it.

    Nothing leaves this machine: the sandbox only writes down what would have been sent. Safe to
    repeat: guests who were contacted are not contacted again.
    """
    if not no_serve:
        _check_port("127.0.0.1", port)
    _lead_links_to(port)
    starting.start()
    from regulars.hospitality.demo import seed
    from regulars.lib import clock
    from regulars.runs import engine

    click.echo("Seeding the demo restaurant …", err=True)
    seeded = seed(clock.now())
    automation = _win_back(seeded.organization)
    found = engine.preview(automation, clock.now(), limit=0)
    click.echo(f"Preview of “{automation.name}”: {found.due} due, {found.send} to contact", err=True)
    with worker_running():
        run = engine.start(automation, now=clock.now())
        click.echo(json.dumps(wait_for(run), indent=2, ensure_ascii=False))
        if no_serve:
            return
        click.echo(
            f"\nOpen http://127.0.0.1:{port}/ and sign in as {seeded.email} / {seeded.password}\n"
            "Stop with Ctrl-C.",
            err=True,
        )
        _serve("127.0.0.1", port)


def _lead_links_to(port: int) -> None:
    """Where the links in the sandbox's messages lead, also those that the worker writes."""
    os.environ["REGULARS_PORT"] = str(port)


def _win_back(organization: Any) -> Any:
    from regulars.automations.models import Automation

    return Automation.objects.select_related("organization").get(
        organization=organization, trigger="inactive", enabled=True, deleted_at=None
    )


@click.command()
@_host_option
@_port_option
@_ending_well()
def up(host: str, port: int) -> None:
    """Everything in one process tree: the pages, the API and a worker."""
    _check_port(host, port)
    _lead_links_to(port)
    starting.start()
    with worker_running():
        click.echo(f"Serving http://{host}:{port}/ (stop with Ctrl-C)", err=True)
        _serve(host, port)


@click.command()
@_host_option
@_port_option
@_ending_well()
def web(host: str, port: int) -> None:
    """Only the pages and the API; run `regulars worker` beside it, here or elsewhere."""
    _check_port(host, port)
    starting.start()
    _serve(host, port)


@click.command()
@_ending_well()
def worker() -> None:
    """A worker: plans runs and sends messages. Start as many as you like, on any machine.

    SIGTERM stops it within ten seconds: nothing is lost, and nothing is sent twice, even after
    kill -9.
    """
    _die_with_parent()
    starting.wait_for_database()
    starting.start()
    starting.keep_database()
    from regulars.runs.worker import run

    run()


def _die_with_parent() -> None:
    """A worker that `up` started must not outlive it, even if `up` is killed."""
    parent = os.environ.pop("REGULARS_PARENT", "")
    if not parent or not sys.platform.startswith("linux"):
        return
    import ctypes

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit(0)


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            raise CommandError(
                f"Port {port} on {host} cannot be used ({problem.strerror}): try --port {port + 1}"
            ) from problem


def _serve(host: str, port: int) -> None:
    with starting.loading():
        import uvicorn

        import regulars.asgi  # noqa: F401 - the application below

    starting.keep_database()

    uvicorn.run(
        "regulars.asgi:application",
        host=host,
        port=port,
        log_level="warning",
        limit_concurrency=2_000,
        timeout_graceful_shutdown=3,
        lifespan="off",
    )


@contextlib.contextmanager
def worker_running() -> Iterator[None]:
    """A worker for as long as this lasts: one that lives already, else a child of this process."""
    from regulars.runs import engine

    if engine.worker_alive():
        yield
        return
    keeper = _WorkerKeeper()
    try:
        yield
    finally:
        keeper.stop()


class _WorkerKeeper:
    """Keeps one worker process alive: one that dies is replaced after a second.

    What the dead one had claimed is taken over by the ledger's own rules, not by this class.
    """

    def __init__(self) -> None:
        self._environment = os.environ | {"REGULARS_PARENT": str(os.getpid())}
        self._stopping = threading.Event()
        # The kernel tells a worker of its parent's death by the thread that started it: this one.
        self._thread = threading.Thread(target=self._keep, name="worker keeper")
        self._thread.start()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            child = subprocess.Popen([sys.executable, "-m", "regulars", "worker"], env=self._environment)
            while child.poll() is None and not self._stopping.wait(0.2):
                continue
            _end(child)
            self._stopping.wait(1)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Let it drain; for good after twelve seconds."""
    child.terminate()
    try:
        child.wait(12)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def wait_for(run: Any, *, seconds: float = 300, bar: bool = True) -> dict[str, Any]:
    """Wait until the run is over (or the time is), and return the ordered document's answer."""
    from django.conf import settings

    from regulars.lib import clock
    from regulars.runs import engine

    deadline = time.monotonic() + min(seconds, settings.RUN_WAIT_SECONDS)
    shown = _Bar() if bar and sys.stderr.isatty() else None
    while not engine.is_over(run) and time.monotonic() < deadline:
        time.sleep(0.2)
        run.refresh_from_db()
        if shown:
            shown.show(run)
    if shown:
        shown.show(run)
        shown.end()
    return engine.answer(run, show_addresses=True, now=clock.now())


class _Bar:
    """One line on a terminal: how far a run is, how fast it goes, and how long it will take.

    From sums over the run's chunks: no message is counted for it.
    """

    def __init__(self) -> None:
        from regulars.runs.pace import Pace

        self._pace = Pace()
        self._width = 0

    def show(self, run: Any) -> None:
        from regulars.runs import engine

        number = engine.counts(run)
        done = number.processed - number.held
        self._pace.see(time.monotonic(), done)
        text = bar_line(run.state, done, number.processed, self._pace)
        # Spaces wipe what a longer line left behind.
        click.echo(f"\r{text:<{self._width}}", err=True, nl=False)
        self._width = len(text)

    def end(self) -> None:
        click.echo(err=True)


def bar_line(state: str, done: int, total: int, pace: Any) -> str:
    """`[######----] 600 of 1,000  120/s  0:03 left`."""
    if state == "planning" or not total:
        return f"{state} …"
    parts = [f"[{'#' * (30 * done // total):-<30}] {done:,} of {total:,}"]
    if pace.per_second:
        parts.append(f"{pace.per_second:,.0f}/s")
    if (left := pace.seconds_left(total - done)) is not None:
        parts.append(f"{left // 60}:{left % 60:02} left")
    return "  ".join(parts)
