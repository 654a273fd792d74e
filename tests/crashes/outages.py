"""What can happen to the database of workers that send: stopped, killed, cut off, silent, full.

Each scenario is a function of a world of its own and returns what it saw; see `test_database.py`.
"""

import contextlib
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.rows import dict_row
from tests import live
from tests.crashes import battle, servers

from regulars import embedded

PROGRESS_SECONDS = 150
OVER_SECONDS = 120


@dataclass
class Seen:
    """What a scenario saw, besides the ledger and the sink."""

    verdict: battle.Verdict | None = None
    violations: dict[str, int] = field(default_factory=dict)
    guests: int = 0
    # What the processes logged.
    log: str = ""
    facts: dict = field(default_factory=dict)


class World(battle.World):
    """A world whose database goes away: questions about it wait until it is back."""

    def __init__(self, server, folder, sizes, *, url=None, **options):
        super().__init__(url or server.url, folder, sizes, **options)
        self.server, self.guests = server, sum(sizes)

    def ask(self, query, **values):
        deadline = time.monotonic() + PROGRESS_SECONDS
        while True:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(
                        self.server.url, autocommit=True, row_factory=dict_row, connect_timeout=3
                    )
                return self._connection.execute(query, values).fetchall()
            except psycopg.Error:
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def until_arrived(self, share):
        """Until this share of all guests of the started runs has been written to."""
        wanted = int(share * self.guests)
        live.wait_until(
            self.arrived_at_least(wanted), seconds=PROGRESS_SECONDS, every=0.05, what=f"{wanted} messages"
        )

    def seen(self, **facts):
        """Let the runs come to their end and look."""
        self.wait_until_over(OVER_SECONDS)
        facts["doubts"] = self.ask(
            "SELECT reason, error, count(*)::int AS number FROM messages WHERE state = 'unknown' GROUP BY 1, 2"
        )
        return Seen(self.verdict(), self.do("violations"), self.guests, self.nursery.log(), facts)

    def close(self):
        for child in self.children:
            with contextlib.suppress(Exception):
                child.kill()
        super().close()


@contextlib.contextmanager
def world(made, name, sizes, *, room=0, cable=0, **options):
    """A world and its server; `room` megabytes of disk, the network on cable number `cable`."""
    with contextlib.ExitStack() as stack:
        folder = made.folder / name
        folder.mkdir()
        disk = stack.enter_context(contextlib.closing(servers.Room(folder / "room", room))) if room else None
        line = stack.enter_context(contextlib.closing(servers.Cable(cable))) if cable else None
        server = made.server((disk.folder if disk else folder) / "server", cable=line)
        stack.callback(server.end)
        server.start()
        options["url"] = server.network_url if line else server.url
        there = stack.enter_context(contextlib.closing(World(server, folder / "world", sizes, **options)))
        there.disk, there.cable = disk, line
        yield there.prepare()


def stopped_and_killed(made):
    """An immediate stop, then kill -9 of the postmaster, with two workers in mid-run."""
    with world(made, "stopped", [1_500]) as there:
        workers = [there.worker(), there.worker()]
        there.wait_until_at_work()
        there.start_runs()
        there.until_arrived(0.2)
        there.server.stop_at_once()
        servers.pause(2)
        there.server.start()
        there.until_arrived(0.5)
        there.server.kill()
        there.server.start()
        return there.seen(living=[worker.alive for worker in workers])


def stopped_for_good(made):
    """The server stops and stays away; the worker is asked to end."""
    with world(made, "for-good", [1]) as there:
        worker = there.worker()
        there.wait_until_at_work()
        there.server.stop_at_once()
        live.wait_until(
            lambda: "the database does not answer" in there.nursery.log(), seconds=30, what="the notice"
        )
        worker.signal(signal.SIGTERM)
        return worker.wait(15)


def connections_cut(made):
    """Everybody's connections, again and again."""
    with world(made, "cut", [1_200]) as there:
        workers = [there.worker(), there.worker()]
        there.start_runs()
        there.until_arrived(0.1)
        cuts = 0
        while not there.over() and cuts < 5:
            with psycopg.connect(there.server.url, autocommit=True) as connection:
                connection.execute(
                    """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""
                )
            cuts += 1
            servers.pause(1.5)
        return there.seen(living=[worker.alive for worker in workers], cuts=cuts)


def stopped_while_planning(made):
    """The server stops between two slices; the verdicts, which a crash empties, are found anew."""
    with world(made, "planning", [600], slice_size=150) as there:
        worker = there.worker(crash="planning.committed:2:hang4")
        there.start_runs()
        live.wait_until(there.strikes, seconds=60, every=0.02, what="the second slice")
        written = there.number("SELECT count(*)::int FROM messages")
        there.server.stop_at_once()
        there.server.start()
        verdicts = there.number("SELECT count(*)::int FROM run_verdicts")
        return there.seen(living=[worker.alive], written=written, verdicts=verdicts)


def silent_network(made):
    """Packets vanish in mid-run; the worker must notice, and go on once they pass again."""
    with world(made, "silent", [800], cable=1) as there:
        worker = there.worker()
        there.start_runs()
        there.until_arrived(0.2)
        there.cable.cut()
        began = time.monotonic()
        live.wait_until(
            lambda: "the database does not answer" in there.nursery.log(), seconds=60, what="the notice"
        )
        noticed = time.monotonic() - began
        # By now the server's side has noticed too, and let go of what was locked.
        live.wait_until(
            lambda: not servers.backends(there.server.url, "client_addr IS NOT NULL"),
            seconds=60,
            what="the end of the server's side",
        )
        let_go = time.monotonic() - began
        there.cable.mend()
        return there.seen(living=[worker.alive], noticed=noticed, let_go=let_go)


def silent_backends(made):
    """The server keeps its connections and answers none of them: its processes are stopped.

    Only those that hold no lock, as a proxy would leave them that lost its other side.
    """
    with world(made, "backends", [1_000]) as there:
        worker = there.worker()
        there.wait_until_at_work()
        # Our own is none of the worker's.
        there._connection.close()
        there._connection = None
        stopped = _stop_idle_backends(there.server.url)
        try:
            there.start_runs()
            return there.seen(living=[worker.alive], stopped=len(stopped))
        finally:
            servers.signal_all(stopped, signal.SIGCONT)


IDLE = "state = 'idle' AND backend_xid IS NULL AND wait_event = 'ClientRead'"


def _stop_idle_backends(url):
    """Stop the server's processes that wait for their clients' next word; their pids.

    One that was given something to do between the look and the signal may have stopped with a lock
    in its hands, and the whole server would wait for it: then all go on, and we try again.
    """
    for _ in range(50):
        stopped = servers.backends(url, IDLE)
        servers.signal_all(stopped, signal.SIGSTOP)
        if stopped and _nobody_waits_for(url, stopped):
            return stopped
        servers.signal_all(stopped, signal.SIGCONT)
        servers.pause(0.2)
    raise AssertionError("no moment at which the idle ones could be stopped")


def _nobody_waits_for(url, stopped):
    """Whether they are all idle still, and the server commits what others ask for."""

    def look():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_logical_emit_message(TRUE, 'test', 'written')")
        return set(stopped) <= set(servers.backends(url, IDLE))

    asking = ThreadPoolExecutor(1)
    try:
        return asking.submit(look).result(10)
    except TookTooLong:
        return False
    finally:
        # A look that waits gets its answer as soon as they go on.
        asking.shutdown(wait=False)


def full_disk(made):
    """No byte left on the server's volume in mid-run, and room again later."""
    with world(made, "full", [1_500], room=110) as there:
        there.server.keep()
        workers = [there.worker(), there.worker()]
        there.start_runs()
        there.until_arrived(0.2)
        there.disk.fill()
        # The log's next segment is a new file. Until the server says so, and a while of trying in vain.
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(there.server.url, autocommit=True) as connection,
        ):
            connection.execute("SELECT pg_switch_wal()")
        live.wait_until(
            lambda: "No space left on device" in there.server.log, seconds=60, what="the full disk"
        )
        servers.pause(6)
        arrived = sum(map(len, there.arrivals().values()))
        over = there.server.answers() and there.over()
        there.disk.free()
        return there.seen(living=[worker.alive for worker in workers], arrived=arrived, over=over)


def hanging_loop(made):
    """Something blocks the event loop for good, in the middle of calls: the worker is replaced."""
    with world(made, "hanging", [400]) as there:
        worker = there.worker(crash="call.before:100:hang3600")
        there.start_runs()
        live.wait_until(there.strikes, seconds=60, what="the hang")
        command = Path(f"/proc/{worker.pid}/cmdline").read_text().split("\0")
        seen = there.seen(before=command)
        seen.facts["living"] = [worker.alive]
        seen.facts["after"] = Path(f"/proc/{worker.pid}/cmdline").read_text().split("\0")
        return seen


@dataclass
class _Embedded:
    """What comes along with a home, in the place of a server of our own."""

    url: str


@contextlib.contextmanager
def _everything_up(made, name, sizes, room=0):
    """`regulars up` on a home of its own, with the database that comes along."""
    with contextlib.ExitStack() as stack:
        folder = made.folder / name
        folder.mkdir()
        disk = stack.enter_context(contextlib.closing(servers.Room(folder / "room", room))) if room else None
        place = disk.folder if disk else folder
        home = place / "home"
        stack.callback(embedded.stop, home)
        url = embedded.ensure(home, announce=lambda _: None)
        there = stack.enter_context(contextlib.closing(World(_Embedded(url), place, sizes)))
        there.disk, there.home = disk, home
        known = there.environment | {"DATABASE_URL": ""}
        log = stack.enter_context((folder / "up.log").open("ab"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        up = live.start(known, "up", "--port", port, stdout=log, stderr=log)
        stack.callback(live.stop, up)
        live.wait_until(
            lambda: there.number("SELECT count(*)::int FROM procrastinate_workers") > 0, seconds=90, what="up"
        )
        yield there.prepare(), up


def embedded_killed(made):
    """The server that comes along is killed in mid-run, then together with its supervisor."""
    with _everything_up(made, "embedded", [1_000]) as (there, up):
        there.start_runs()
        there.until_arrived(0.2)
        before = embedded.status(there.home)
        os.kill(before.server, signal.SIGKILL)
        there.until_arrived(0.5)
        found = embedded.status(there.home)
        for pid in (found.supervisor, found.server):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return there.seen(living=[up.poll() is None], servers={before.server, found.server})


def embedded_full(made):
    """The volume of the database that comes along is full in mid-run, and has room again later."""
    with _everything_up(made, "embedded-full", [1_000], room=400) as (there, up):
        there.start_runs()
        there.until_arrived(0.2)
        there.disk.fill()
        # More than a segment of the log holds: the server ends itself, also when it is started again.
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(there.server.url, autocommit=True) as connection,
        ):
            connection.execute("SELECT pg_logical_emit_message(FALSE, 'test', repeat('x', 20000000))")
        live.wait_until(lambda: not embedded.status(there.home).running, seconds=60, what="the full disk")
        servers.pause(10)
        over = embedded.status(there.home).running and there.over()
        there.disk.free()
        began = time.monotonic()
        live.wait_until(lambda: embedded.status(there.home).running, seconds=60, what="its return")
        return there.seen(living=[up.poll() is None], over=over, returned=time.monotonic() - began)


EVERYWHERE = (
    hanging_loop,
    silent_backends,
    stopped_and_killed,
    stopped_for_good,
    connections_cut,
    stopped_while_planning,
    embedded_killed,
)
AS_ROOT = (silent_network, full_disk, embedded_full)
