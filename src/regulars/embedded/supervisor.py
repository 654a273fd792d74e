"""The one process that looks after one data folder.

`python -m regulars.embedded.supervisor HOME PIPE` detaches itself and then:

1. Is elected by an exclusive lock, or leaves at once. Only the elected one
   touches the data folder.
2. Prepares what is missing (account, folders, data, upgrade), starts the
   server and reports through the pipe, then through the notice in the home.
3. Starts the server again when it dies; stops it, and itself, about ten
   seconds after the last command has gone.

What kills leave behind: kill -9 of the server, and step 3 starts it again;
kill -9 of this process, and the kernel drops the lock and tells the server to
stop, so that the next command elects a new supervisor; of both, or of the
machine, the same, after the server's own crash recovery. Committed rows
survive each of these. Imports nothing beyond the standard library and stays
single-threaded, because it forks.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import sys
import time
from pathlib import Path

from regulars.embedded import cluster, place, programs
from regulars.embedded.errors import CouldNotStartError, EmbeddedError, NewerDataError, from_os
from regulars.embedded.home import Home, Notice, lock_within, open_lock, try_lock, unlock
from regulars.embedded.server import Server, settle_survivors
from regulars.embedded.upgrade import Upgrade, finish_swap

ELECTION = 0.5  # Longer than any command's probe of the lock.
LINGER = 10.0
LINGER_OF_THROWAWAY = 2.0
SURVIVOR_PATIENCE = 5.0  # A server that was told to stop has usually gone in one second.
_POLL = 0.25
_RESTARTS = 5
_STEADY = 30.0  # Seconds of service after which earlier deaths are forgiven.
_LOG_LIMIT = 5 * 1024 * 1024


class Reports:
    """The pipe to the command that started us; it may be gone at any time."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def say(self, kind: str, text: str = "", name: str = "") -> None:
        line = json.dumps({"kind": kind, "text": text, "name": name}) + "\n"
        with contextlib.suppress(OSError):
            os.write(self.descriptor, line.encode())

    def announce(self, text: str) -> None:
        self.say("announcement", text)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class Supervisor:
    """Looks after the server of one home until nobody needs it."""

    def __init__(self, home: Home, reports: Reports) -> None:
        self.home = home
        self.reports = reports
        self.users = open_lock(home.users)
        self.asked_to_stop = False
        self.server: Server

    def prepare(self) -> None:
        """Bring the home to the point where its server serves."""
        self.home.notice.unlink(missing_ok=True)
        # Also finds out whether the home can be written to at all.
        self.home.write_notice(Notice(os.getpid()))
        self.account, root = place.settle(self.home, self.reports.announce)
        found = programs.find()
        sockets = place.socket_folder(self.home, self.account)
        self.server = Server(found, self.account, root / "data", sockets, self.home)
        settle_survivors(self.server, SURVIVOR_PATIENCE)
        if not self.server.pid:
            self._bring_programs_and_data(self.server, root)
            self._configure_and_start()
        self.server.query(cluster.ROLE_AND_DATABASE)
        self._tell_ready()

    def _bring_programs_and_data(self, server: Server, root: Path) -> None:
        """Make sure that the programs are kept, and that `data` is there and of their version."""
        finish_swap(root)
        server.programs = programs.keep(server.programs, root / "programs")
        major, wanted = cluster.major_of(server.data), server.programs.major
        if major is None:
            self._create(server, root)
        elif major > wanted:
            raise _newer(server.data, major, server.programs.version)
        elif major < wanted:
            Upgrade(root, server).run(major, self.reports.announce)

    def _create(self, server: Server, root: Path) -> None:
        if server.data.exists() and any(server.data.iterdir()):
            raise CouldNotStartError(
                f"{server.data} holds files, but no PostgreSQL database (PG_VERSION is missing). "
                "Put the database back from a backup, or move the folder away to begin anew."
            )
        self.reports.announce(f"Making a new database in {root}")
        fresh = cluster.create(server.programs, self.account, root)
        with contextlib.suppress(FileNotFoundError):
            server.data.rmdir()
        fresh.rename(server.data)

    def _configure_and_start(self) -> None:
        caller = pwd.getpwuid(os.geteuid()).pw_name
        cluster.configure(self.server.data, self.account, {caller})
        self.server.start(self.reports.announce)

    def _tell_ready(self) -> None:
        self.home.write_notice(
            Notice(
                supervisor=os.getpid(),
                ready=True,
                data=str(self.server.data),
                sockets=str(self.server.sockets),
                programs=str(self.server.programs.folder),
                version=self.server.programs.version,
            )
        )
        self.reports.say("ready")
        self.reports.close()

    def watch(self) -> None:
        """Look after the server until nobody needs it or someone says stop."""
        linger = LINGER_OF_THROWAWAY if cluster.throwaway() else LINGER
        needed = steady_since = time.monotonic()
        deaths = 0
        while not self.asked_to_stop:
            now = time.monotonic()
            if self.server.ended():
                deaths = 1 if now - steady_since > _STEADY else deaths + 1
                self._restart(deaths)
                steady_since = time.monotonic()
            self._bound_log()
            # Locked, the users' file lets no new command in; it is given back at
            # once, except at the very end: a command that comes then waits until
            # we are gone and starts the next supervisor.
            if not try_lock(self.users, exclusive=True):
                needed = now
            elif now - needed >= linger:
                return
            else:
                unlock(self.users)
            time.sleep(_POLL)

    def _restart(self, deaths: int) -> None:
        if deaths > _RESTARTS:
            raise CouldNotStartError("The server died again and again; see server.log.")
        log(f"the server has died; starting it again ({deaths})")
        time.sleep(0.1 * 2 ** (deaths - 1))
        settle_survivors(self.server, SURVIVOR_PATIENCE)
        if not self.server.pid:
            self._configure_and_start()

    def _bound_log(self) -> None:
        """Keep the log and one predecessor, each of bounded size.

        The server keeps writing to the same open file, so it is copied and
        emptied; a line written in between is lost, which a log may.
        """
        path = self.home.server_log
        with contextlib.suppress(OSError):
            if path.stat().st_size > _LOG_LIMIT:
                shutil.copyfile(path, path.with_suffix(".log.1"))
                os.truncate(path, 0)

    def clear_away(self) -> None:
        """Stop the server and leave nothing that looks alive."""
        server = getattr(self, "server", None)
        if server is not None:
            server.stop()
            server.forget()
        with contextlib.suppress(OSError):
            self.home.notice.unlink(missing_ok=True)


def _newer(data: Path, major: int, version: str) -> NewerDataError:
    return NewerDataError(
        f"The database in {data} was written by PostgreSQL {major}, which is newer than the "
        f"programs at hand ({version}). Install the newer Regulars or PostgreSQL {major} again "
        "(REGULARS_PG_BIN may point at its programs). The data is untouched."
    )


def log(text: str) -> None:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    sys.stderr.write(f"{moment} [{os.getpid()}] {text}\n")
    sys.stderr.flush()


def supervise(home: Home, reports: Reports) -> int:
    """Serve one home from election to end."""
    lock = open_lock(home.lock)
    if not lock_within(lock, ELECTION, exclusive=True):
        reports.say("lost")
        return 0
    supervisor = Supervisor(home, reports)

    def stop(_signal: int, _frame: object) -> None:
        supervisor.asked_to_stop = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        supervisor.prepare()
        supervisor.watch()
    finally:
        supervisor.clear_away()
    return 0


def main() -> int:
    home, reports = Home(Path(sys.argv[1])), Reports(int(sys.argv[2]))
    # The command waits for this first process only; the grandchild belongs to
    # nobody's terminal and is nobody's unreaped child.
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    os.set_inheritable(reports.descriptor, False)
    try:
        return supervise(home, reports)
    except (EmbeddedError, OSError) as problem:
        said = from_os(problem, home.home) if isinstance(problem, OSError) else problem
        log(str(said))
        reports.say("error", str(said), type(said).__name__)
        return 1


if __name__ == "__main__":
    sys.exit(main())
